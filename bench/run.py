"""Run the benchmark: `python -m bench.run [--quick] [--only CASE ...]`.

docs/performance.md lists what it needs and what it has found.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.cases.base import Bench, Case, say
from bench.cases.crowd import CROWD_CASES
from bench.cases.files import FILE_CASES
from bench.cases.link import LINK_CASES
from bench.cases.memory import MEMORY_CASES
from bench.cases.small import SMALL_CASES
from bench.cases.trees import TREE_CASES
from bench.machine import describe, file_system
from bench.measure import Failed
from bench.peers.all import PEERS
from bench.peers.base import Peer
from bench.report import terminal_report
from bench.results import Run, load

CASES: tuple[Case, ...] = (
    *FILE_CASES,
    *TREE_CASES,
    *CROWD_CASES,
    *SMALL_CASES,
    *MEMORY_CASES,
    *LINK_CASES,
)
RESULTS = Path(__file__).parent / "results"
# What a short run leaves out: what is long and shows nothing at a small size.
_QUICK_SCALE = 1 / 16
_NOT_QUICK = (
    "memory-*",
    "*-disk",
    "*-mixed-tree",
    "crowd-1",
    "crowd-100",
    "resume-*",
    "link-bbr-*",
    "link-*-0-*",
    "link-cubic-1-*",
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.run", description="Measure ftransfer beside other tools."
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds, fewer cases")
    parser.add_argument(
        "--only", nargs="+", metavar="CASE", default=["*"], help="cases by name, with * and ?"
    )
    parser.add_argument(
        "--peers", nargs="+", metavar="PEER", default=["*"], help="peers by name, with * and ?"
    )
    parser.add_argument(
        "--rounds", type=int, help="rounds that count, instead of what each case says"
    )
    parser.add_argument("--scale", type=float, help="multiply sizes and counts")
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="a folder on a tmpfs")
    parser.add_argument(
        "--disk", type=Path, default=Path(tempfile.gettempdir()), help="a folder on a disk"
    )
    parser.add_argument(
        "--result", type=Path, help="where the JSON goes; cases that are there already are replaced"
    )
    parser.add_argument(
        "--charts", type=Path, help="where the charts go (default: beside the JSON)"
    )
    parser.add_argument("--list", action="store_true", help="list the cases and end")
    return parser.parse_args(arguments)


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    cases = [case for case in CASES if _matches(case.name, options.only)]
    if options.quick and options.only == ["*"]:
        cases = [case for case in cases if not _matches(case.name, _NOT_QUICK)]
    return cases


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def chosen_peers(patterns: Sequence[str]) -> list[Peer]:
    return [peer for peer in PEERS if _matches(peer.name, patterns)]


def find_places(memory: Path, disk: Path) -> dict[str, Path]:
    """Return the places that are what they are named after."""
    places = {}
    if memory.is_dir() and file_system(memory) == "tmpfs":
        places["tmpfs"] = memory
    if disk.is_dir() and file_system(disk) != "tmpfs":
        places["disk"] = disk
    return places


def run_cases(cases: Sequence[Case], bench: Bench, path: Path) -> Run:
    """Run cases one after the other.

    Results are saved after each, so that an interrupt costs one case.
    """
    run = Run(describe(bench.places, bench.peers))
    if bench.scale != 1:
        run.machine["sizes and counts"] = f"those in the titles × {bench.scale:g}"
    if path.exists():
        run.results = load(path).results
    for number, case in enumerate(cases, 1):
        say(f"[{number}/{len(cases)}] {case.name}: {case.title}")
        result = case.run(bench)
        for name, reason in result.missing.items():
            say(f"{case.name}: {name}: {reason}")
        run.replace(result)
        run.save(path)
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    cases, peers = chosen_cases(options), chosen_peers(options.peers)
    if options.list:
        sys.stdout.write("".join(f"{case.name:<22} {case.title}\n" for case in cases))
        return 0
    if not cases or not peers:
        sys.stderr.write("no case, or no peer, has such a name; --list shows the cases\n")
        return 2
    scale = options.scale or (_QUICK_SCALE if options.quick else 1.0)
    rounds = options.rounds or (2 if options.quick else None)
    bench = Bench(peers, find_places(options.memory, options.disk), scale, rounds, say)
    path = options.result or RESULTS / ("quick.json" if options.quick else "latest.json")
    began = time.monotonic()
    run = run_cases(cases, bench, path)
    sys.stdout.write(terminal_report(run) + "\n")
    _draw(run, options.charts or path.parent)
    say(f"done in {time.monotonic() - began:.0f} s; {path}")
    return (
        1
        if any("all" in result.missing for result in run.results)
        and not any(result.rows for result in run.results)
        else 0
    )


def _draw(run: Run, folder: Path) -> None:
    try:
        from bench.charts import draw

        draw(run, folder)
    except ImportError:
        say("no charts: matplotlib is not installed (pip install '.[bench]')")


if __name__ == "__main__":
    # So that servers are stopped and folders removed
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except Failed as error:
        sys.exit(str(error))
