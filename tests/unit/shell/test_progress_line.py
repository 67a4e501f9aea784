"""What stands in the progress line, and what of it stays where there is little room."""

from __future__ import annotations

import pytest

from ftransfer.shell.columns import cells
from ftransfer.shell.progress_line import percent_text, progress_line, shortened, three_digits
from ftransfer.transfer.records import Progress

FILE = Progress("射频仿真与天线阵列的测量结果.pptx", 122_000_000, 1_500_000_000)
TREE = Progress("photos/2024/a.jpg", 72_600_000, 180_000_000, files=128, all_files=300)
RATE = 20_900_000.0


def test_file() -> None:
    line = progress_line(FILE, RATE, 119)
    assert line.startswith("射频仿真与天线阵列的测量结果.pptx  ━")
    assert line.endswith("─   8 %  122 MB of 1.50 GB  20.9 MB/s  1:06")


def test_tree() -> None:
    line = progress_line(TREE, RATE, 119)
    assert line.endswith("  40 %  file 128 of 300  72.6 MB of 180 MB  20.9 MB/s  0:05")


def test_totals_are_marked_until_all_has_been_found() -> None:
    line = progress_line(TREE._replace(is_estimate=True), RATE, 119)
    assert (
        line.endswith("   ~  file 128 of ~300  72.6 MB of ~180 MB  20.9 MB/s") and "━" not in line
    )


@pytest.mark.parametrize(
    "progress", [FILE, TREE, TREE._replace(is_estimate=True), FILE._replace(phase="reconnect")]
)
@pytest.mark.parametrize("rate", [0.0, 7.0, RATE])
@pytest.mark.parametrize("width", [*range(24, 60), 79, 199])
def test_line_fits_and_keeps_percent_and_rate(progress: Progress, rate: float, width: int) -> None:
    line = progress_line(progress, rate, width)
    assert cells(line) <= width
    assert percent_text(progress) in line
    assert not rate or f"{three_digits(rate)}/s" in line
    assert line.count("━") + line.count("─") <= 40


def test_what_goes_first_where_there_is_less_room() -> None:
    there = {
        part: [width for width in range(20, 200) if part in progress_line(TREE, RATE, width)]
        for part in ("─", "0:05", " of 180 MB", "of 300")
    }
    least = [min(widths) for widths in there.values()]
    assert least == sorted(least, reverse=True) and len(set(least)) == 4
    # Nothing comes and goes
    assert all(widths == list(range(widths[0], 200)) for widths in there.values())


def test_bar_grows_with_what_is_done() -> None:
    bars = [progress_line(Progress("a", done, 100), 1.0, 100).count("━") for done in range(101)]
    assert bars == sorted(bars) and bars[0] == 0 and bars[-1] == 40
    assert "####----" in progress_line(Progress("a", 50, 100), 1.0, 100, is_plain=True)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_940, "99.9 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (1_500_000_000, "1.50 GB"),
    ],
)
def test_three_digits(count: int, text: str) -> None:
    assert three_digits(count) == text


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [(0, 3, "0 %"), (2_999, 3_000, "99 %"), (3, 3, "100 %"), (0, 0, "100 %"), (1, None, "~")],
)
def test_percent(done: int, total: int | None, text: str) -> None:
    assert percent_text(Progress("a", done, total)) == text


@pytest.mark.parametrize("size", range(3, 40))
@pytest.mark.parametrize(
    "name", ["measurement-2024-11-28.csv", "射频仿真与天线阵列的测量结果.pptx", "a"]
)
def test_name_is_shortened_in_its_middle(name: str, size: int) -> None:
    short = shortened(name, size)
    assert cells(short) <= size
    if cells(name) <= size:
        assert short == name
    else:
        head, _, tail = short.partition("…")
        assert name.startswith(head) and name.endswith(tail)
