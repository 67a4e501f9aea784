"""One regular file of a local store, open for reading through aiofiles."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from io import FileIO
from typing import TYPE_CHECKING, Any

from ftransfer.errors import FtransferError, SourceChanged, StoreFailed
from ftransfer.storage.faults import shown, translated
from ftransfer.storage.kernel import release_file
from ftransfer.storage.root import entry_of
from ftransfer.storage.threads import Gate, Jobs, finish_steps, through_aiofiles

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncFileIO


class LocalReader:
    """See base.Reader. One file call at a time; reads that follow each other need no seek."""

    fast = True

    def __init__(
        self,
        jobs: Jobs,
        name: str,
        opened: tuple[int, os.stat_result],
        look: Callable[[], os.stat_result],
        ended: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Take over a descriptor.

        Args:
            opened: The descriptor, and what fstat said when it was opened.
            look: Describes what the name leads to now; called in a job, may raise OSError.
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
        self._gate = Gate()

    @property
    def is_closed(self) -> bool:
        return self._file.closed

    async def read(self, offset: int, size: int) -> bytes:
        async with self._lock:
            self._gate.check()
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
        with self._gate:
            await self._jobs.run(self._check)

    def _check(self) -> None:
        """Find out whether the bytes in the open file are those that were there when it was opened.

        A file that was replaced or moved away is still whole in our descriptor. Its ctime then has changed, as by chmod; so a new
        ctime alone counts only if none of these explains it, which is what writing and setting the mtime back looks like.
        """
        with translated(self._name):
            now, then = os.fstat(self._file.fileno()), self._found
            changed = (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns)
            if not changed and now.st_ctime_ns != then.st_ctime_ns:
                changed = _attributes(now) == _attributes(then) and self._is_under_its_name(now)
        if changed:
            raise SourceChanged(f"{shown(self._name)}: changed while it was being sent; get it again", name=self.entry.name)

    def _is_under_its_name(self, now: os.stat_result) -> bool:
        try:
            return os.path.samestat(self._look(), now)
        except OSError:
            return False

    def read_now(self, offset: int, view: memoryview) -> int:
        with self._gate, translated(self._name):
            return os.preadv(self._file.fileno(), [view], offset)

    def fileno(self) -> int:
        self._gate.check()
        return self._file.fileno()

    async def close(self) -> None:
        """Wait for reads that run, in whatever thread, then close. Closing twice is no error."""
        await finish_steps(self._close())

    async def _close(self) -> None:
        async with self._lock:
            await self._gate.shut(self._over)
            if not self._file.closed:
                await self._jobs.run(release_file, self._file)
                await self._ended()

    def _over(self) -> FtransferError:
        return StoreFailed(f"{shown(self._name)}: is not open any more", name=self.entry.name)


def _attributes(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_nlink, found.st_mode, found.st_uid, found.st_gid
