"""A folder of a store, as a store with the same handles and rules.

Its links may lead anywhere in the whole store.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence

from ftransfer.errors import FtransferError
from ftransfer.names import ROOT, SafeName
from ftransfer.storage import listings, small_files, views
from ftransfer.storage.base import (
    WHOLE,
    Entry,
    Hides,
    Partial,
    Range,
    Reader,
    SmallFile,
    Space,
    Store,
    UploadSpec,
    Usage,
    Writer,
)
from ftransfer.storage.small_files import PackItem


class StoreBelow:
    """See base.Store. Names are relative to `folder`, in arguments and in results.

    It is closed together with the store itself.
    """

    def __init__(self, store: Store, folder: SafeName) -> None:
        self.durable = store.durable
        self._store = store
        self._folder = folder
        self._cut = len(str(folder)) + 1

    def _whole(self, name: SafeName) -> SafeName:
        return SafeName(self._folder.parts + name.parts)

    def _relative(self, name: str) -> str:
        return name[self._cut :]

    def _item(self, item: PackItem) -> PackItem:
        return (
            item
            if isinstance(item, FtransferError)
            else item._replace(name=self._relative(item.name))
        )

    def without_links(self) -> StoreBelow:
        return StoreBelow(views.without_links(self._store), self._folder)

    def hiding(self, hides: Hides) -> StoreBelow:
        def hides_below(name: str) -> bool:
            # Otherwise it is a part of a link
            return hides(self._relative(name) if name.startswith(f"{self._folder}/") else name)

        return StoreBelow(views.hiding(self._store, hides_below), self._folder)

    def on_behalf_of(self, owner: str) -> StoreBelow:
        return StoreBelow(views.on_behalf_of(self._store, owner), self._folder)

    async def stat(self, name: SafeName) -> Entry:
        return (await self._store.stat(self._whole(name)))._replace(name=str(name))

    async def scan(
        self,
        folder: SafeName,
        *,
        recursive: bool = False,
        links: bool = False,
        others: bool = False,
        within: Range = WHOLE,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        whole = self._whole(folder)
        batches = self._store.scan(
            whole, recursive=recursive, links=links, others=others, within=within
        )
        async with contextlib.aclosing(batches):
            async for batch in batches:
                yield [entry._replace(name=self._relative(entry.name)) for entry in batch]

    def lines(
        self, folder: SafeName, *, links: bool = False, others: bool = False
    ) -> AsyncGenerator[Sequence[str], None]:
        return listings.lines(self._store, self._whole(folder), links=links, others=others)

    async def open_read(self, name: SafeName) -> Reader:
        return await self._store.open_read(self._whole(name))

    async def open_whole(self, name: SafeName, max_bytes: int) -> Reader:
        return await small_files.open_whole(self._store, self._whole(name), max_bytes)

    async def open_write(self, name: SafeName, announced: UploadSpec) -> Writer:
        return await self._store.open_write(self._whole(name), announced)

    async def find_partial(self, name: SafeName, owner: str) -> Partial | None:
        found = await self._store.find_partial(self._whole(name), owner)
        return found and found._replace(name=str(name))

    async def partials(self) -> Sequence[Partial]:
        return [
            partial._replace(name=self._relative(partial.name))
            for partial in await self._store.partials()
            if partial.name.startswith(f"{self._folder}/")
        ]

    async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
        def keep_whole(partial: Partial) -> bool:
            is_below = partial.name.startswith(f"{self._folder}/")
            return not is_below or keep(partial._replace(name=self._relative(partial.name)))

        return await self._store.clear_partials(keep_whole)

    async def read_small(self, names: Sequence[SafeName], max_bytes: int) -> Sequence[PackItem]:
        whole = [*map(self._whole, names)]
        items = await small_files.read_small(self._store, whole, max_bytes)
        return [self._item(item) for item in items]

    async def read_tree(
        self, folder: SafeName, max_bytes: int, max_items: int, *, others: bool = False
    ) -> AsyncGenerator[Sequence[PackItem], None]:
        groups = small_files.read_tree(
            self._store, self._whole(folder), max_bytes, max_items, others=others
        )
        async with contextlib.aclosing(groups):
            async for group in groups:
                yield [self._item(item) for item in group]

    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
        return await small_files.write_small(
            self._store, [file._replace(name=f"{self._folder}/{file.name}") for file in files]
        )

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        await self._store.make_folder(self._whole(name), parents=parents)

    async def set_attributes(
        self, name: SafeName, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> None:
        await self._store.set_attributes(self._whole(name), mtime_ns=mtime_ns, mode=mode)

    async def rename(
        self, old: SafeName, new: SafeName, *, replace: bool = False, over: bool = False
    ) -> None:
        await self._store.rename(self._whole(old), self._whole(new), replace=replace, over=over)

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        return await self._store.remove(self._whole(name), recursive=recursive)

    async def usage(self, folder: SafeName = ROOT) -> Usage:
        return await listings.usage(self._store, self._whole(folder))

    async def space(self) -> Space:
        return await listings.space(self._store)

    async def close(self) -> None:
        """Do nothing: the owner of the store itself closes it."""
