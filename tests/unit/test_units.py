"""Sizes, rates and times as people write them."""

from __future__ import annotations

import pytest

from ftransfer.units import (
    format_limit,
    format_size,
    parse_count,
    parse_rate,
    parse_size,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("10G", 10 << 30),
        ("1.5g", 3 << 29),
        ("500M", 500 << 20),
        ("500MB", 500_000_000),
        ("500 MiB", 500 << 20),
        ("2kb", 2000),
        ("7B", 7),
        ("1T", 1 << 40),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "G",
        "-1",
        "10X",
        "1e9",
        "1_000",
        "ten",
        "10GG",
        "1" * 30,
        "٣G",
        str(2**63),
        "9000P",
        "10 G B",
    ],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no size|more than any"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("10M", 10 << 20), ("10M/s", 10 << 20), ("500kB/s", 500_000), ("1/sec", 1)]
)
def test_rates(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "0/s", "/s", "M/s", "10/h"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no size|rate of 0"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("0.5s", 0.5),
        ("15m", 900),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("250ms", 0.25),
        ("1H", 3600),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "-5s", "1y", "1h 30m", "inf", "nan", "1e3", "5" * 30, "99999999d"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time|longer than"):
        parse_time(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (512, "512"), (10 << 30, "10G"), (3 << 29, "1.5G"), (1000, "1000")]
)
def test_limits_are_shown_as_they_are_written(size: int, text: str) -> None:
    assert format_limit(size) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("5000", 5000), ("100K", 100_000), ("2 m", 2_000_000), ("1G", 10**9)],
)
def test_numbers_of_files(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5K", "10KB", "many", "1T", "9" * 30])
def test_what_is_no_number_of_files_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number of files"):
        parse_count(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_234_567_890, "1.2 GB"),
        (2**63 - 1, "9.2 EB"),
    ],
)
def test_measured_sizes(count: int, text: str) -> None:
    assert format_size(count) == text
