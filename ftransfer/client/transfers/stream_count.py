"""How many connections one transfer begins with: is one enough?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ftransfer.client.session import ClientSession

# From this round trip on, several connections may be quicker than one.
LONG_PATH_S = 0.015
# A file is large from this size on; below, one connection is as quick.
LARGE_BYTES = 16 << 20
FIRST_STREAMS = 8
MAX_STREAMS = 32

Connect = Callable[[], Awaitable[ClientSession]]


class Streams(NamedTuple):
    """The connections of one transfer: `first` to begin with; `connect` makes each further one.

    Their number stays as it is if `is_fixed`; else it grows as long as that pays.
    """

    first: int
    is_fixed: bool
    connect: Connect


def streams_for(round_trip_s: float, size: int | None, wanted: int | None) -> int:
    """Return how many connections to begin with; 1 is the ordinary way.

    Args:
        round_trip_s: Of the path, without load (ClientSession.round_trip_s).
        size: Of the file in bytes; None if it is not known yet: then the most that may pay.
        wanted: A number that the user asks for, or None.
    """
    if wanted is not None:
        return max(1, min(wanted, MAX_STREAMS))
    is_large = size is None or size >= LARGE_BYTES
    return FIRST_STREAMS if round_trip_s >= LONG_PATH_S and is_large else 1
