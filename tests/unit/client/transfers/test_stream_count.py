"""Over how many connections a transfer begins."""

from __future__ import annotations

import pytest

from ftransfer.client.transfers.stream_count import (
    FIRST_STREAMS,
    LARGE_BYTES,
    LONG_PATH_S,
    MAX_STREAMS,
    streams_for,
)


@pytest.mark.parametrize(
    ("round_trip_s", "size", "count"),
    [
        (0.0, 10 * LARGE_BYTES, 1),
        (LONG_PATH_S, LARGE_BYTES - 1, 1),
        (LONG_PATH_S, LARGE_BYTES, FIRST_STREAMS),
        (LONG_PATH_S, None, FIRST_STREAMS),  # it pays to ask for the size
        (0.0, None, 1),
    ],
)
def test_only_large_files_on_long_paths_pay(
    round_trip_s: float, size: int | None, count: int
) -> None:
    assert streams_for(round_trip_s, size, None) == count


@pytest.mark.parametrize(("wanted", "count"), [(0, 1), (1, 1), (3, 3), (99, MAX_STREAMS)])
def test_the_user_is_obeyed_within_bounds(wanted: int, count: int) -> None:
    assert streams_for(0.0, 1, wanted) == count
