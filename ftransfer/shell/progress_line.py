"""The progress of a transfer in one line: name, bar, percent, files, bytes, rate, time left. Pure.

On a narrow terminal the bar is dropped first, then the time, the bytes, the files and most of the
name; percent and rate always stay.
"""

from __future__ import annotations

from ftransfer.shell.columns import cells
from ftransfer.shell.formatting import short_name
from ftransfer.transfer.records import Progress

_PHASES = {"verify": "verifying", "commit": "writing to disk", "reconnect": "reconnecting"}
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_GAP = "  "
_BAR_CELLS = (10, 40)  # at least, and at most
_NAME_CELLS = (16, 40)
_LEAST_NAME = 8
_LONGEST_S = 99 * 3600


def progress_line(progress: Progress, rate: float, width: int, *, is_plain: bool = False) -> str:
    """Format the line.

    Args:
        rate: Bytes per second; 0.0 while it is unknown.
        width: Maximum width in cells.
        is_plain: Whether the terminal is limited to ASCII.
    """
    percent, speed = f"{percent_text(progress):>4}", f"{three_digits(rate)}/s" if rate else ""
    files, amount = _files_text(progress), _amount_text(progress)
    left = _PHASES.get(progress.phase) or _time_left(progress, rate)
    name = short_name(progress.name)
    for parts in (
        (percent, files, amount, speed, left),
        (percent, files, amount, speed),
        (percent, files, speed),
        (percent, speed),
    ):
        text = _GAP.join(part for part in parts if part)
        room = width - cells(text) - len(_GAP)
        if room >= min(cells(name), _NAME_CELLS[0]):
            break
    if room < _LEAST_NAME:
        return text
    name = shortened(name, min(room, _NAME_CELLS[1]))
    bar_cells = min(room - cells(name) - len(_GAP), _BAR_CELLS[1])
    bar = (
        _bar(progress, bar_cells, is_plain=is_plain)
        if bar_cells >= _BAR_CELLS[0] and parts[-1] == left
        else ""
    )
    return _GAP.join(part for part in (name, bar, text) if part)


def percent_text(progress: Progress) -> str:
    """Format the percentage; 100 only at the end, "~" while the total is unknown."""
    if progress.total is None or progress.is_estimate:
        return "~"
    if progress.done >= progress.total:
        return "100 %"
    return f"{min(99, 100 * progress.done // progress.total)} %"


def three_digits(count: float) -> str:
    """Format bytes with three significant digits: 999 B, 1.50 kB, 12.3 MB, 122 MB."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = 0 if not unit or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {_UNITS[unit]}"


def _amount_text(progress: Progress) -> str:
    done = three_digits(progress.done)
    if progress.total is None:
        return done
    return f"{done} of {'~' if progress.is_estimate else ''}{three_digits(progress.total)}"


def _files_text(progress: Progress) -> str:
    if progress.files is None:
        return ""
    if progress.all_files is None:
        return f"file {progress.files}"
    return f"file {progress.files} of {'~' if progress.is_estimate else ''}{progress.all_files}"


def _time_left(progress: Progress, rate: float) -> str:
    if progress.total is None or progress.is_estimate or not rate:
        return ""
    seconds = round(max(0, progress.total - progress.done) / rate)
    if seconds > _LONGEST_S:
        return ""
    minutes, rest = divmod(seconds, 60)
    return (
        f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
        if minutes >= 60
        else f"{minutes}:{rest:02d}"
    )


def _bar(progress: Progress, size: int, *, is_plain: bool) -> str:
    full, empty = ("#", "-") if is_plain else ("━", "─")
    if not progress.total or progress.is_estimate:
        return "" if progress.done or progress.total is None else full * size
    done = min(size, size * progress.done // progress.total)
    return full * done + empty * (size - done)


def shortened(text: str, size: int) -> str:
    """Shorten a text to `size` cells by cutting its middle, since names differ at their ends."""
    if cells(text) <= size:
        return text
    tail = _first(text[::-1], (size - 1) // 2)[::-1]
    return f"{_first(text, size - 1 - cells(tail))}…{tail}"


def _first(text: str, size: int) -> str:
    used = 0
    for at, character in enumerate(text):
        used += max(0, cells(character))
        if used > size:
            return text[:at]
    return text
