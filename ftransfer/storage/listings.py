"""Listings as lines, ranges of listings, and usage of trees: all derived from Store.scan.

A store may offer `lines`, `usage` and `space` as methods if it can do them faster.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Protocol, TypeGuard

from ftransfer.errors import NotAFolder, NotFound
from ftransfer.names import ROOT, SafeName, sort_key
from ftransfer.storage.base import (
    WHOLE,
    Entry,
    Range,
    Space,
    Store,
    Usage,
    lines_of,
    usage_of,
)

_UNBOUNDED_BYTES = 1 << 62


class ListsLines(Protocol):
    def lines(
        self, folder: SafeName, *, links: bool = False, others: bool = False
    ) -> AsyncGenerator[Sequence[str], None]: ...


class CountsUsage(Protocol):
    async def usage(self, folder: SafeName = ROOT) -> Usage: ...


class KnowsSpace(Protocol):
    async def space(self) -> Space: ...


def _lists_lines(store: Store) -> TypeGuard[ListsLines]:
    return hasattr(store, "lines")


def _counts_usage(store: Store) -> TypeGuard[CountsUsage]:
    return hasattr(store, "usage")


def _knows_space(store: Store) -> TypeGuard[KnowsSpace]:
    return hasattr(store, "space")


def lines(
    store: Store, folder: SafeName, *, links: bool = False, others: bool = False
) -> AsyncGenerator[Sequence[str], None]:
    """Yield a recursive listing as lines (base.line_of), with names relative to the folder.

    Order, errors and closing are as for Store.scan.
    """
    if _lists_lines(store):
        return store.lines(folder, links=links, others=others)
    return as_lines(store.scan(folder, recursive=True, links=links, others=others), folder)


async def as_lines(
    batches: AsyncGenerator[Sequence[Entry], None], folder: SafeName
) -> AsyncGenerator[Sequence[str], None]:
    """Yield the lines of a listing of `folder`, and close the listing."""
    async with contextlib.aclosing(batches):
        async for batch in batches:
            yield lines_of(batch, folder)


def inside(entries: Iterable[Entry], folder: SafeName, within: Range) -> Iterator[Entry]:
    """Return the entries of a recursive listing of `folder` that are within a range."""
    if within == WHOLE:
        return iter(entries)
    cut = 0 if folder.is_root else len(str(folder)) + 1
    after, until = sort_key(within.after), sort_key(within.until)
    return (
        entry
        for entry in entries
        if sort_key(entry.name[cut:]) > after and (not until or sort_key(entry.name[cut:]) <= until)
    )


async def usage(store: Store, folder: SafeName = ROOT) -> Usage:
    """Return the usage of what is below a folder, without following links.

    The root includes all partials. A missing folder counts nothing.
    """
    if _counts_usage(store):
        return await store.usage(folder)
    total = Usage()
    with contextlib.suppress(NotFound, NotAFolder):
        async with contextlib.aclosing(store.scan(folder, recursive=True, links=True)) as batches:
            async for batch in batches:
                for entry in batch:
                    total += usage_of(entry.size)
    if folder.is_root:
        for partial in await store.partials():
            total += usage_of(partial.kept)
    return total


async def space(store: Store) -> Space:
    """Return how much more fits into a store; practically unlimited where it does not know."""
    return await store.space() if _knows_space(store) else Space(_UNBOUNDED_BYTES)
