"""What remains to transfer of one file, in segments for several connections. Pure.

A connection may be very slow while the others wait for its segment. So an idle worker takes a
segment that is already in flight; the first of the two to finish counts.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

# Large enough that its command costs nothing. Segments become smaller towards the end of a file, so
# that all workers end together.
SEGMENT_BYTES = 512 << 10
LEAST_SEGMENT_BYTES = 64 << 10
# Each worker requests its next segment before the current one is complete, so that no round trip is
# wasted.
REQUESTED_AHEAD = 2
# A slow worker takes smaller segments, so that each takes about this long: then little is late.
_SEGMENT_S = 0.25
# How far ahead of the first gap bytes may be transferred: an interruption loses what is behind the
# gap. From half of it on, another worker helps with the gap.
AHEAD_BYTES = 48 << 20


class Segment(NamedTuple):
    """A part of the file: `length` bytes from `offset`."""

    offset: int
    length: int


class Segments:
    """A file of `size` bytes, from `start` on.

    Set these as they change: `streams`, the number of workers, and `in_place`, the offset up to
    which everything is in place.
    """

    def __init__(self, start: int, size: int, streams: int) -> None:
        self.streams = streams
        self.in_place = start
        self._size = size
        self._fresh = start  # nothing is taken from here on
        self._given_back: deque[Segment] = deque()
        self._under_way: dict[
            Segment, int
        ] = {}  # in the order in which they were taken: how many workers have each

    def begin_at(self, start: int) -> None:
        """Begin at an offset: what is before it is in place. Call it before anything is taken."""
        self.in_place = self._fresh = start

    @property
    def is_all_taken(self) -> bool:
        """Return whether every segment is complete or in flight."""
        return self._fresh == self._size and not self._given_back

    @property
    def is_complete(self) -> bool:
        return self.is_all_taken and not self._under_way

    @property
    def first_gap(self) -> int:
        """Return the offset up to which everything is complete."""
        return min(
            (segment.offset for segment in (*self._under_way, *self._given_back)),
            default=self._fresh,
        )

    def take(self, *, is_idle: bool, at_most: int = SEGMENT_BYTES) -> Segment | None:
        """Return the next segment; None if there is none now.

        Args:
            is_idle: Whether the worker has nothing else to do, so that it may take a segment of
                another worker.
            at_most: The segment length that suits the worker (SegmentLength).
        """
        segment = (
            self._given_back.popleft()
            if self._given_back
            else self._take_late() or self._take_fresh(at_most)
        )
        if segment is None and is_idle and self.is_all_taken:
            segment = next((taken for taken, count in self._under_way.items() if count == 1), None)
        if segment is not None:
            self._under_way[segment] = self._under_way.get(segment, 0) + 1
        return segment

    def _take_late(self) -> Segment | None:
        """Return the segment that holds up all others, if there is one."""
        late = min(self._under_way, default=None)
        if (
            late is None
            or self._under_way[late] > 1
            or self._fresh - late.offset < AHEAD_BYTES // 2
        ):
            return None
        return late

    def _take_fresh(self, at_most: int) -> Segment | None:
        left = self._size - self._fresh
        if not left or self._fresh - self.in_place >= AHEAD_BYTES:
            return None
        fair = left // (2 * REQUESTED_AHEAD * self.streams)
        length = min(left, max(LEAST_SEGMENT_BYTES, min(fair, at_most)))
        self._fresh += length
        return Segment(self._fresh - length, length)

    def complete(self, segment: Segment) -> bool:
        """Mark a segment as in place; return False if another worker was first."""
        return self._under_way.pop(segment, None) is not None

    def give_back(self, segment: Segment) -> None:
        """Put back a segment that a worker cannot complete."""
        count = self._under_way.get(segment)
        if count == 1:
            del self._under_way[segment]
            self._given_back.append(segment)
        elif count is not None:
            self._under_way[segment] = count - 1


class SegmentLength:
    """The segment length for one worker, in bytes, from how long its last segments took."""

    def __init__(self) -> None:
        self.bytes = SEGMENT_BYTES // 2

    def took(self, length: int, seconds: float) -> None:
        """Adapt to the time that a segment took."""
        self.bytes = min(
            SEGMENT_BYTES, max(LEAST_SEGMENT_BYTES, int(length * _SEGMENT_S / max(seconds, 1e-3)))
        )
