"""Entries of a folder for the screen: sorted if they are few, as they arrive if they are many."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from ftransfer.storage.base import Entry

# How many entries are held back for sorting. Nobody reads more, and memory must stay bounded.
SORTED_ENTRIES = 10_000


async def in_order(
    batches: AsyncIterator[Sequence[Entry]], limit: int = SORTED_ENTRIES
) -> AsyncGenerator[Sequence[Entry], None]:
    """Yield the entries sorted by name if there are at most `limit`, else as they arrive.

    Closes `batches`.
    """
    held: list[Entry] = []
    async with contextlib.aclosing(as_generator(batches)) as source:
        async for batch in source:
            held += batch
            if len(held) > limit:
                yield held
                held = []
                break
        if held:
            yield sorted(held, key=lambda entry: entry.name)
        async for batch in source:
            yield batch


async def as_generator(
    batches: AsyncIterator[Sequence[Entry]],
) -> AsyncGenerator[Sequence[Entry], None]:
    """Yield from an iterator, and close it at the end if it is a generator."""
    try:
        async for batch in batches:
            yield batch
    finally:
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()
