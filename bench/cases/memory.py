"""Memory must not grow with the file: one of ten times the size."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

from bench.arena import Arena, Entrant
from bench.cases.base import Bench, Case
from bench.contest import Contestant
from bench.data import MIB
from bench.measure import Failed
from bench.results import Result
from bench.verify import check_file


class MemoryCase(Case):
    """The source is a hole, so that it takes no memory itself; what arrives takes all of it."""

    unit = "GB/s"
    rounds = 1

    def __init__(self, action: str) -> None:
        self.action = action
        self.name = f"memory-{action}"
        self.title = f"{action} of 10 GiB and of 1 GiB: peak memory"

    def measure(self, bench: Bench, result: Result) -> None:
        large = bench.scaled(10 * 1024 * MIB)
        if available_memory() < large * 1.2:
            raise Failed(
                f"{large >> 20} MiB of memory are needed, {available_memory() >> 20} are free"
            )
        with bench.folder("tmpfs", large) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder)
            entrants, result.missing = arena.enter(stack, bench.named("ftransfer"), self.action)
            sizes = {"1 GiB": large // 10, "10 GiB": large}
            contestants = [
                self._contestant(arena, entrant, *item)
                for entrant in entrants
                for item in sizes.items()
            ]
            bench.contest(result, contestants, self.rounds, dropped=0)

    def _contestant(self, arena: Arena, entrant: Entrant, label: str, size: int) -> Contestant:
        source = arena.share / f"hole {label}"
        with source.open("wb") as file:
            file.truncate(size)
        if self.action == "get":
            arrived = arena.out / "big"
            command = entrant.peer.get(entrant.at, source.name, arrived)
        else:
            arrived = arena.taken / "big"
            command = entrant.peer.put(entrant.at, source, "in/big")
        assert command is not None
        return Contestant(
            label,
            size,
            partial(entrant.run, [command]),
            partial(check_file, source, arrived),
            arena.clean,
        )


def available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


MEMORY_CASES: list[Case] = [MemoryCase("get"), MemoryCase("put")]
