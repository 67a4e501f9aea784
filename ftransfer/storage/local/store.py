"""The store over a folder on disk: what a share is, most of the time.

Everything below one open handle, every operation one job in the store's own threads, content
through aiofiles. This file is the view: it hands jobs in and keeps account of what is open. What
the jobs do stands in the files beside it, one idea in each.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import logging
import os
import stat
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from ftransfer.errors import (
    FtransferError,
    NotAFile,
    ShareError,
    StoreFailed,
)
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
from ftransfer.storage.local import mutations
from ftransfer.storage.local.partials import Partials, Upload, key_of
from ftransfer.storage.local.reader import HeldReader, LocalReader, Opened, read_whole
from ftransfer.storage.local.root import (
    READ_FLAGS,
    Resolver,
    Root,
    entry_of,
    refuse_special,
    times_of,
)
from ftransfer.storage.local.staging import HiddenPlace
from ftransfer.storage.local.syscalls import Kernel, release
from ftransfer.storage.local.threads import Jobs, UseCounter, Work, finish, finish_steps, run_whole
from ftransfer.storage.local.walk import Listing, usage
from ftransfer.storage.local.writer import LocalWriter, Target
from ftransfer.storage.oserrors import IS_FOLDER, translated
from ftransfer.storage.views import refuse_hidden_below

if TYPE_CHECKING:
    # For whole trees; a single file does not pay for them
    from ftransfer.storage.local.bulk_read import (
        Sweep,
    )
    from ftransfer.storage.local.links import LinksBelow
    from ftransfer.storage.small_files import PackItem

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class LocalStore:
    """See base.Store. Made by `open`; must be closed.

    A link that stays inside is followed by everything that reads, and replaced, moved or removed
    itself by everything that writes.
    """

    def __init__(self, root: Root, jobs: Jobs) -> None:
        """Use `open` instead."""
        self.durable = root.durable
        self._root = root
        self._jobs = jobs
        self._hidden = HiddenPlace(root.handle, root.confined.hidden)
        self._partials = Partials(self._hidden, root.kernel)
        self._readers: set[LocalReader] = set()
        self._writers: set[LocalWriter] = set()
        self._writer_of_key: dict[str, LocalWriter] = {}
        self._lock_of_key: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._gate = UseCounter()  # of those who open readers and writers
        self._is_closed = False
        self._owner = ""  # for whom long work is done

    @classmethod
    async def open(
        cls,
        root: str | os.PathLike[str],
        *,
        durable: bool = True,
        resolver: Resolver = "auto",
        kernel: Kernel | None = None,
    ) -> LocalStore:
        """Open a folder, and remove what killed processes left in its hidden place.

        Args:
            durable: Whether a commit survives a power cut. False for what can be had again: it
                saves the wait for the disk.
            resolver: How names are kept inside: "openat2" by the kernel, "walk" handle by handle,
                "auto" the first that works.
            kernel: The operating system, for tests that let it fail.

        Raises:
            NotFound, NotAFolder, Forbidden, StoreFailed: The message has the path as it was given.
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
            self._hidden.collect()
            self._partials.collect()
        except (OSError, StoreFailed) as error:
            # A share that is only read needs no hidden place; a write will say what is wrong with
            # it.
            _log.warning(
                "what earlier transfers left cannot be cleared away: %s",
                getattr(error, "strerror", None) or error,
            )

    async def is_in_place(self) -> bool:
        """Whether the path that it was opened by still leads to the folder. While that is open, no
        other can be taken for it.
        """
        return await self._jobs.run(self._root.is_in_place)

    def without_links(self) -> LocalStore:
        return self._with(self._root.without_links())

    def hiding(self, hides: Hides) -> LocalStore:
        return self._with(self._root.hiding(hides))

    def _with(self, root: Root) -> LocalStore:
        view = copy.copy(self)  # the same threads, partials and account of what is open
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
            lambda: Listing(
                self._root,
                folder,
                Entry,
                recursive=recursive,
                links=links,
                others=others,
                within=within,
            ),
        )

    def lines(
        self, folder: SafeName, *, links: bool = False, others: bool = False
    ) -> AsyncGenerator[Sequence[str], None]:
        return self._walk(
            folder,
            lambda: Listing(
                self._root,
                folder,
                line_of,
                recursive=True,
                links=links,
                others=others,
                relative=True,
            ),
        )

    async def _walk(
        self, folder: SafeName, open_it: Callable[[], Listing[_T]]
    ) -> AsyncGenerator[Sequence[_T], None]:
        def begin() -> Listing[_T]:
            with translated(folder):
                return open_it()

        def go_on() -> Sequence[_T]:
            with translated(folder):
                return listing.next_batch()

        listing = await finish(self._jobs.start(begin), self._close_walk)
        try:
            while not listing.is_done:
                batch = await self._jobs.step(self._owner, go_on)
                if batch:
                    yield batch
        finally:
            await finish_steps(self._close_walk(listing))

    async def open_read(self, name: SafeName) -> LocalReader:
        reader = await self.open_whole(name, 0)
        assert isinstance(reader, LocalReader)  # nothing is read at once
        return reader

    async def open_whole(self, name: SafeName, max_bytes: int) -> LocalReader | HeldReader:
        async def ended() -> None:
            self._readers.discard(reader)

        async def drop(opened: Opened | HeldReader) -> None:
            if not isinstance(opened, HeldReader):
                await self._jobs.run(release, opened[0])

        with self._gate:
            opened = await finish(self._jobs.start(self._open_file, name, max_bytes), drop)
            if isinstance(opened, HeldReader):
                return opened
            reader = LocalReader(
                self._jobs, str(name), opened, lambda: self._root.stat(name), ended
            )
            self._readers.add(reader)
            return reader

    def _open_file(self, name: SafeName, max_bytes: int) -> Opened | HeldReader:
        with translated(name):
            handle, found = self._root.open_served(name)
        opened = _refuse_folder(handle, found, str(name))
        if not 0 < found.st_size <= max_bytes:
            return opened
        try:
            return read_whole(opened, str(name), lambda: self._root.stat(name))
        finally:
            release(handle)

    @staticmethod
    async def open_file(path: str | os.PathLike[str]) -> LocalReader:
        """Open one file of the user's own, wherever it is, to be sent; links are followed. Whoever
        opened it closes it.

        The name of its entry is the path as it was given.

        Raises:
            NotFound, NotAFile, Forbidden, StoreFailed: The message has the path.
        """
        text = os.fspath(path)

        def open_it() -> Opened:
            with translated(text):
                refuse_special(os.stat(path), text)
                handle = os.open(path, READ_FLAGS)
                return _refuse_folder(handle, os.fstat(handle), text)

        async def steps() -> LocalReader:
            jobs = Jobs()
            try:
                return LocalReader(
                    jobs, text, await jobs.run(open_it), lambda: os.stat(path), jobs.close
                )
            except BaseException:
                await jobs.close()
                raise

        return await finish_steps(steps(), LocalReader.close)

    @staticmethod
    def set_folder(path: str, *, mtime_ns: int, mode: int) -> None:
        """Set the time and mode of a folder of the user's own, as if it were in a store. Blocks;
        raises OSError.
        """
        os.chmod(path, mutations.folder_mode(mode, os.stat(path).st_mode))
        os.utime(path, ns=times_of(mtime_ns))

    async def open_write(self, name: SafeName, announced: UploadSpec) -> LocalWriter:
        with self._gate:
            return await finish_steps(self._open_write(name, announced), LocalWriter.suspend)

    async def _open_write(self, name: SafeName, announced: UploadSpec) -> LocalWriter:
        """Not to be cancelled: between the old writer and the new one, nobody else closes the
        file.
        """
        key = key_of(str(name), announced)
        lock = self._lock_of_key.setdefault(key, asyncio.Lock()) if key else asyncio.Lock()
        async with lock:
            older = self._writer_of_key.get(key)
            if older is None:
                target, upload = await self._jobs.run(self._aim_and_begin, name, announced)
            else:
                target = await self._jobs.run(self._aim, name, announced)
                try:
                    upload = await self._jobs.run(
                        self._begin, name, announced, await older.surrender()
                    )
                except BaseException:
                    await self._jobs.run(target.close)
                    raise
            writer = LocalWriter(self._jobs, self._partials, target, upload, self._forget_writer)
            self._writers.add(writer)
            if upload.key:
                self._writer_of_key[upload.key] = writer
            return writer

    def _aim_and_begin(self, name: SafeName, announced: UploadSpec) -> tuple[Target, Upload]:
        target = self._aim(name, announced)
        try:
            return target, self._begin(name, announced, None)
        except BaseException:
            target.close()
            raise

    def _aim(self, name: SafeName, announced: UploadSpec) -> Target:
        """Open the folder that an upload goes to, and refuse at once what could not be published at
        the end.
        """
        if name.is_root:
            raise NotAFile("/: is a folder")
        with translated(name):
            folder = self._root.open_folder(name.parent)
            try:
                target = Target(self._root, name, announced, folder, os.fstat(folder))
                target.refuse()
                if os.access in os.supports_effective_ids and not os.access(
                    ".", os.W_OK, dir_fd=folder, effective_ids=True
                ):
                    _raise_if_read_only(folder)
                    raise OSError(errno.EACCES, os.strerror(errno.EACCES))
                _refuse_other_disk(target)
            except BaseException:
                release(folder)
                raise
        return target

    def _begin(self, name: SafeName, announced: UploadSpec, taken: Upload | None) -> Upload:
        with translated(name):
            return self._partials.begin(str(name), announced, taken)

    def _forget_writer(self, writer: LocalWriter) -> None:
        self._writers.discard(writer)
        for key, live in list(self._writer_of_key.items()):
            if live is writer:
                del self._writer_of_key[key]

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
        """Do long work in steps. An OSError is about the name."""

        def translating() -> Work[_T]:
            with translated(name):
                return (yield from work)

        return await self._jobs.work(self._owner, translating())

    async def read_small(self, names: Sequence[SafeName], max_bytes: int) -> Sequence[PackItem]:
        from ftransfer.storage.local.bulk import read_small

        return await self._jobs.run(read_small, self._root, names, max_bytes)

    async def read_tree(
        self, folder: SafeName, max_bytes: int, max_items: int, *, others: bool = False
    ) -> AsyncGenerator[Sequence[PackItem], None]:
        from ftransfer.storage.local.bulk_read import Sweep

        def begin() -> Sweep:
            with translated(folder):
                return Sweep(self._root, folder, max_bytes, others=others)

        def go_on() -> Sequence[PackItem]:
            with translated(folder):
                return sweep.next_group(max_items)

        sweep = await finish(self._jobs.start(begin), self._close_walk)
        try:
            while not sweep.is_done:
                group = await self._jobs.step(self._owner, go_on)
                if group:
                    yield group
        finally:
            await finish_steps(self._close_walk(sweep))

    async def _close_walk(self, walk: Listing[Any] | Sweep | LinksBelow) -> None:
        try:
            await self._jobs.run(walk.close)
        except (
            StoreFailed
        ):  # the store was closed meanwhile, and has no thread any more to do it in
            walk.close()

    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
        from ftransfer.storage.local.bulk import write_small

        return await self._jobs.run(write_small, self._root, self._hidden, files)

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
                await self.remove(old, recursive=True)  # what had the name
                return
        look = await self._rename(old, new, replace=replace, seen=None)
        while look is not None:
            try:
                while await self._jobs.step(self._owner, look.go_on):
                    pass
                after = await self._rename(old, new, replace=replace, seen=look)
            finally:
                await finish_steps(self._close_walk(look))
            look = after

    def _whole(self) -> LocalStore:
        """Return the store from which nothing is hidden."""
        root = copy.copy(self._root)
        root.hides = None
        return self._with(root)

    async def _rename(
        self, old: SafeName, new: SafeName, *, replace: bool, seen: LinksBelow | None
    ) -> LinksBelow | None:
        async def drop(look: LinksBelow | None) -> None:
            if look is not None:
                await self._close_walk(look)

        return await finish(
            self._jobs.start(mutations.rename, self._root, old, new, replace=replace, seen=seen),
            drop,
        )

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        work = mutations.remove(self._root, name, recursive=recursive)
        return await (self._work(name, work) if recursive else self._jobs.run(run_whole, work))

    async def usage(self, folder: SafeName = ROOT) -> Usage:
        return await self._work(folder, usage(self._root, folder))

    async def space(self) -> Space:
        return await self._jobs.run(self._space)

    def _space(self) -> Space:
        with translated(""):
            return self._root.kernel.space(self._root.handle)

    async def close(self) -> None:
        """Close readers, keep writers, remove the hidden place if it is empty, and end the threads.
        Closing twice is no error.
        """
        if not self._is_closed:
            self._is_closed = True
            await finish_steps(self._close())

    async def _close(self) -> None:
        # What is being opened is opened first, so that it is closed here
        await self._gate.shut(_closed)
        for reader in list(self._readers):
            await reader.close()
        for writer in list(self._writers):
            try:
                await writer.suspend()
            except ShareError as error:
                _log.warning("an upload could not be kept: %s", error)
        await self._jobs.close(self._close_handles)

    def _close_handles(self) -> None:
        try:
            self._hidden.close()
        except OSError as error:
            _log.warning("the hidden folder cannot be cleared: %s", error.strerror)
        finally:
            self._root.close()


def _refuse_other_disk(target: Target) -> None:
    """Refuse a folder on another file system now, not after the upload: nothing can be renamed from
    the hidden place to there.
    """
    if target.about.st_dev != os.fstat(target.root.handle).st_dev:
        message = (
            "lies on another file system than the root of the share; share that folder by itself"
        )
        raise StoreFailed.about(target.name, message)


def _raise_if_read_only(folder: int) -> None:
    if os.fstatvfs(folder).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def _refuse_folder(handle: int, found: os.stat_result, name: str) -> Opened:
    """Give the same back if it is an open regular file; else close it. Raises NotAFile."""
    if not stat.S_ISREG(found.st_mode):
        release(handle)
        raise NotAFile.about(
            name, f"{IS_FOLDER if stat.S_ISDIR(found.st_mode) else 'is not a file'}"
        )
    return handle, found


def _closed() -> FtransferError:
    return StoreFailed("the store is closed")


async def _close_root(root: Root) -> None:
    root.close()
