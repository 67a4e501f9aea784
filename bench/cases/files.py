"""One big file, either way, plain and encrypted, in memory and on a disk."""

from __future__ import annotations

import contextlib

from bench.arena import Arena, Entrant
from bench.cases.base import Bench, Case
from bench.data import MIB, make_file, warm_up
from bench.measure import Command
from bench.peers.all import SYNCED_PEERS
from bench.results import Result
from bench.verify import check_file


class FileCase(Case):
    unit = "GB/s"
    size = 1024 * MIB

    def __init__(
        self, action: str, *, encrypted: bool = False, place: str = "tmpfs", rounds: int = 3
    ) -> None:
        self.action, self.encrypted, self.place, self.rounds = action, encrypted, place, rounds
        self.name = f"{action}-{'tls' if encrypted else 'plain'}-{place}"
        self.title = f"1 GiB {action}, {'encrypted' if encrypted else 'plain'}, {place}"

    def measure(self, bench: Bench, result: Result) -> None:
        size = bench.scaled(self.size)
        peers = list(bench.peers)
        if self.place == "disk" and len(peers) > 1:
            peers = [*(peer for peer in peers if peer.is_rival), *SYNCED_PEERS]
        with bench.folder(self.place, 3 * size) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder, synced=self.place == "disk")
            source, arrived = (
                arena.share / "big",
                (arena.out if self.action == "get" else arena.taken) / "big",
            )
            make_file(source, size)
            entrants, result.missing = arena.enter(
                stack, peers, self.action, encrypted=self.encrypted
            )

            def build(entrant: Entrant) -> Command | None:
                if self.action == "get":
                    return entrant.peer.get(entrant.at, "big", arrived)
                return entrant.peer.put(entrant.at, source, "in/big")

            if self.place == "tmpfs":
                warm_up(folder, size + (size >> 2))
            bench.contest(
                result,
                arena.contestants(entrants, size, build, lambda: check_file(source, arrived)),
                self.rounds,
            )


FILE_CASES = [
    FileCase("get", rounds=5),
    FileCase("put", rounds=5),
    FileCase("get", encrypted=True, rounds=5),
    FileCase("put", encrypted=True, rounds=5),
    FileCase("get", place="disk", rounds=2),
    FileCase("put", place="disk", rounds=2),
    FileCase("get", encrypted=True, place="disk", rounds=2),
    FileCase("put", encrypted=True, place="disk", rounds=2),
]
