"""Ranges that come out of order, held against a list of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftransfer.storage.local.extents import Extents

_RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=40)


@given(whole=st.integers(0, 10), ranges=_RANGES)
def test_whatever_comes_is_known_as_a_map_of_bytes_knows_it(
    whole: int, ranges: list[tuple[int, int]]
) -> None:
    extents = Extents(whole)
    there = [True] * whole + [False] * 60
    for start, length in ranges:
        end = start + length
        assert extents.overlaps(start, end) == any(there[start:end])
        if not any(there[start:end]):
            extents.add(start, end)
            there[start:end] = [True] * length
    assert extents.whole == there.index(False)
    rest = there[extents.whole :]
    assert extents.gaps == sum(
        not one and other for one, other in zip(rest, rest[1:], strict=False)
    )
