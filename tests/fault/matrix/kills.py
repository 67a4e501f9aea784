"""kill -9 of either side at a random moment of a command.

Each attempt: old and new content at both ends, a server, a command, a delay drawn from the time
that such a command takes, the kill. Then what stands under every name is looked at, a killed server
is started again on its port, the command of a killed server goes on by itself or is given again,
that of a killed client is given again; in the end both folders must be exactly right.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fault.matrix.content import Dice
from tests.fault.matrix.forks import ServerProcess, command, preload
from tests.fault.matrix.scenes import SCENES, Scene
from tests.fault.matrix.table import Tally

_OK, _NO_CONNECTION = 0, 3


def run_kills(seed: int, victim: str, what: str, first: int, count: int, place: Path) -> Tally:
    """Make attempts `first` to `first + count` of one case; `place` is an empty folder of ours."""
    preload()
    tally = Tally(f"kill -9 of the {victim} during {what}")
    timing = _Timing(place / "timing")
    for number in range(first, first + count):
        dice = Dice(seed, victim, what, number)
        scene = dice.choice(SCENES[what])(dice, place / "now")
        attempt = _Attempt(tally, scene, f"attempt {number}")
        delay_s = dice.uniform(0, timing.seconds(what, scene))
        if victim == "server":
            attempt.kill_server(delay_s)
        else:
            attempt.kill_client(delay_s)
        shutil.rmtree(place / "now")
    return tally


class _Timing:
    """How long a command of each kind takes when nobody is killed; tried once."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._seconds: dict[str, float] = {}

    def seconds(self, what: str, like: Scene) -> float:
        if like.kind not in self._seconds:
            scene = self._another(what, like)
            server = ServerProcess(str(scene.share.root))
            server.start()
            began = time.monotonic()
            code = command(scene.line(server)).wait()
            self._seconds[like.kind] = time.monotonic() - began
            server.stop()
            shutil.rmtree(self._place)
            assert code == _OK, f"{scene.kind} fails by itself"
        return self._seconds[like.kind]

    def _another(self, what: str, like: Scene) -> Scene:
        number = 0
        while True:
            dice = Dice("timing", number)
            scene = dice.choice(SCENES[what])(dice, self._place)
            if scene.kind == like.kind:
                return scene
            shutil.rmtree(self._place)
            number += 1


class _Attempt:
    def __init__(self, tally: Tally, scene: Scene, label: str) -> None:
        self._tally = tally
        self._scene = scene
        self._label = f"{label} ({scene.kind})"
        self._server = ServerProcess(str(scene.share.root))

    def kill_server(self, delay_s: float) -> None:
        with self._judged():
            client = command(self._scene.line(self._server))
            time.sleep(delay_s)
            self._tally.noticed += not client.has_ended()
            self._server.kill()
            self._look(b"")
            self._server.start()
            # It either goes on by itself, or had no connection yet and says that nobody listens.
            code = client.wait()
            if code not in (_OK, _NO_CONNECTION):
                self._complain(f"the command that was cut ended with {code}")
            self._look(client.output)

    def kill_client(self, delay_s: float) -> None:
        with self._judged():
            client = command(self._scene.line(self._server))
            time.sleep(delay_s)
            self._tally.noticed += not client.has_ended()
            client.kill()
            self._look(client.output)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Start the server; after the block repeat the command, stop the server and check all."""
        self._tally.attempts += 1
        complaints = len(self._tally.complaints)
        self._server.start()
        yield
        again = command(self._scene.line(self._server))
        code = again.wait()
        if code != _OK:
            self._complain(f"the repeated command ended with {code}")
        self._look(again.output)
        if code := self._server.stop():
            self._complain(f"the server ended with {code}")
        for ledger in (self._scene.share, self._scene.local):
            for what in ledger.unfinished():
                self._complain(what)
        self._tally.completed += len(self._tally.complaints) == complaints

    def _look(self, output: bytes) -> None:
        """Look at both folders: any wrong byte, any acknowledged file that is not there?"""
        acknowledged = self._scene.acknowledged(output)
        for ledger in (self._scene.share, self._scene.local):
            faults = ledger.faults(acknowledged if ledger is self._scene.target else ())
            self._tally.wrong += len(faults.wrong)
            self._tally.lost += len(faults.lost)
            for what in (*faults.wrong, *faults.lost):
                self._complain(what)

    def _complain(self, what: str) -> None:
        self._tally.complain(f"{self._label}: {what}")
