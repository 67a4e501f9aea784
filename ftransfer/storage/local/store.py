"""The store for a folder on disk, which most shares are.

Everything is below one open handle, every operation is one job in the store's threads, and content
goes through aiofiles. This file submits the jobs and tracks what is open; the files beside it
implement the jobs, one idea each.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ftransfer.errors import FtransferError, StoreFailed
from ftransfer.names import ROOT, SafeName
from ftransfer.storage.base import (
    WHOLE,
    Entry,
    Hides,
    Partial,
    Range,
    SmallFile,
    Space,
    UploadSpec,
    Usage,
    line_of,
)
from ftransfer.storage.local import mutations, removal
from ftransfer.storage.local.partials import Partials
from ftransfer.storage.local.reader import (
    HeldReader,
    LocalReader,
    Opened,
    open_served,
)
from ftransfer.storage.local.root import Resolver, Root, entry_of, refuse_special
from ftransfer.storage.local.staging import StagingArea
from ftransfer.storage.local.syscalls import Kernel, release
from ftransfer.storage.local.threads import Jobs, UseCounter, W, Work, run_whole
from ftransfer.storage.local.uploads import Uploads
from ftransfer.storage.local.usage import usage
from ftransfer.storage.local.walk import FolderListing
from ftransfer.storage.local.writer import LocalWriter
from ftransfer.storage.oserrors import translated
from ftransfer.storage.views import refuse_hidden_below
from ftransfer.system.threads import finish, finish_steps

if TYPE_CHECKING:
    # Only whole trees import these at run time
    from ftransfer.storage.local.links import LinksBelow
    from ftransfer.storage.small_files import PackItem

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class LocalStore:
    """See base.Store. Made by `open`; must be closed.

    Reading follows a link that stays inside; writing replaces, moves or removes the link itself.
    """

    def __init__(self, root: Root, jobs: Jobs) -> None:
        """Use `open` instead."""
        self.durable = root.durable
        self._root = root
        self._jobs = jobs
        self._staging = StagingArea(root.handle, root.resolver.hidden)
        self._partials = Partials(self._staging, root.kernel)
        self._readers: set[LocalReader] = set()
        self._uploads = Uploads(jobs, self._partials)
        self._uses = UseCounter()  # of calls that open readers and writers
        self._is_closed = False
        self._owner = ""  # of the turns of long work

    @classmethod
    async def open(
        cls,
        root: str | os.PathLike[str],
        *,
        durable: bool = True,
        resolver: Resolver = "auto",
        kernel: Kernel | None = None,
    ) -> LocalStore:
        """Open a folder, and remove what killed processes left in its staging area.

        Args:
            durable: Whether a commit survives a power cut. False saves the wait for the disk, for
                content that can be fetched again.
            resolver: What keeps names inside: "openat2" is the kernel, "walk" goes handle by
                handle, "auto" is the first that works.
            kernel: The operating system, for tests that make it fail.

        Raises:
            NotFound, NotAFolder, Forbidden, StoreFailed: The message contains `root`.
        """
        jobs = Jobs()
        try:
            opened = await finish(
                jobs.start(
                    Root, root, durable=durable, resolver=resolver, kernel=kernel or Kernel()
                ),
                _close_root,
            )
            store = cls(opened, jobs)
            try:
                await jobs.run(store._collect)
            except BaseException:
                await store.close()
                raise
        except BaseException:
            await jobs.close()
            raise
        return store

    def _collect(self) -> None:
        try:
            self._staging.collect()
            self._partials.collect()
        except (OSError, StoreFailed) as error:
            # A share that is only read needs no hidden folder; a write will report the error.
            _log.warning(
                "what earlier transfers left cannot be cleared away: %s",
                getattr(error, "strerror", None) or error,
            )

    async def is_in_place(self) -> bool:
        """Return whether the path that was opened still leads to the folder.

        While the folder is open, no other can be mistaken for it.
        """
        return await self._jobs.run(self._root.is_in_place)

    def without_links(self) -> LocalStore:
        return self._with(self._root.without_links())

    def hiding(self, hides: Hides) -> LocalStore:
        return self._with(self._root.hiding(hides))

    def _with(self, root: Root) -> LocalStore:
        view = copy.copy(self)  # with the same threads, partials, readers and writers
        view._root = root
        return view

    def on_behalf_of(self, owner: str) -> LocalStore:
        view = copy.copy(self)
        view._owner = owner
        return view

    async def other_spelling(self, name: SafeName) -> str:
        from ftransfer.storage.local.folding import other_spelling

        return await self._jobs.run(other_spelling, self._root.handle, name)

    async def folds_names(self) -> bool:
        from ftransfer.storage.local.folding import folds_names

        return await self._jobs.run(folds_names, self._root.handle)

    async def stat(self, name: SafeName) -> Entry:
        return await self._jobs.run(self._stat, name)

    def _stat(self, name: SafeName) -> Entry:
        with translated(name):
            found = self._root.stat(name)
        refuse_special(found, name)
        return entry_of(str(name), found)

    def scan(
        self,
        folder: SafeName,
        *,
        recursive: bool = False,
        links: bool = False,
        others: bool = False,
        within: Range = WHOLE,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        return self._walk(
            folder,
            lambda: FolderListing(
                self._root,
                folder,
                Entry,
                recursive=recursive,
                links=links,
                others=others,
                within=within,
            ),
            FolderListing.next_batch,
        )

    def lines(
        self, folder: SafeName, *, links: bool = False, others: bool = False
    ) -> AsyncGenerator[Sequence[str], None]:
        return self._walk(
            folder,
            lambda: FolderListing(
                self._root,
                folder,
                line_of,
                recursive=True,
                links=links,
                others=others,
                relative=True,
            ),
            FolderListing.next_batch,
        )

    def _walk(
        self, folder: SafeName, open_it: Callable[[], W], go_on: Callable[[W], Sequence[_T]]
    ) -> AsyncGenerator[Sequence[_T], None]:
        """Walk in steps. An OSError is reported for the folder."""

        def begin() -> W:
            with translated(folder):
                return open_it()

        def next_batch(walk: W) -> Sequence[_T]:
            with translated(folder):
                return go_on(walk)

        return self._jobs.walk(self._owner, begin, next_batch)

    async def open_read(self, name: SafeName) -> LocalReader:
        reader = await self.open_whole(name, 0)
        assert isinstance(reader, LocalReader)  # max_bytes is 0
        return reader

    async def open_whole(self, name: SafeName, max_bytes: int) -> LocalReader | HeldReader:
        async def ended() -> None:
            self._readers.discard(reader)

        async def drop(opened: Opened | HeldReader) -> None:
            if not isinstance(opened, HeldReader):
                await self._jobs.run(release, opened[0])

        with self._uses:
            opened = await finish(self._jobs.start(open_served, self._root, name, max_bytes), drop)
            if isinstance(opened, HeldReader):
                return opened
            reader = LocalReader(
                self._jobs, str(name), opened, lambda: self._root.stat(name), ended
            )
            self._readers.add(reader)
            return reader

    async def open_write(self, name: SafeName, announced: UploadSpec) -> LocalWriter:
        with self._uses:
            return await finish_steps(
                self._uploads.open(self._root, name, announced), LocalWriter.suspend
            )

    async def find_partial(self, name: SafeName, owner: str) -> Partial | None:
        found = await self._jobs.run(self._find_partials, str(name), owner)
        return found[-1] if found else None

    def _find_partials(self, name: str, owner: str) -> Sequence[Partial]:
        with translated(name):
            return self._partials.dead(name, owner)

    async def partials(self) -> Sequence[Partial]:
        return await self._work(ROOT, self._partials.all())

    async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
        unwanted = [partial for partial in await self.partials() if not keep(partial)]
        return await self._work(ROOT, self._partials.remove(unwanted))

    async def _work(self, name: SafeName, work: Work[_T]) -> _T:
        """Do long work in steps. An OSError is reported for the name."""

        def translating() -> Work[_T]:
            with translated(name):
                return (yield from work)

        return await self._jobs.work(self._owner, translating())

    async def read_small(self, names: Sequence[SafeName], max_bytes: int) -> Sequence[PackItem]:
        from ftransfer.storage.local.bulk import read_small

        return await self._jobs.run(read_small, self._root, names, max_bytes)

    def read_tree(
        self, folder: SafeName, max_bytes: int, max_items: int, *, others: bool = False
    ) -> AsyncGenerator[Sequence[PackItem], None]:
        from ftransfer.storage.local.bulk_read import Sweep

        return self._walk(
            folder,
            lambda: Sweep(self._root, folder, max_bytes, others=others),
            lambda sweep: sweep.next_group(max_items),
        )

    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
        from ftransfer.storage.local.bulk import write_small

        return await self._jobs.run(write_small, self._root, self._staging, files)

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        await self._jobs.run(mutations.make_folder, self._root, name, parents=parents)

    async def set_attributes(
        self, name: SafeName, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> None:
        await self._jobs.run(mutations.set_attributes, self._root, name, mtime_ns, mode)

    async def rename(
        self, old: SafeName, new: SafeName, *, replace: bool = False, over: bool = False
    ) -> None:
        if over:
            if self._root.hides is not None:
                await refuse_hidden_below(self._whole(), new, self._root.hides)
            if await self._jobs.run(mutations.exchange, self._root, old, new):
                await self.remove(old, recursive=True)  # the replaced thing
                return
        look = await self._rename(old, new, replace=replace, seen=None)
        while look is not None:
            try:
                while await self._jobs.step(self._owner, look.go_on):
                    pass
                after = await self._rename(old, new, replace=replace, seen=look)
            finally:
                await finish_steps(self._jobs.close_walk(look))
            look = after

    def _whole(self) -> LocalStore:
        """Return the view that hides nothing."""
        root = copy.copy(self._root)
        root.hides = None
        return self._with(root)

    async def _rename(
        self, old: SafeName, new: SafeName, *, replace: bool, seen: LinksBelow | None
    ) -> LinksBelow | None:
        async def drop(look: LinksBelow | None) -> None:
            if look is not None:
                await self._jobs.close_walk(look)

        return await finish(
            self._jobs.start(mutations.rename, self._root, old, new, replace=replace, seen=seen),
            drop,
        )

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        work = removal.remove(self._root, name, recursive=recursive)
        return await (self._work(name, work) if recursive else self._jobs.run(run_whole, work))

    async def usage(self, folder: SafeName = ROOT) -> Usage:
        return await self._work(folder, usage(self._root, folder))

    async def space(self) -> Space:
        return await self._jobs.run(self._space)

    def _space(self) -> Space:
        with translated(""):
            return self._root.kernel.space(self._root.handle)

    async def close(self) -> None:
        """Close readers, suspend writers, remove an empty staging area, and end the threads.

        Closing twice is no error.
        """
        if not self._is_closed:
            self._is_closed = True
            await finish_steps(self._close())

    async def _close(self) -> None:
        # Wait for running opens first, so that what they open is closed here
        await self._uses.shut(_closed)
        for reader in list(self._readers):
            await reader.close()
        await self._uploads.suspend_all()
        await self._jobs.close(self._close_handles)

    def _close_handles(self) -> None:
        try:
            self._staging.close()
        except OSError as error:
            _log.warning("the hidden folder cannot be cleared: %s", error.strerror)
        finally:
            self._root.close()


def _closed() -> FtransferError:
    return StoreFailed("the store is closed")


async def _close_root(root: Root) -> None:
    root.close()
