"""One regular file of a local store, read through aiofiles or whole in the job that opens it."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Coroutine
from io import FileIO
from typing import TYPE_CHECKING, Any

from ftransfer.errors import (
    FtransferError,
    NotAFile,
    SourceChanged,
    StoreFailed,
)
from ftransfer.names import SafeName
from ftransfer.storage.base import Entry
from ftransfer.storage.local.root import Root, entry_of
from ftransfer.storage.local.syscalls import release, release_file
from ftransfer.storage.local.threads import Jobs, UseCounter, through_aiofiles
from ftransfer.storage.oserrors import IS_FOLDER, translated
from ftransfer.system.threads import finish_steps

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncFileIO


Opened = tuple[int, os.stat_result]  # a descriptor, and what fstat returned when it was opened


def refuse_folder(handle: int, found: os.stat_result, name: str) -> Opened:
    """Return handle and stat of a regular file; close any other and raise NotAFile."""
    if not stat.S_ISREG(found.st_mode):
        release(handle)
        raise NotAFile.about(
            name, f"{IS_FOLDER if stat.S_ISDIR(found.st_mode) else 'is not a file'}"
        )
    return handle, found


class LocalReader:
    """See base.Reader. One file call at a time; consecutive reads need no seek."""

    supports_threads = True

    def __init__(
        self,
        jobs: Jobs,
        name: str,
        opened: Opened,
        look: Callable[[], os.stat_result],
        ended: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Take over a descriptor.

        Args:
            opened: The descriptor, and what fstat returned when it was opened.
            look: Returns the stat of what the name leads to now; called in a job, may raise
                OSError.
            ended: Awaited after closing.
        """
        handle, self._found = opened
        self.entry = entry_of(name, self._found)
        self._jobs = jobs
        self._name = name
        self._look = look
        self._ended = ended
        self._file = FileIO(handle, "r")
        self._async_file: AsyncFileIO | None = None  # when it is read through the loop
        self._position = 0
        self._lock = asyncio.Lock()
        self._uses = UseCounter()

    @property
    def is_closed(self) -> bool:
        return self._file.closed

    async def read(self, offset: int, size: int) -> bytes:
        async with self._lock:
            self._uses.check()
            return await finish_steps(self._read(offset, size))

    async def _read(self, offset: int, size: int) -> bytes:
        self._async_file = file = self._async_file or through_aiofiles(self._file, self._jobs)
        with translated(self._name):
            if self._position != offset:
                await file.seek(offset)
                self._position = offset
            data = await file.read(size)
        self._position += len(data)
        return data

    async def check(self) -> None:
        with self._uses:
            await self._jobs.run(self._check)

    def _check(self) -> None:
        _check_unchanged((self._file.fileno(), self._found), self._name, self._look)

    def read_blocking(self, offset: int, view: memoryview) -> int:
        with self._uses, translated(self._name):
            return os.preadv(self._file.fileno(), [view], offset)

    def fileno(self) -> int:
        self._uses.check()
        return self._file.fileno()

    async def close(self) -> None:
        """Wait for running reads in all threads, then close. Closing twice is no error."""
        await finish_steps(self._close())

    async def _close(self) -> None:
        async with self._lock:
            await self._uses.shut(self._over)
            if not self._file.closed:
                await self._jobs.run(release_file, self._file)
                await self._ended()

    def _over(self) -> FtransferError:
        return StoreFailed.about(self._name, "is not open any more")


class HeldReader:
    """A small file, read when opened. See base.Reader; it never waits and keeps nothing open."""

    def __init__(self, entry: Entry, data: bytes) -> None:
        self.entry = entry
        self._data = data

    async def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]

    async def check(self) -> None: ...

    async def close(self) -> None: ...


def open_served(root: Root, name: SafeName, max_bytes: int) -> Opened | HeldReader:
    """Open a file of a share; read it at once if it has at most `max_bytes`. Blocks.

    Raises:
        NotFound, NotAFile, Forbidden, StoreFailed, SourceChanged.
    """
    with translated(name):
        handle, found = root.open_served(name)
    opened = refuse_folder(handle, found, str(name))
    if not 0 < found.st_size <= max_bytes:
        return opened
    try:
        return _read_whole(opened, str(name), lambda: root.stat(name))
    finally:
        release(handle)


def _read_whole(opened: Opened, name: str, look: Callable[[], os.stat_result]) -> HeldReader:
    """Read a file that has just been opened. Blocks; arguments as for LocalReader.

    Raises:
        StoreFailed, SourceChanged.
    """
    handle, found = opened
    data = b""
    with translated(name):
        # Some network file systems read short.
        while more := os.read(handle, found.st_size - len(data)):
            data += more
        try:
            _check_unchanged(opened, name, look)
        except SourceChanged:
            has_only_grown = (
                os.fstat(handle).st_size > found.st_size and os.pread(handle, len(data), 0) == data
            )
            if not has_only_grown:  # as a log does
                raise
    return HeldReader(entry_of(name, found), data)


def _check_unchanged(opened: Opened, name: str, look: Callable[[], os.stat_result]) -> None:
    """Raise SourceChanged if the bytes of the open file have changed since it was opened.

    A file that was replaced or moved is still whole through our descriptor. That changes its ctime,
    and so does chmod. So a new ctime alone counts only if none of these explains it; then someone
    may have written to the file and set its mtime back.
    """
    handle, then = opened
    with translated(name):
        now = os.fstat(handle)
        changed = (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns)
        if not changed and now.st_ctime_ns != then.st_ctime_ns:
            changed = _attributes(now) == _attributes(then) and _is_under_its_name(now, look)
    if changed:
        raise SourceChanged.about(name, "changed while it was being sent; get it again")


def _is_under_its_name(now: os.stat_result, look: Callable[[], os.stat_result]) -> bool:
    try:
        return os.path.samestat(look(), now)
    except OSError:
        return False


def _attributes(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_nlink, found.st_mode, found.st_uid, found.st_gid
