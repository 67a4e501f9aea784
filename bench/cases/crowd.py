"""Many at once: clients that all get a file, and sessions that only stand by."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.arena import Arena, Entrant
from bench.cases.base import Bench, Case
from bench.contest import Contestant
from bench.data import MIB, make_file, warm_up
from bench.measure import Command, Failed, Sample, memory_of
from bench.results import Result
from bench.setting import script
from bench.verify import check_file

# Not vsftpd: it resets some of a hundred connections that come at once.
_PEERS = ("ftransfer", "rsync daemon", "nginx + curl", "pyftpdlib + curl")


class CrowdCase(Case):
    unit = "GB/s"
    size = 64 * MIB

    def __init__(self, count: int, rounds: int = 3) -> None:
        self.count, self.rounds = count, rounds
        self.name = f"crowd-{count}"
        self.title = (
            f"{count} client{'s' if count > 1 else ''} getting 64 MiB at once, plain, tmpfs"
        )

    def measure(self, bench: Bench, result: Result) -> None:
        size = bench.scaled(self.size)
        with (
            bench.folder("tmpfs", (self.count + 2) * size) as folder,
            contextlib.ExitStack() as stack,
        ):
            arena = Arena(folder)
            source = arena.share / "file"
            make_file(source, size)
            entrants, result.missing = arena.enter(stack, bench.named(*_PEERS), "get")

            def build(entrant: Entrant) -> Sequence[Command] | None:
                return entrant.peer.get_many(entrant.at, "file", self.count, arena.out)

            def check() -> None:
                for number in range(1, self.count + 1):
                    check_file(source, arena.out / str(number))

            warm_up(folder, self.count * size)
            bench.contest(
                result, arena.contestants(entrants, size * self.count, build, check), self.rounds
            )


class IdleCase(Case):
    name = "idle-1000"
    title = "1 GiB get, plain, tmpfs, alone and beside 1000 idle sessions"
    unit = "GB/s"
    rounds = 9
    count = 1000
    size = 1024 * MIB

    def measure(self, bench: Bench, result: Result) -> None:
        size, count = bench.scaled(self.size), bench.scaled(self.count)
        with bench.folder("tmpfs", 3 * size) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder)
            source, arrived = arena.share / "big", arena.out / "big"
            make_file(source, size)
            contestants = []
            for label in ("alone", "beside idle sessions"):
                # Two servers, so that the rounds can alternate.
                entrants, result.missing = arena.enter(stack, bench.named("ftransfer"), "get")
                if not entrants:
                    return
                if label != "alone":
                    result.facts["KiB a session"] = self._fill(stack, entrants[0], count)
                    result.facts["sessions"] = count
                run = _get(entrants[0], arrived)
                contestants.append(
                    Contestant(label, size, run, lambda: check_file(source, arrived), arena.clean)
                )
            warm_up(folder, size + (size >> 2))
            bench.contest(result, contestants, self.rounds)

    def _fill(self, stack: contextlib.ExitStack, entrant: Entrant, count: int) -> float:
        """Open idle sessions that last as long as the stack; return the server's KiB for each."""
        assert entrant.pid is not None
        # What the first sessions cost is not what each costs: pools, caches.
        stack.enter_context(idle_sessions(entrant, 10))
        before = memory_of(entrant.pid) or 0
        stack.enter_context(idle_sessions(entrant, count))
        return ((memory_of(entrant.pid) or 0) - before) / 1024 / count


def _get(entrant: Entrant, dest: Path) -> Callable[[], Sample]:
    command = entrant.peer.get(entrant.at, "big", dest)
    assert command is not None
    return lambda: entrant.run([command])


@contextlib.contextmanager
def idle_sessions(entrant: Entrant, count: int) -> Iterator[None]:
    """Sessions that have heard the hello and say nothing."""
    command = script("idle", entrant.at.host, str(entrant.at.port), str(count))
    environment = {**os.environ, **command.env}
    process = subprocess.Popen(
        command.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        env=environment,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise Failed(f"{count} idle sessions could not be opened")
        yield
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


CROWD_CASES: list[Case] = [CrowdCase(1), CrowdCase(10), CrowdCase(100, rounds=2), IdleCase()]
