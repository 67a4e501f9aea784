"""Short answers and small files: requests a second, process start, resume, listing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.arena import Arena, Entrant
from bench.cases.base import Bench, Case
from bench.contest import Contestant
from bench.data import MIB, make_file, warm_up
from bench.measure import Command, Failed, Sample, run_clients
from bench.peers.curl import CurlPeer
from bench.results import Result
from bench.setting import script
from bench.verify import check_file


def nothing() -> None:
    """Nothing to check, or nothing to remove."""


def told(entrant: Entrant, command: Command) -> Callable[[], Sample]:
    """A run whose time is what its program tells: its own start does not belong to it."""

    def run() -> Sample:
        sample = entrant.run([command])
        return replace(sample, wall_s=float(sample.told["seconds"]))

    return run


class RequestCase(Case):
    unit = "requests/s"

    def __init__(self, connections: str) -> None:
        self.connections = connections
        self.name = f"requests-{connections}"
        self.title = (
            "get of 1 KiB over and over,"
            f" {'one connection' if connections == 'one' else 'a new connection for each'}"
        )

    def measure(self, bench: Bench, result: Result) -> None:
        count = bench.scaled(1000, 50)
        with bench.folder("tmpfs", MIB) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder)
            make_file(arena.share / "small", 1024)
            entrants, result.missing = arena.enter(
                stack, bench.named("ftransfer", "nginx + curl"), "get"
            )
            contestants = []
            for entrant in entrants:
                if isinstance(entrant.peer, CurlPeer):
                    contestants.append(self._curl(entrant.peer, entrant, count))
                    continue
                for client, label in (
                    ("library", "ftransfer, Python client"),
                    ("raw", "ftransfer, client that only counts"),
                ):
                    words = (
                        entrant.at.host,
                        str(entrant.at.port),
                        "small",
                        str(count),
                        self.connections,
                        client,
                    )
                    run = told(entrant, script("requests", *words))
                    contestants.append(Contestant(label, count, run, nothing, nothing))
            bench.contest(result, contestants, self.rounds)

    def _curl(self, peer: CurlPeer, entrant: Entrant, count: int) -> Contestant:
        closing = ("-H", "Connection: close") if self.connections == "new" else ()
        url = f"{peer.url(entrant.at, 'small')}?[1-{count}]"
        command = peer.curl(entrant.at, "-o", "/dev/null", *closing, url)
        return Contestant(peer.name, count, lambda: entrant.run([command]), nothing, nothing)


class StartCase(Case):
    name = "process"
    title = "get of 1 KiB as a whole process"
    unit = "ms"
    rounds = 15

    def measure(self, bench: Bench, result: Result) -> None:
        with bench.folder("tmpfs", MIB) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder)
            source, arrived = arena.share / "small", arena.out / "small"
            make_file(source, 1024)
            peers = bench.named("ftransfer", "rsync daemon", "nginx + curl")
            entrants, result.missing = arena.enter(stack, peers, "get")

            def build(entrant: Entrant) -> Command | None:
                return entrant.peer.get(entrant.at, "small", arrived)

            contestants = arena.contestants(entrants, 1, build, lambda: check_file(source, arrived))
            for code in ("import asyncio, typer, aiofiles", "import asyncio", "pass"):
                command = Command((sys.executable, "-c", code))
                contestants.append(
                    Contestant(
                        f'python -c "{code}"', 1, partial(run_clients, [command]), nothing, nothing
                    )
                )
            bench.contest(result, contestants, self.rounds)


class ResumeCase(Case):
    unit = "ms"
    size = 1024 * MIB

    def __init__(self, action: str) -> None:
        self.action = action
        self.name = f"resume-{action}"
        self.title = f"resume of a {action} of 1 GiB: from connecting again to the first new byte"

    def measure(self, bench: Bench, result: Result) -> None:
        # A cut is not exact to less than a few blocks: in a small file nothing would be left.
        size = bench.scaled(self.size, least=512 * MIB)
        with bench.folder("tmpfs", 3 * size) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder)
            source, arrived = (
                arena.share / "big",
                (arena.out if self.action == "get" else arena.taken) / "big",
            )
            make_file(source, size)
            entrants, result.missing = arena.enter(stack, bench.named("ftransfer"), self.action)
            warm_up(folder, size + (size >> 2))
            contestants = []
            for entrant in entrants:
                for share in (100, 900):
                    run = self._resume(entrant, size * share // 1024, source, arrived)
                    contestants.append(
                        Contestant(
                            f"{share} MiB kept",
                            size,
                            run,
                            lambda: check_file(source, arrived),
                            arena.clean,
                        )
                    )
            bench.contest(result, contestants, self.rounds)

    def _resume(
        self, entrant: Entrant, kept: int, source: Path, arrived: Path
    ) -> Callable[[], Sample]:
        name, local = ("big", str(arrived)) if self.action == "get" else ("in/big", str(source))
        command = script(
            "resume", self.action, entrant.at.host, str(entrant.at.port), str(kept), name, local
        )
        timed = told(entrant, command)

        def run() -> Sample:
            sample = timed()
            if sample.told["kept"] < kept // 2:
                raise Failed(
                    f"nothing was resumed: {sample.told['kept']} bytes were kept of {kept}"
                )
            return sample

        return run


class ListingCase(Case):
    name = "listing"
    title = "listing of 100 000 names"
    unit = "names/s"
    count = 100_000

    def measure(self, bench: Bench, result: Result) -> None:
        count = bench.scaled(self.count)
        with bench.folder("tmpfs", 4096 * count) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder)
            many = arena.share / "many"
            many.mkdir()
            for number in range(count):
                (many / f"a file with an ordinary name {number:06d}.txt").touch()
            names = (
                "ftransfer",
                "rsync daemon",
                "nginx + curl",
                "vsftpd + curl",
                "pyftpdlib + curl",
                "cp (no network)",
            )
            entrants, result.missing = arena.enter(stack, bench.named(*names), "list_folder")
            contestants = arena.contestants(
                entrants,
                count,
                lambda entrant: entrant.peer.list_folder(entrant.at, "many"),
                nothing,
                nothing,
            )
            labels = {"cp (no network)": "ls -l (no network)"}
            bench.contest(
                result,
                [replace(one, label=labels.get(one.label, one.label)) for one in contestants],
                self.rounds,
            )


SMALL_CASES: list[Case] = [
    RequestCase("one"),
    RequestCase("new"),
    StartCase(),
    ResumeCase("get"),
    ResumeCase("put"),
    ListingCase(),
]
