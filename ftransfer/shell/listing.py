"""Entries of a folder on their way to the screen: sorted as long as they are few, in the order they
come when they are many.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from ftransfer.storage.base import Entry

# What is held back to be sorted. More entries than that nobody reads, and memory must not grow with
# their number.
SORTED_ENTRIES = 10_000


async def in_order(
    batches: AsyncIterator[Sequence[Entry]], limit: int = SORTED_ENTRIES
) -> AsyncGenerator[Sequence[Entry], None]:
    """Give the entries by name if there are at most `limit`, else in batches as they come. Closes
    `batches`.
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
    """Give what an iterator gives, and close it at the end if it can be closed."""
    try:
        async for batch in batches:
            yield batch
    finally:
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()
