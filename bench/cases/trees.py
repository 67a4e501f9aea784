"""Many files: ten thousand small ones, and a mix; and the same again when nothing has changed."""

from __future__ import annotations

import contextlib
import shutil

from bench.arena import Arena, Entrant
from bench.cases.base import Bench, Case
from bench.data import MIB, log_normal_sizes, make_tree, warm_up
from bench.measure import Command, Failed
from bench.results import Result
from bench.verify import check_tree

_SMALL = 4096


def small_tree(bench: Bench) -> list[int]:
    return [_SMALL] * bench.scaled(10_000)


def mixed_tree(bench: Bench) -> list[int]:
    return log_normal_sizes(bench.scaled(2048 * MIB))


class TreeCase(Case):
    def __init__(self, action: str, *, mixed: bool = False, rounds: int = 3) -> None:
        self.action, self.mixed, self.rounds = action, mixed, rounds
        self.name = f"{action}-{'mixed' if mixed else 'small'}-tree"
        what = (
            "files of 1 MiB on average (log-normal), 2 GiB in all"
            if mixed
            else "10 000 files of 4 KiB"
        )
        self.title = f"{what}, {action}, plain, tmpfs"
        self.unit = "GB/s" if mixed else "files/s"

    def measure(self, bench: Bench, result: Result) -> None:
        sizes = mixed_tree(bench) if self.mixed else small_tree(bench)
        with bench.folder("tmpfs", 3 * sum(sizes)) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder)
            source, arrived = (
                arena.share / "tree",
                (arena.out if self.action == "get" else arena.taken) / "tree",
            )
            make_tree(source, sizes)
            action = f"{self.action}_tree"
            entrants, result.missing = arena.enter(stack, bench.peers, action)
            # Who only serves trees in an encrypted way is no rival here, but of interest.
            more, lacking = arena.enter(stack, bench.named("scp"), action, encrypted=True)
            result.missing.update(lacking)

            def build(entrant: Entrant) -> Command | None:
                if self.action == "get":
                    return entrant.peer.get_tree(entrant.at, "tree", arena.out)
                return entrant.peer.put_tree(entrant.at, source, "in")

            warm_up(folder, 2 * sum(sizes))
            work = sum(sizes) if self.mixed else len(sizes)
            bench.contest(
                result,
                arena.contestants(
                    [*entrants, *more], work, build, lambda: check_tree(source, arrived)
                ),
                self.rounds,
            )


class SyncCase(Case):
    name = "sync-unchanged"
    title = "10 000 files of 4 KiB, sync when nothing has changed, plain, tmpfs"
    unit = "files/s"
    rounds = 5

    def measure(self, bench: Bench, result: Result) -> None:
        sizes = small_tree(bench)
        with bench.folder("tmpfs", 3 * sum(sizes)) as folder, contextlib.ExitStack() as stack:
            arena = Arena(folder)
            source, copy = arena.share / "tree", folder / "copy"
            make_tree(source, sizes)
            shutil.copytree(source, copy)  # with the times
            entrants, result.missing = arena.enter(stack, bench.peers, "sync_tree")
            before = {path: path.stat().st_ctime_ns for path in copy.rglob("*.dat")}

            def check() -> None:
                if {path: path.stat().st_ctime_ns for path in copy.rglob("*.dat")} != before:
                    raise Failed("it wrote files that had not changed")

            contestants = arena.contestants(
                entrants,
                len(sizes),
                lambda entrant: entrant.peer.sync_tree(entrant.at, "tree", copy),
                check,
            )
            bench.contest(result, contestants, self.rounds)


TREE_CASES: list[Case] = [
    TreeCase("get", rounds=5),
    TreeCase("put", rounds=5),
    SyncCase(),
    TreeCase("get", mixed=True, rounds=2),
    TreeCase("put", mixed=True, rounds=2),
]
