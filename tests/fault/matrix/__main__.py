"""Run the matrix of faults: `python -m tests.fault.matrix`.

Options: [--seed N] [--short] [--only WORD] [--write FILE].
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.fault.matrix.document import account, write_account
from tests.fault.matrix.forks import preload
from tests.fault.matrix.jobs import run_jobs
from tests.fault.matrix.parts import LONG, SHORT, make_jobs
from tests.fault.matrix.table import Row, Tally, merged


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; print the table. Exit code 0 if nothing was wrong, lost or left undone."""
    options = _parsed(arguments)
    seed = options.seed if options.seed is not None else int(time.time())
    counts = SHORT if options.short else LONG
    if options.kills is not None:
        counts = replace(counts, kills=options.kills)
    jobs = [job for job in make_jobs(seed, counts) if options.only in job.label]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the parts are ended as well
    preload()  # once for all parts, and before any of them: they test one state of the code
    began = time.monotonic()
    found: dict[int, Sequence[Row]] = {}
    for index, rows in run_jobs(
        jobs, options.workers, lambda text: _note(f"{time.monotonic() - began:5.0f} s  {text}")
    ):
        found[index] = rows
    rows = merged(row for index in sorted(found) for row in found[index])
    text = account(rows, seed, time.monotonic() - began, short=options.short)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    complaints = [text for row in rows if isinstance(row, Tally) for text in row.complaints]
    for text in complaints:
        _note(text)
    if options.write is not None:
        write_account(options.write, text)
    tallies = [row for row in rows if isinstance(row, Tally)]
    is_good = all(row.is_good for row in tallies) and (
        any(row.attempts for row in tallies) or not tallies
    )
    _note(
        f"seed {seed}, {time.monotonic() - began:.0f} s:"
        f" {'all is well' if is_good else 'NOT ALL IS WELL'}"
    )
    return 0 if is_good else 1


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.matrix")
    parser.add_argument(
        "--seed", type=int, default=None, help="what chance is drawn from; by default the time"
    )
    parser.add_argument("--short", action="store_true", help="a few seconds of each part")
    parser.add_argument("--kills", type=int, metavar="N", help="so many kills of each kind")
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only the parts with this word in their label"
    )
    parser.add_argument("--workers", type=int, default=3, help="parts that run at the same time")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="put the table between the markers of this document",
    )
    return parser.parse_args(arguments)


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
