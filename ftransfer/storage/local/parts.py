"""Ranges of an upload, written independently and in parallel; each counts when it is complete.

Two parts may write the same range, since the sender may retry a slow one over another connection:
the first to complete wins, and the other is stopped before its bytes count. So bytes in place do
not change, and can be hashed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from ftransfer.errors import Aborted, FtransferError, OffsetConflict, Truncated
from ftransfer.names import SafeName
from ftransfer.storage.local.extents import Extents
from ftransfer.storage.local.threads import Jobs, UseCounter
from ftransfer.storage.oserrors import translated
from ftransfer.system.threads import finish_steps

# The size of one write call from a thread. For a larger one a file system on a disk takes memory in
# larger pieces (folios); in a virtual machine these are the ones it had returned to its host: 1 MiB
# at a time cost up to six times as much on ext4. On a tmpfs all sizes cost the same.
WRITE_BYTES = 64 * 1024


# The record of an upload in parts is rewritten after this many bytes: kill -9 loses up to that much
# and all bytes after the first gap.
_NOTED_BYTES = 8 << 20
# Limits memory, which grows with the number of gaps.
_MAX_GAPS = 4096


class LocalPart:
    """See capabilities.Part. Made by LocalWriter.open_part."""

    supports_threads = True

    def __init__(
        self,
        jobs: Jobs,
        name: SafeName,
        descriptor: int,
        offset: int,
        length: int,
        complete: Callable[[LocalPart], Awaitable[None]],
        drop: Callable[[LocalPart], Awaitable[None]],
    ) -> None:
        self.offset = self.start = offset
        self.end = offset + length
        self._jobs = jobs
        self._name = name
        self._descriptor = descriptor
        self._uses = UseCounter()
        self._complete = complete
        self._drop = drop

    def write_blocking(self, data: memoryview) -> None:
        with self._uses, translated(self._name):
            if self.offset + len(data) > self.end:
                raise self._wrong_length(self.offset + len(data))
            while data:
                count = os.pwrite(self._descriptor, data[:WRITE_BYTES], self.offset)
                self.offset += count
                data = data[count:]

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        await self._jobs.run(self.write_blocking, memoryview(data).cast("B"))

    def read_blocking(self, offset: int, view: memoryview) -> int:
        with self._uses, translated(self._name):
            size = min(len(view), self.offset - offset)
            return os.preadv(self._descriptor, [view[:size]], offset) if size > 0 else 0

    async def read(self, offset: int, size: int) -> bytes:
        data = bytearray(size)
        return bytes(data[: await self._jobs.run(self.read_blocking, offset, memoryview(data))])

    async def complete(self) -> None:
        await self._complete(self)

    async def drop(self) -> None:
        await self._drop(self)

    # For the writer that owns it.

    def check(self) -> None:
        """Raise if it is shut or not full."""
        self._uses.check()
        if self.offset != self.end:
            raise self._wrong_length(self.offset)

    async def shut(self, why: Callable[[], FtransferError]) -> None:
        """Refuse further writes, and wait for those that run."""
        await self._uses.shut(why)

    def overlaps(self, other: LocalPart) -> bool:
        return self.start < other.end and other.start < self.end

    def _wrong_length(self, came: int) -> Truncated:
        expected, actual = self.end - self.start, came - self.start
        message = f"a part of {expected} bytes was announced, and {actual} came"
        return Truncated.about(self._name, message, expected=expected, actual=actual)


class Parts:
    """The ranges of one upload that are being written, and those in place.

    Args:
        size: Of the whole file, as announced.
        whole: The offset of the first gap.
        uses: Of the writer; it is in use while a part is opened or completed.
        note: Records the offset of the first gap; blocks.
        advance: Called with that offset whenever a part is complete.
    """

    def __init__(
        self,
        jobs: Jobs,
        name: SafeName,
        descriptor: int,
        size: int | None,
        whole: int,
        uses: UseCounter,
        *,
        note: Callable[[int], None],
        advance: Callable[[int], None],
    ) -> None:
        self._jobs = jobs
        self._name = name
        self._descriptor = descriptor
        self._size = size
        self._uses = uses
        self._note = note
        self._advance = advance
        self._extents = Extents(whole)
        self._open: set[LocalPart] = set()
        self._noting = asyncio.Lock()
        self._noted: int | None = None  # the first gap by the record, once there are parts

    async def open(self, offset: int, length: int) -> LocalPart:
        """Begin to write a range. Must not be cancelled. See capabilities.PartWriter.open_part."""
        with self._uses:
            self._refuse_range(offset, length)
            if self._noted is None:
                await self._note_whole(0)
            self._uses.check()
            part = LocalPart(
                self._jobs,
                self._name,
                self._descriptor,
                offset,
                length,
                self._complete,
                self._drop,
            )
            self._open.add(part)
            return part

    def _refuse_range(self, offset: int, length: int) -> None:
        if self._size is None or not 0 < length <= self._size - offset:
            raise self._conflict(f"there are no {length} bytes at {offset}")
        if self._extents.overlaps(offset, offset + length):
            raise self._conflict(f"of the {length} bytes at {offset} some are in place already")
        if self._extents.gaps >= _MAX_GAPS:
            raise self._conflict(
                "too many parts are ahead of their turn; send those that are missing first"
            )

    async def _complete(self, part: LocalPart) -> None:
        await finish_steps(self._place(part))

    async def _place(self, part: LocalPart) -> None:
        with self._uses:
            part.check()
            self._open.discard(part)
            await part.shut(self._placed)
            while others := [other for other in self._open if other.overlaps(part)]:
                self._open.difference_update(others)
                for other in others:
                    await other.shut(self._placed)
            if self._extents.overlaps(part.start, part.end):
                raise self._placed()
            self._extents.add(part.start, part.end)
            self._advance(self._extents.whole)
            await self._note_whole(_NOTED_BYTES)

    async def _note_whole(self, least: int) -> None:
        """Record the offset of the first gap if it has grown by `least`.

        The size of the file does not show it.
        """
        async with self._noting:
            whole = self._extents.whole
            if self._noted is None or whole - self._noted >= least > 0:
                await self._jobs.run(self._note, whole)
                self._noted = whole

    async def _drop(self, part: LocalPart) -> None:
        self._open.discard(part)
        await part.shut(self.over)

    async def shut(self, why: Callable[[], FtransferError]) -> None:
        """Refuse further writes in all parts, and wait for those that run.

        The writer must be shut before.
        """
        while self._open:
            await self._open.pop().shut(why)

    def _conflict(self, what: str) -> OffsetConflict:
        return OffsetConflict.about(self._name, what)

    def _placed(self) -> FtransferError:
        return self._conflict("the same part has come over another connection")

    def over(self) -> FtransferError:
        """Return the error for a part whose upload has ended."""
        return Aborted.about(self._name, "the upload that this is a part of has ended")
