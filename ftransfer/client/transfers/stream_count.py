"""The number of connections that a transfer begins with: is one enough?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ftransfer.client.session import ClientSession

# From this round trip on, several connections may be faster than one.
LONG_PATH_S = 0.015
# From this size on, a file is large; below it, one connection is as fast.
LARGE_BYTES = 16 << 20
FIRST_STREAMS = 8
MAX_STREAMS = 32

Connect = Callable[[], Awaitable[ClientSession]]


class Streams(NamedTuple):
    """The connections of one transfer: `first` to begin with; `connect` opens each further one.

    Their number stays as it is if `is_fixed`; else it grows as long as that pays off.
    """

    first: int
    is_fixed: bool
    connect: Connect


def streams_for(round_trip_s: float, size: int | None, wanted: int | None) -> int:
    """Return how many connections to begin with; 1 is the usual case.

    Args:
        round_trip_s: Of the path, without load (ClientSession.round_trip_s).
        size: Of the file in bytes; None if still unknown: then the most that may pay off.
        wanted: A number that the user asks for, or None.
    """
    if wanted is not None:
        return max(1, min(wanted, MAX_STREAMS))
    is_large = size is None or size >= LARGE_BYTES
    return FIRST_STREAMS if round_trip_s >= LONG_PATH_S and is_large else 1
