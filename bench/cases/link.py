"""A long link between two network namespaces: 50 ms round trip, 200 Mbit/s.

With loss, and under two congestion controls.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench.arena import Arena, Entrant, Network
from bench.cases.base import Bench, Case
from bench.contest import Contestant
from bench.data import MIB, make_file, make_tree
from bench.measure import Command, Failed, Sample
from bench.results import Result
from bench.setting import program
from bench.verify import check_file, check_tree
from bench.wanlink import ADDRESSES, INTERFACE

RTT_MS = 50
RATE_MBIT = 200
# Who needs longer is cut, and its rate taken from what the link carried until then.
_CUT_S = 15.0
_SHORT_CUT_S = 4.0  # in a short run
_PAYLOAD_PART = 1448 / 1500  # of a full packet


@contextlib.contextmanager
def long_link(loss: float, congestion: str) -> Iterator[Network]:
    """Two linked namespaces, the server in one, the clients in the other; removed afterwards.

    Raises:
        Failed: Not here: it takes root, ip and /dev/net/tun.
    """
    if os.geteuid() != 0 or program("ip") is None or not Path("/dev/net/tun").exists():
        raise Failed("needs root, ip and /dev/net/tun, for network namespaces")
    if (
        congestion
        not in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    ):
        raise Failed(f"this kernel has no {congestion}")
    a, b = f"ftbench{os.getpid()}a", f"ftbench{os.getpid()}b"
    with contextlib.ExitStack() as stack:
        for name in (a, b):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("-n", name, "link", "set", "lo", "up")
        stack.enter_context(_carrier(a, b, loss))
        for name in (a, b):
            _ip(
                "-n",
                name,
                "route",
                "replace",
                "10.77.0.0/30",
                "dev",
                INTERFACE,
                "congctl",
                congestion,
            )
            # What one connection has learned of the link must not help the next.
            _ip("netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1")
        yield Network(ADDRESSES[0], ("ip", "netns", "exec", a), ("ip", "netns", "exec", b))


@contextlib.contextmanager
def _carrier(a: str, b: str, loss: float) -> Iterator[None]:
    words = [
        sys.executable,
        "-m",
        "bench.wanlink",
        a,
        b,
        "--rtt",
        str(RTT_MS),
        "--rate",
        str(RATE_MBIT),
        "--loss",
        str(loss),
    ]
    checkout = {"PYTHONPATH": str(Path(__file__).parents[2])}
    carrier = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, **checkout})
    try:
        assert carrier.stdout is not None
        if carrier.stdout.readline() != b"ready\n":
            raise Failed("the link could not be made")
        yield
    finally:
        carrier.terminate()
        carrier.communicate(timeout=10)


def _ip(*words: str) -> str:
    try:
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError as error:
        raise Failed(f"ip {' '.join(words)}: {error.stderr.strip()}") from error


def bytes_transferred(network: Network) -> int:
    """Return the number of bytes that have reached the clients' end so far."""
    found = json.loads(_ip("-n", network.client_prefix[-1], "-s", "-j", "link", "show", INTERFACE))
    return int(found[0]["stats64"]["rx"]["bytes"])


def wait_until_quiet(network: Network) -> None:
    """Wait until nothing of the run before is on its way any more."""
    before = -1
    for _ in range(50):
        now = bytes_transferred(network)
        if now - before < 10_000:
            return
        before = now
        time.sleep(0.1)


class LinkCase(Case):
    def __init__(self, loss: float, congestion: str, *, tree: bool) -> None:
        self.loss, self.congestion, self.tree = loss, congestion, tree
        self.rounds = 2
        self.name = f"link-{congestion}-{loss:g}-{'tree' if tree else 'file'}"
        what = "2500 files of 4 KiB" if tree else "one file of 256 MiB"
        self.title = (
            f"{RTT_MS} ms, {RATE_MBIT} Mbit/s, {loss:g} % loss, {congestion}: get of {what}"
        )
        self.unit = "files/s" if tree else "Mbit/s"

    def measure(self, bench: Bench, result: Result) -> None:
        peers = bench.named(
            *(
                ("ftransfer", "rsync daemon")
                if self.tree
                else ("ftransfer", "rsync daemon", "nginx + curl")
            )
        )
        with contextlib.ExitStack() as stack:
            network = stack.enter_context(long_link(self.loss, self.congestion))
            folder = stack.enter_context(bench.folder("tmpfs", 600 * MIB))
            arena = Arena(folder, network=network)
            sizes = [4096] * bench.scaled(2500)
            source, arrived = arena.share / "thing", arena.out / "thing"
            if self.tree:
                make_tree(source, sizes)
            else:
                make_file(source, bench.scaled(256 * MIB))
            work = len(sizes) if self.tree else source.stat().st_size
            entrants, result.missing = arena.enter(stack, peers, "get_tree" if self.tree else "get")

            def clean() -> None:
                arena.clean()
                wait_until_quiet(network)

            def check() -> None:
                (check_tree if self.tree else check_file)(source, arrived)

            contestants = [
                Contestant(
                    entrant.peer.name,
                    work,
                    self._timed(entrant, arena, _CUT_S if bench.scale >= 1 else _SHORT_CUT_S),
                    check,
                    clean,
                )
                for entrant in entrants
            ]
            # Nothing is warmer in a second round
            bench.contest(result, contestants, self.rounds, dropped=0)

    def _timed(self, entrant: Entrant, arena: Arena, cut_s: float) -> Callable[[], Sample]:
        command: Command | None
        if self.tree:
            command = entrant.peer.get_tree(entrant.at, "thing", arena.out)
        else:
            command = entrant.peer.get(entrant.at, "thing", arena.out / "thing")
        assert command is not None

        def run() -> Sample:
            before = bytes_transferred(entrant.network)
            sample = entrant.run([command], timeout_s=cut_s, may_be_cut=True)
            if not sample.was_cut:
                return sample
            payload = (bytes_transferred(entrant.network) - before) * _PAYLOAD_PART
            return replace(sample, told={"work": payload / 4096 if self.tree else payload})

        return run


LINK_CASES: list[Case] = [
    LinkCase(loss, congestion, tree=tree)
    for tree in (False, True)
    for congestion in ("cubic", "bbr")
    for loss in (0, 0.1, 1)
]
