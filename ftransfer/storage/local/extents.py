"""Which bytes of a file are in place when they arrive out of order. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort


class Extents:
    """All bytes up to `whole`, and ranges ahead of it, with gaps between them."""

    def __init__(self, whole: int) -> None:
        self.whole = whole
        self._ahead: list[tuple[int, int]] = []  # (start, end), in order

    @property
    def gaps(self) -> int:
        """The number of gaps before the last byte in place."""
        return len(self._ahead)

    def overlaps(self, start: int, end: int) -> bool:
        """Return whether any byte from `start` to `end` (exclusive) is in place."""
        index = bisect_left(self._ahead, (start, start))
        near = self._ahead[max(0, index - 1) : index + 1]
        return start < self.whole or any(
            start < other_end and other_start < end for other_start, other_end in near
        )

    def add(self, start: int, end: int) -> None:
        """Add the bytes from `start` to `end`, none of which was in place before."""
        index = bisect_left(self._ahead, (start, start))
        if index < len(self._ahead) and self._ahead[index][0] == end:
            end = self._ahead.pop(index)[1]
        if index and self._ahead[index - 1][1] == start:
            start = self._ahead.pop(index - 1)[0]
        if start == self.whole:
            self.whole = end
        else:
            insort(self._ahead, (start, end))
