"""Run parts of the matrix in forked processes, two at once; none can affect another."""

from __future__ import annotations

import os
import pickle
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.fault.matrix.table import Row, Tally

Part = Callable[[Path], Sequence[Row]]
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Job:
    """One part: `run` gets the path of a folder of its own, to be made."""

    label: str
    run: Part


@dataclass(slots=True)
class _Running:
    job: Job
    pid: int
    out: int
    place: Path
    began: float
    data: bytearray


def run_jobs(
    jobs: Sequence[Job], workers: int, told: Callable[[str], None]
) -> Iterator[tuple[int, Sequence[Row]]]:
    """Run all; yield (index of the job, rows) as each one ends.

    A part that fails yields a row with the failure.
    """
    waiting = list(enumerate(jobs))
    running: dict[int, _Running] = {}
    index_of: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    index, job = waiting.pop(0)
                    started = _start(job)
                    running[started.out], index_of[started.out] = started, index
                    selector.register(started.out, selectors.EVENT_READ)
                for key, _ in selector.select():
                    part = running[key.fd]
                    data = os.read(key.fd, 1 << 16)
                    part.data += data
                    if not data:
                        selector.unregister(key.fd)
                        del running[key.fd]
                        told(f"{part.job.label}: {time.monotonic() - part.began:.0f} s")
                        yield index_of[key.fd], _end(part)
        finally:
            for part in running.values():
                with suppress(ProcessLookupError):
                    os.killpg(part.pid, signal.SIGKILL)
                _end(part)


def _start(job: Job) -> _Running:
    place = Path(
        tempfile.mkdtemp(prefix="ftransfer-faults-", dir=_MEMORY if _MEMORY.is_dir() else None)
    )
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(write_end)
        return _Running(job, pid, read_end, place, time.monotonic(), bytearray())
    code = 1
    try:
        os.setpgid(0, 0)  # so that a matrix that is interrupted takes its servers with it
        os.close(read_end)
        with open(write_end, "wb") as pipe:
            pickle.dump(list(job.run(place / "work")), pipe)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _end(part: _Running) -> Sequence[Row]:
    os.close(part.out)
    _, status = os.waitpid(part.pid, 0)
    shutil.rmtree(part.place, ignore_errors=True)
    if os.waitstatus_to_exitcode(status):
        return [
            Tally(
                part.job.label,
                complaints=[f"{part.job.label}: it ended before its time; what it wrote says more"],
            )
        ]
    rows: Sequence[Row] = pickle.loads(part.data)
    return rows
