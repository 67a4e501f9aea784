"""What ftransfer has set itself, and whether a run has reached it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.numbers import times_better
from bench.results import Result, Run

OURS = "ftransfer"
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for one figure.

    `measure` returns the figure, or None if the run does not contain it. It must be at least
    `bound`; with `at_most`, at most.
    """

    case: str
    text: str
    bound: float
    measure: Callable[[Result], float | None]
    at_most: bool = False
    unit: str = "×"

    def reached(self, run: Run) -> float | None:
        result = run.result(self.case)
        return self.measure(result) if result is not None and result.rows else None

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


def _against(*rivals: str, ours: str = OURS) -> Callable[[Result], float | None]:
    """How many times better ours is than the best of some rivals."""

    def measure(result: Result) -> float | None:
        mine = result.row(ours)
        theirs = [row for name in rivals if (row := result.row(name)) is not None]
        if mine is None or not theirs:
            return None
        unit = result.unit
        return min(times_better(unit, mine.value(unit), row.value(unit)) for row in theirs)

    return measure


def _of_rate(rate: float) -> Callable[[Result], float | None]:
    def measure(result: Result) -> float | None:
        mine = result.row(OURS)
        return None if mine is None else mine.value(result.unit) / rate

    return measure


def _slower_than(rival: str) -> Callable[[Result], float | None]:
    def measure(result: Result) -> float | None:
        better = _against(rival)(result)
        return None if better is None else 1 / better

    return measure


def _fact(name: str) -> Callable[[Result], float | None]:
    return lambda result: result.facts.get(name)


def _peak(side: str, *labels: str) -> Callable[[Result], float | None]:
    def measure(result: Result) -> float | None:
        peaks = [
            peak
            for label in labels
            if (row := result.row(label)) is not None and (peak := row.peak(side)) is not None
        ]
        return max(peaks) / _MIB if peaks else None

    return measure


def _growth(result: Result) -> float | None:
    small, large = result.row("1 GiB"), result.row("10 GiB")
    if small is None or large is None:
        return None
    pairs = [(small.peak(side), large.peak(side)) for side in ("client", "server")]
    return max((b / a for a, b in pairs if a and b), default=None)


def _files() -> Iterable[Target]:
    nginx, rsync = "nginx + curl", "rsync daemon"
    yield Target(
        "get-plain-tmpfs", "1 GiB get, plain, tmpfs, against nginx + curl", 1.2, _against(nginx)
    )
    yield Target(
        "get-plain-tmpfs", "1 GiB get, plain, tmpfs, against the rsync daemon", 1.5, _against(rsync)
    )
    yield Target(
        "get-plain-tmpfs",
        "1 GiB get, plain, tmpfs, against the bare loop with BLAKE3",
        0.85,
        _against("bare loop, BLAKE3"),
    )
    yield Target(
        "put-plain-tmpfs", "1 GiB put, plain, tmpfs, against nginx WebDAV", 1.2, _against(nginx)
    )
    yield Target(
        "put-plain-tmpfs", "1 GiB put, plain, tmpfs, against the rsync daemon", 1.2, _against(rsync)
    )
    for action in ("get", "put"):
        yield Target(
            f"{action}-tls-tmpfs",
            f"1 GiB {action}, TLS, tmpfs, against nginx TLS + curl",
            1.0,
            _against(nginx),
        )
        yield Target(
            f"{action}-tls-tmpfs", f"1 GiB {action}, TLS, tmpfs, against scp", 2.0, _against("scp")
        )


def _trees() -> Iterable[Target]:
    rsync, ftp = "rsync daemon", ("vsftpd + lftp", "pyftpdlib + lftp")
    for action in ("get", "put"):
        yield Target(
            f"{action}-small-tree",
            f"10 000 × 4 KiB {action}, against the rsync daemon",
            1.3,
            _against(rsync),
        )
        yield Target(
            f"{action}-small-tree",
            f"10 000 × 4 KiB {action}, against the best FTP",
            5.0,
            _against(*ftp),
        )
    yield Target(
        "sync-unchanged", "sync of the unchanged tree, against rsync", 1.0, _against(rsync)
    )
    for action in ("get", "put"):
        yield Target(
            f"{action}-mixed-tree",
            f"mixed tree {action}, against the rsync daemon",
            1.5,
            _against(rsync),
        )


def _crowds() -> Iterable[Target]:
    yield Target("crowd-100", "100 clients × 64 MiB, against nginx", 1.0, _against("nginx + curl"))
    yield Target(
        "crowd-100",
        "100 clients × 64 MiB, memory of the server",
        100,
        _peak("server", OURS),
        at_most=True,
        unit="MiB",
    )
    yield Target(
        "idle-1000",
        "beside 1000 idle sessions, against alone",
        0.95,
        _against("alone", ours="beside idle sessions"),
    )
    yield Target(
        "idle-1000",
        "1000 idle sessions, memory of each",
        40,
        _fact("KiB a session"),
        at_most=True,
        unit="KiB",
    )


def _links() -> Iterable[Target]:
    for congestion in ("cubic", "bbr"):
        text = f"50 ms, 200 Mbit/s, 0.1 % loss, {congestion}, one big file, of the link's rate"
        yield Target(f"link-{congestion}-0.1-file", text, 0.85, _of_rate(200))
    yield Target(
        "link-cubic-1-file",
        "50 ms, 200 Mbit/s, 1 % loss, cubic, one big file, against nginx + curl",
        2.0,
        _against("nginx + curl"),
    )
    for congestion in ("cubic", "bbr"):
        for loss in ("0", "0.1", "1"):
            text = f"50 ms, small tree, {loss} % loss, {congestion}, against the rsync daemon"
            yield Target(f"link-{congestion}-{loss}-tree", text, 1.0, _against("rsync daemon"))


def _costs() -> Iterable[Target]:
    imports = 'python -c "import asyncio, typer, aiofiles"'
    yield Target(
        "process",
        f"whole process, get of 1 KiB, time of `{imports}`",
        1.5,
        _slower_than(imports),
        at_most=True,
    )
    for action in ("get", "put"):
        yield Target(
            f"memory-{action}",
            f"{action}: memory at 10 GiB, of that at 1 GiB",
            1.1,
            _growth,
            at_most=True,
        )
        for side in ("client", "server"):
            measure = _peak(side, "1 GiB", "10 GiB")
            yield Target(
                f"memory-{action}",
                f"{action} of 1 and 10 GiB: peak memory of the {side}",
                100,
                measure,
                at_most=True,
                unit="MiB",
            )


TARGETS = (*_files(), *_trees(), *_crowds(), *_links(), *_costs())
