"""A recursive listing in runs of entries, each with a digest: common runs need not be listed.

Pure. One side makes a span of each batch of its lines (storage.base.line_of); the other splits its
lines at the same names, and lists only the ranges in which the digests differ. Neither holds more
than a few batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from ftransfer.digest import Digest, digest_of
from ftransfer.errors import RemoteProtocolError
from ftransfer.names import check_told, sort_key
from ftransfer.protocol.replies import take, take_count
from ftransfer.storage.base import WHOLE, Range

# The longest span that a client accepts, since it holds as many lines itself.
MAX_ENTRIES = 65536


class Span(NamedTuple):
    """A run of `entries` entries, the last named `until`; `digest` is "" if there is none."""

    until: str
    entries: int
    digest: Digest


def span_of(lines: Sequence[str]) -> Span:
    """Return the span of lines, of which there must be at least one."""
    text = "".join(lines)
    # The content of an unreadable folder is unknown: its line has nothing between the two NULs, and
    # equals no other.
    digest = "" if "\0\0" in text else digest_of(text.encode("utf-8", "surrogateescape"))
    return Span(_name_of(lines[-1]), len(lines), digest)


class SpanDifferences(NamedTuple):
    """The result of a comparison by spans.

    `ranges` differ; they are in order and do not adjoin. `same` entries are outside them, alike on
    both sides. `told` is false if the other side has nothing at all. `entries` is the number of
    entries that the other side has announced for each range.
    """

    ranges: Sequence[Range]
    same: int = 0
    told: bool = True
    entries: Sequence[int] = ()


async def find_differences(
    spans: AsyncIterator[Span], batches: AsyncIterator[Sequence[str]]
) -> SpanDifferences:
    """Compare the spans of the other side with our lines, which are read after the first span.

    Raises:
        RemoteProtocolError: The spans are not in order.
    """
    lines, ranges, entries, same, after = _Lines(batches), list[Range](), list[int](), 0, ""
    async for span in spans:
        if sort_key(span.until) <= sort_key(after):
            raise RemoteProtocolError("the spans of a listing are not in order")
        if await lines.take(span):
            same += span.entries
        else:
            await lines.drop(span.until)
            _add_range(ranges, entries, Range(after, span.until), span.entries)
        after = span.until
    if not after:
        return SpanDifferences([WHOLE], told=False)
    if await lines.fill(1):
        _add_range(ranges, entries, Range(after), 0)
    return SpanDifferences(ranges, same, entries=entries)


def _add_range(ranges: list[Range], entries: list[int], added: Range, count: int) -> None:
    """Append a range to the others; one that adjoins the last is merged into it."""
    if ranges and ranges[-1].until == added.after:
        added = Range(ranges.pop().after, added.until)
        count += entries.pop()
    ranges.append(added)
    entries.append(count)


class _Lines:
    """Our own lines, in order."""

    def __init__(self, batches: AsyncIterator[Sequence[str]]) -> None:
        self._batches = batches
        self._pending: list[str] = []

    async def fill(self, count: int) -> bool:
        """Read until there are `count` lines; return whether there are."""
        while len(self._pending) < count:
            batch = await anext(self._batches, None)
            if batch is None:
                return False
            self._pending += batch
        return True

    async def take(self, span: Span) -> bool:
        """Take the next lines if they match a span; return whether they do."""
        if (
            not span.digest
            or not await self.fill(span.entries)
            or span_of(self._pending[: span.entries]) != span
        ):
            return False
        del self._pending[: span.entries]
        return True

    async def drop(self, until: str) -> None:
        """Drop the lines up to a name."""
        key = sort_key(until)
        while await self.fill(1):
            del self._pending[
                : bisect_right(self._pending, key, key=lambda line: sort_key(_name_of(line)))
            ]
            if self._pending:
                return


def _name_of(line: str) -> str:
    return line[: line.index("\0")]


def span_to_wire(span: Span) -> dict[str, Any]:
    """Return the JSON object for a span.

    Source: docs/protocol.md section 6.1.
    """
    value: dict[str, Any] = {"until": span.until, "entries": span.entries}
    if span.digest:
        value["digest"] = span.digest
    return value


def span_from_wire(value: object) -> Span:
    """Decode a span.

    Raises:
        NameRefused: Its last name is not a valid file name.
        RemoteProtocolError: It is not a span, or too long.
    """
    if not isinstance(value, Mapping):
        raise RemoteProtocolError("a span of a listing is not an object")
    count = take_count(value, "entries")
    if not 0 < count <= MAX_ENTRIES:
        raise RemoteProtocolError(
            f"a span of a listing has {count} entries, not 1 to {MAX_ENTRIES}"
        )
    return Span(check_told(take(value, "until", str)), count, take(value, "digest", str, ""))
