"""Medians, spreads, ratios, and how numbers are shown."""

from __future__ import annotations

import pytest

from bench.numbers import show, show_bytes, spread, times_better, value_of


@pytest.mark.parametrize(
    ("unit", "work", "wall_s", "expected"),
    [
        ("GB/s", 2e9, 4.0, 0.5),
        ("Mbit/s", 25e6, 1.0, 200.0),
        ("files/s", 100, 0.5, 200.0),
        ("ms", 1, 0.25, 250.0),
        ("s", 7, 2.0, 2.0),
    ],
)
def test_value_is_work_a_second_or_time_of_a_run(
    unit: str, work: float, wall_s: float, expected: float
) -> None:
    assert value_of(unit, work, wall_s) == pytest.approx(expected)


def test_spread_is_half_the_range_as_a_part_of_the_median() -> None:
    assert spread([9.0, 10.0, 12.0]) == pytest.approx(0.15)
    assert spread([5.0]) == 0


@pytest.mark.parametrize(("unit", "expected"), [("GB/s", 2.0), ("ms", 0.5)])
def test_times_better_is_in_our_favour_above_one_whatever_the_unit(
    unit: str, expected: float
) -> None:
    assert times_better(unit, 10.0, 5.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.1234, "0.12"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (22345.6, "22 346"),
    ],
)
def test_show_gives_three_digits_that_matter(value: float, text: str) -> None:
    assert show(value) == text


def test_bytes_are_shown_in_mebibytes_and_unknown_ones_as_a_dash() -> None:
    assert [show_bytes(3 << 20), show_bytes(None)] == ["3", "–"]
