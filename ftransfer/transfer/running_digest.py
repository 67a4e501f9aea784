"""The digest of a file during its transfer: fed as bytes pass, or read back where it is behind.

So a resumed transfer sends or receives new bytes at once: the existing part is hashed at the same
time, in a separate job, until it has caught up.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Protocol

from ftransfer.digest import Digest, Hasher
from ftransfer.errors import SourceChanged
from ftransfer.names import SafeName
from ftransfer.storage.base import Reader, Store
from ftransfer.storage.capabilities import ThreadedFile, supports_threads
from ftransfer.system.threads import io_pool, run_job, scratch, stop_task
from ftransfer.system.turns import TimeSlice

_BLOCK = 1 << 20
STEP_BYTES = 64 << 20  # the most that one job hashes; less if that takes long


class Content(Protocol):
    """Content that can be read back: a storage Reader, Writer or Part."""

    async def read(self, offset: int, size: int) -> bytes: ...


class RunningDigest:
    """The digest of `content` from byte `start` on.

    `feed` takes bytes as they pass, in any thread, and ignores those that are already hashed, or
    that do not follow directly. `follow` starts a task that hashes what was missed, up to the limit
    set by `allow`. `finish` completes both. Always close it.
    """

    def __init__(self, content: Content, start: int = 0) -> None:
        self._content = content
        self._hasher = Hasher()
        self._start = start
        self._lock = threading.Lock()
        self._limit = start
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._finishing = False

    @property
    def position(self) -> int:
        """Return the offset in the content up to which it is hashed."""
        return self._start + self._hasher.size

    def feed(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Hash bytes at `offset` if they are the next ones; else they are read back later."""
        if self._lock.acquire(blocking=False):
            try:
                known = self.position - offset
                if 0 <= known < len(data):
                    self._hasher.update(memoryview(data)[known:])
            finally:
                self._lock.release()

    def allow(self, limit: int) -> None:
        """Raise the offset up to which the content is in place."""
        if limit > self._limit:
            self._limit = limit
            self._more.set()

    def follow(self) -> None:
        """Start a task that hashes what is in place."""
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await self._catch_up(self._limit)
            if self._finishing and self.position >= self._limit:
                return
            self._more.clear()
            if self.position >= self._limit:
                await self._more.wait()

    async def finish(self, end: int) -> Digest:
        """Hash up to `end` and return the digest.

        Raises:
            SourceChanged: The content ends before `end`.
        """
        self._finishing = True
        self.allow(end)
        self._more.set()
        if self._task is not None:
            await self._task
        await self._catch_up(end)
        return self._hasher.digest()

    async def close(self) -> None:
        """Stop the task; nothing reads the content afterwards."""
        self._stopped = True
        if self._task is not None:
            await stop_task(self._task)  # `finish` has raised its error

    async def step(self, end: int) -> None:
        """Hash a piece of what is missing up to `end`, in one job.

        Raises:
            SourceChanged: There is no more content.
        """
        content = self._content
        if supports_threads(content):
            is_there = await run_job(
                io_pool(), lambda: self._read_back(content, end), self._stop_job
            )
        else:
            is_there = await self._step(end)
        if not is_there:
            raise SourceChanged("the content became shorter while it was being hashed")

    async def _catch_up(self, end: int) -> None:
        while self.position < end and not self._stopped:
            await self.step(end)

    def _stop_job(self) -> None:
        self._stopped = True

    def _read_back(self, content: ThreadedFile, end: int) -> bool:
        """Hash up to STEP_BYTES; return whether there was any content."""
        time_slice = TimeSlice()
        with self._lock:
            view = scratch(_BLOCK)
            stop_at = min(end, self.position + STEP_BYTES)
            while self.position < stop_at and not (self._stopped or time_slice.is_over):
                count = content.read_blocking(
                    self.position, view[: min(_BLOCK, stop_at - self.position)]
                )
                if count == 0:
                    return False
                self._hasher.update(view[:count])
        return True

    async def _step(self, end: int) -> bool:
        position = self.position
        data = await self._content.read(position, min(_BLOCK, end - position))
        self.feed(position, data)
        return bool(data)


async def confirm(reader: Reader, start: int, end: int, digest: Digest) -> None:
    """Verify that a file still holds what was read from it; it may have grown, as a log does.

    Args:
        start, end: The range that was read, in bytes.
        digest: Of the bytes that were read.

    Raises:
        SourceChanged: The range has other content now.
    """
    try:
        await reader.check()
    except SourceChanged:
        again = RunningDigest(reader, start)
        try:
            if await again.finish(end) != digest:
                raise
        finally:
            await again.close()


async def digest_in_store(store: Store, name: SafeName) -> Digest:
    """Return the digest of a file in a store.

    Raises as Store.open_read, and SourceChanged if it changes meanwhile.
    """
    reader = await store.open_read(name)
    digest = RunningDigest(reader)
    try:
        text = await digest.finish(reader.entry.size)
        await reader.check()
        return text
    finally:
        await digest.close()
        await reader.close()
