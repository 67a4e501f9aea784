"""A range of an upload that is written on its own, beside others; it counts when it is complete.

Two parts may be at the same range, since the sender may try a slow one again elsewhere: the
first that is complete is taken, and before it is, the other can write no more. So what is in place
stays as it is, and can be hashed.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from ftransfer.errors import FtransferError, Truncated
from ftransfer.names import SafeName
from ftransfer.storage.local.threads import Jobs, UseCounter
from ftransfer.storage.oserrors import translated

# One write call from a thread. For a larger one a file system on a disk takes memory in larger
# pieces (folios), which in a virtual machine are those that it had returned to its host: 1 MiB at
# a time cost up to six times as much on ext4. On a tmpfs all sizes cost the same.
WRITE_BYTES = 64 * 1024


class LocalPart:
    """See base.Part. Made by LocalWriter.open_part."""

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

    # For the writer that it is a part of.

    def check(self) -> None:
        """Raise if it may write no more, or has not come to its end."""
        self._uses.check()
        if self.offset != self.end:
            raise self._wrong_length(self.offset)

    async def shut(self, why: Callable[[], FtransferError]) -> None:
        """Let nothing more be written, and wait until nothing is."""
        await self._uses.shut(why)

    def overlaps(self, other: LocalPart) -> bool:
        return self.start < other.end and other.start < self.end

    def _wrong_length(self, came: int) -> Truncated:
        expected, actual = self.end - self.start, came - self.start
        message = f"a part of {expected} bytes was announced, and {actual} came"
        return Truncated.about(self._name, message, expected=expected, actual=actual)
