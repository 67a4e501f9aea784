from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from ftransfer.shell.listing import in_order
from ftransfer.storage.base import Entry


def entries(*names: str) -> list[Entry]:
    return [Entry(name, "file", 0, 0, 0) for name in names]


class Batches:
    """Batches that know whether they were closed."""

    def __init__(self, *batches: list[Entry]) -> None:
        self.is_closed = False
        self._batches = batches

    async def give(self) -> AsyncIterator[Sequence[Entry]]:
        try:
            for batch in self._batches:
                yield batch
        finally:
            self.is_closed = True


async def names(batches: Batches, limit: int) -> list[list[str]]:
    return [[entry.name for entry in batch] async for batch in in_order(batches.give(), limit)]


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        (4, [["a", "b", "c", "d"]]),
        (3, [["d", "b", "c", "a"]]),
        (2, [["d", "b", "c"], ["a"]]),
        (1, [["d", "b"], ["c"], ["a"]]),
    ],
)
async def test_sorted_up_to_the_limit_and_streamed_past_it(
    limit: int, found: list[list[str]]
) -> None:
    assert await names(Batches(entries("d", "b"), entries("c"), entries("a")), limit) == found


async def test_nothing_in_the_folder() -> None:
    assert await names(Batches(), 10) == []
    assert await names(Batches([]), 10) == []


async def test_source_is_closed_when_the_listing_is_left() -> None:
    batches = Batches(entries("a", "b"), entries("c"))
    listing = in_order(batches.give(), 1)
    await anext(listing)
    await listing.aclose()
    assert batches.is_closed
