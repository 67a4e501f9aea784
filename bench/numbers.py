"""Medians, spreads, and how a number is shown. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

# unit -> what one run's work and seconds make of it; for all but those below, more is better.
_PER_SECOND = {
    "GB/s": 1e9,
    "MB/s": 1e6,
    "files/s": 1.0,
    "names/s": 1.0,
    "requests/s": 1.0,
    "Mbit/s": 1e6 / 8,
}
_PER_RUN = {"ms": 1e3, "s": 1.0}


def value_of(unit: str, work: float, wall_s: float) -> float:
    """Return a run's result in a unit. `work` is in bytes, files, names or requests.

    Raises:
        KeyError: No such unit.
    """
    if unit in _PER_RUN:
        return wall_s * _PER_RUN[unit]
    return work / wall_s / _PER_SECOND[unit]


def is_more_better(unit: str) -> bool:
    return unit not in _PER_RUN


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Return half of the range as a fraction of the median.

    0.05 means that all runs lie within about 5 % of it.
    """
    middle = median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def times_better(unit: str, ours: float, theirs: float) -> float:
    """How many times better ours is: above 1 is in our favour, whichever way the unit points."""
    return ours / theirs if is_more_better(unit) else theirs / ours


def show(value: float) -> str:
    """Three digits that matter."""
    if value == 0:
        return "0"
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def show_bytes(count: int | None) -> str:
    return "–" if count is None else f"{count / (1 << 20):.0f}"
