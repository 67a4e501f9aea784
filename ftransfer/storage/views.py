"""Views of a store for one user: without links, with hidden names, with a fair share of turns.

A store that has links must offer `without_links`; the other methods are for stores that can do it
faster. A view is closed with the store itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol, TypeGuard

from ftransfer.errors import FolderNotEmpty, NotAFolder, NotFound
from ftransfer.names import SafeName
from ftransfer.storage.base import (
    FOLDER,
    WHOLE,
    Entry,
    Hides,
    Partial,
    Range,
    Reader,
    Store,
    UploadSpec,
    Writer,
)
from ftransfer.storage.oserrors import HOLDS_HIDDEN, LEAVES_HIDDEN


class HasLinks(Protocol):
    def without_links(self) -> Store: ...


class HidesNames(Protocol):
    def hiding(self, hides: Hides) -> Store: ...


class SharesTurns(Protocol):
    def on_behalf_of(self, owner: str) -> Store: ...


def _has_links(store: Store) -> TypeGuard[HasLinks]:
    return hasattr(store, "without_links")


def _hides_names(store: Store) -> TypeGuard[HidesNames]:
    return hasattr(store, "hiding")


def _shares_turns(store: Store) -> TypeGuard[SharesTurns]:
    return hasattr(store, "on_behalf_of")


def without_links(store: Store) -> Store:
    """Return a view that follows no link, for users who may access only some folders.

    So no link can lead out of these. What is behind one is not found.
    """
    return store.without_links() if _has_links(store) else store


def on_behalf_of(store: Store, owner: str) -> Store:
    """Return a view whose long work takes turns that are shared fairly between owners."""
    return store.on_behalf_of(owner) if _shares_turns(store) else store


def hiding(store: Store, hides: Hides) -> Store:
    """Return a view that hides some names.

    What is hidden is not listed or read with a tree, stays when its tree is removed, and no link
    leads to it. A name that the caller passes is not checked. If `hides` looks at more than the
    last part of a name, use `without_links` as well.
    """
    return store.hiding(hides) if _hides_names(store) else HidingStore(store, hides)


class HidingStore:
    """A store without links that hides names. See base.Store."""

    def __init__(self, store: Store, hides: Hides) -> None:
        self.durable = store.durable
        self._store = store
        self._hides = hides

    def _is_hidden(self, name: str, folder: SafeName) -> bool:
        """Return whether a name below a folder, or a folder between them, is hidden."""
        parts = name.split("/")
        return any(
            self._hides("/".join(parts[:end]))
            for end in range(len(folder.parts) + 1, len(parts) + 1)
        )

    async def stat(self, name: SafeName) -> Entry:
        return await self._store.stat(name)

    async def scan(
        self,
        folder: SafeName,
        *,
        recursive: bool = False,
        links: bool = False,
        others: bool = False,
        within: Range = WHOLE,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        batches = self._store.scan(
            folder, recursive=recursive, links=links, others=others, within=within
        )
        async with contextlib.aclosing(batches):
            async for batch in batches:
                if seen := [entry for entry in batch if not self._is_hidden(entry.name, folder)]:
                    yield seen

    async def open_read(self, name: SafeName) -> Reader:
        return await self._store.open_read(name)

    async def open_write(self, name: SafeName, announced: UploadSpec) -> Writer:
        return await self._store.open_write(name, announced)

    async def find_partial(self, name: SafeName, owner: str) -> Partial | None:
        return await self._store.find_partial(name, owner)

    async def partials(self) -> Sequence[Partial]:
        return await self._store.partials()

    async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
        return await self._store.clear_partials(keep)

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        await self._store.make_folder(name, parents=parents)

    async def set_attributes(
        self, name: SafeName, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> None:
        await self._store.set_attributes(name, mtime_ns=mtime_ns, mode=mode)

    async def rename(
        self, old: SafeName, new: SafeName, *, replace: bool = False, over: bool = False
    ) -> None:
        if over:
            await refuse_hidden_below(self._store, new, self._hides)
        await self._store.rename(old, new, replace=replace, over=over)

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        seen, hidden = await self._below(name) if recursive and not name.is_root else ([], [])
        if not hidden:
            return await self._store.remove(name, recursive=recursive)
        for entry in reversed(seen):  # content before its folder
            below = SafeName.trusted(entry.name)
            if not any(SafeName.trusted(kept.name).is_within(below) for kept in hidden):
                with contextlib.suppress(NotFound):
                    await self._store.remove(below)
        raise FolderNotEmpty.about(name, LEAVES_HIDDEN)

    async def _below(self, name: SafeName) -> tuple[list[Entry], list[Entry]]:
        """Return the visible and the hidden entries below a name."""
        seen: list[Entry] = []
        hidden: list[Entry] = []
        if (await self._store.stat(name)).kind == FOLDER:
            batches = self._store.scan(name, recursive=True, links=True, others=True)
            async with contextlib.aclosing(batches):
                async for batch in batches:
                    for entry in batch:
                        (hidden if self._is_hidden(entry.name, name) else seen).append(entry)
        return seen, hidden

    async def close(self) -> None:
        """Do nothing: the caller that opened the store closes it."""


async def refuse_hidden_below(store: Store, folder: SafeName, hides: Hides) -> None:
    """Refuse to replace a folder with all its content if some of it is hidden.

    Args:
        store: The whole store, which hides nothing.

    Raises:
        FolderNotEmpty.
    """
    with contextlib.suppress(NotFound, NotAFolder):
        async with contextlib.aclosing(
            store.scan(folder, recursive=True, links=True, others=True)
        ) as batches:
            async for batch in batches:
                if any(hides(entry.name) for entry in batch):
                    raise FolderNotEmpty.about(folder, HOLDS_HIDDEN)
