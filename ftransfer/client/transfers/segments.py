"""What is left to transfer of one file, in segments for several connections. Pure.

A connection may be very slow, while the others wait for what it has. So a worker that finds nothing
else to do takes a segment that is under way already; the first of the two counts.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

# Large enough that its command costs nothing; towards the end of a file they become smaller, so
# that all workers end together.
SEGMENT_BYTES = 512 << 10
LEAST_SEGMENT_BYTES = 64 << 10
# Each worker asks for its next segment before it has the present one, so that no round trip passes
# unused.
REQUESTED_AHEAD = 2
# A worker that is slow takes smaller ones, so that each takes about so long: what is late then is
# little.
_SEGMENT_S = 0.25
# How far ahead of the first gap may be moved: a cut loses what is behind it. From half of it on,
# somebody else helps with the gap.
AHEAD_BYTES = 48 << 20


class Segment(NamedTuple):
    """A part of the file: `length` bytes from `offset`."""

    offset: int
    length: int


class Segments:
    """A file of `size` bytes, from `start` on.

    Set as they change: `streams`, the number of workers, and `in_place`, the offset up to which
    everything is in place.
    """

    def __init__(self, start: int, size: int, streams: int) -> None:
        self.streams = streams
        self.in_place = start
        self._size = size
        self._fresh = start  # from here on nobody has taken anything
        self._given_back: deque[Segment] = deque()
        self._under_way: dict[
            Segment, int
        ] = {}  # in the order in which they were taken: how many are at it

    def begin_at(self, start: int) -> None:
        """Begin at an offset: what is before it is in place. Call it before anything is taken."""
        self.in_place = self._fresh = start

    @property
    def is_all_taken(self) -> bool:
        """Whether every segment is complete or under way."""
        return self._fresh == self._size and not self._given_back

    @property
    def is_complete(self) -> bool:
        return self.is_all_taken and not self._under_way

    @property
    def first_gap(self) -> int:
        """The offset up to which everything is complete."""
        return min(
            (segment.offset for segment in (*self._under_way, *self._given_back)),
            default=self._fresh,
        )

    def take(self, *, is_idle: bool, at_most: int = SEGMENT_BYTES) -> Segment | None:
        """Return the next segment; None if there is none now.

        Args:
            is_idle: Whether the worker has nothing else to do, so that it may be one that another
                worker is at.
            at_most: The length of a segment that suits the worker (SegmentLength).
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
        """Return the segment that holds up all others, if one does."""
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
        """Mark a segment as in place; return False if another worker has done so before."""
        return self._under_way.pop(segment, None) is not None

    def give_back(self, segment: Segment) -> None:
        """Return a segment that a worker cannot complete."""
        count = self._under_way.get(segment)
        if count == 1:
            del self._under_way[segment]
            self._given_back.append(segment)
        elif count is not None:
            self._under_way[segment] = count - 1


class SegmentLength:
    """How long the segments of one worker should be, in bytes, by how long its last ones took."""

    def __init__(self) -> None:
        self.bytes = SEGMENT_BYTES // 2

    def took(self, length: int, seconds: float) -> None:
        """Adapt to how long the transfer of a segment took."""
        self.bytes = min(
            SEGMENT_BYTES, max(LEAST_SEGMENT_BYTES, int(length * _SEGMENT_S / max(seconds, 1e-3)))
        )
