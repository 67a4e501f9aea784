"""One upload into a local store: written in the staging area, then published under its name.

The file goes to another owner only between jobs: each write counts as a use, and a newer writer of
the same upload, or the end of this one, shuts the counter and waits until no use is left. Writes
from the event loop go through aiofiles.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ftransfer.digest import Digest
from ftransfer.errors import (
    FtransferError,
    LocalProtocolError,
    Superseded,
    Truncated,
)
from ftransfer.storage.base import Entry
from ftransfer.storage.local.mutations import KIND_CLASH
from ftransfer.storage.local.partials import AHEAD_BYTES, PartialFile, Partials
from ftransfer.storage.local.parts import WRITE_BYTES, LocalPart, Parts
from ftransfer.storage.local.root import entry_of, times_of
from ftransfer.storage.local.syscalls import release_file
from ftransfer.storage.local.threads import Jobs, UseCounter, through_aiofiles
from ftransfer.storage.oserrors import translated
from ftransfer.system.threads import finish_steps

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncFileIO
from ftransfer.storage.local.target import Target

# The disk begins to write after this many bytes, not only at the end.
_SYNC_BYTES = 16 << 20


class LocalWriter:
    """See base.Writer."""

    supports_threads = True

    def __init__(
        self,
        jobs: Jobs,
        partials: Partials,
        target: Target,
        upload: PartialFile,
        ended: Callable[[LocalWriter], None],
    ) -> None:
        """Take over the upload and the target; `ended` is called once after their release."""
        self.name = target.name
        self.offset = self.resumed_bytes = upload.resumed_bytes
        self.restarted = upload.restarted
        self.replaced = False
        self._jobs = jobs
        self._partials = partials
        self._target = target
        self._upload: PartialFile | None = upload
        self._ended = ended
        self._file = upload.file
        self._async_file: AsyncFileIO | None = None  # when it is written through the loop
        self._descriptor = upload.file.fileno()
        self._position = 0
        self._is_durable = target.root.durable and target.announced.durable
        self._sync_begun = upload.resumed_bytes  # the disk has begun to write up to here
        self._uses = UseCounter()
        self._ending = asyncio.Lock()
        self._parts = Parts(
            jobs,
            target.name,
            self._descriptor,
            target.announced.size,
            upload.resumed_bytes,
            self._uses,
            note=self._note_whole,
            advance=self._advance,
        )

    @property
    def reserved(self) -> int:
        upload = self._upload
        return 0 if upload is None else upload.reserved

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        with self._uses:
            self._refuse_excess(len(data))
            await finish_steps(self._write(data))

    async def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._async_file = file = self._async_file or through_aiofiles(self._file, self._jobs)
        with translated(self.name), memoryview(data).cast("B") as left:
            if self._position != self.offset:
                await file.seek(self.offset)
                self._position = self.offset
            done = 0
            while done < len(left):
                count = await file.write(left[done:])
                done += count
                self._position += count
                self.offset += count

    def write_blocking(self, data: memoryview) -> None:
        with self._uses, translated(self.name):
            self._refuse_excess(len(data))
            while data:
                count = os.pwrite(self._descriptor, data[:WRITE_BYTES], self.offset)
                self.offset += count
                data = data[count:]
            self._begin_sync()
            self._reserve_more()

    def _reserve_more(self) -> None:
        """Reserve more space when half of it is used up."""
        size, upload = self._target.announced.size, self._upload
        if upload is not None and size is not None and 0 < upload.reserved < size:
            if upload.reserved - self.offset < AHEAD_BYTES // 2:
                self._partials.reserve_more(upload, self.offset, size)

    def _begin_sync(self) -> None:
        count = self.offset - self._sync_begun
        if self._is_durable and count >= _SYNC_BYTES:
            self._target.root.kernel.begin_sync(self._descriptor, self._sync_begun, count)
            self._sync_begun = self.offset

    def _refuse_excess(self, count: int) -> None:
        """Refuse more bytes than announced: a peer that never stops must not fill the disk."""
        size = self._target.announced.size
        if size is not None and self.offset + count > size:
            message = f"{size} bytes were announced and more came"
            raise Truncated.about(self.name, message, expected=size, actual=self.offset + count)

    async def read(self, offset: int, size: int) -> bytes:
        with self._uses:
            return await self._jobs.run(self._read, offset, min(size, self.offset - offset))

    def _read(self, offset: int, size: int) -> bytes:
        # Not through the aiofiles object, whose position belongs to a write that may run meanwhile.
        with translated(self.name):
            return os.pread(self._descriptor, size, offset) if size > 0 else b""

    def read_blocking(self, offset: int, view: memoryview) -> int:
        with self._uses, translated(self.name):
            size = min(len(view), self.offset - offset)
            return os.preadv(self._descriptor, [view[:size]], offset) if size > 0 else 0

    @property
    def takes_parts(self) -> bool:
        return self._target.announced.size is not None

    async def open_part(self, offset: int, length: int) -> LocalPart:
        return await finish_steps(self._parts.open(offset, length), LocalPart.drop)

    def _note_whole(self, whole: int) -> None:
        upload = self._upload
        assert upload is not None  # this is a use
        with translated(self.name):
            self._partials.note_whole(upload, whole)
            self._begin_sync()

    def _advance(self, whole: int) -> None:
        self.offset = whole

    async def _shut(
        self, why: Callable[[], FtransferError], why_part: Callable[[], FtransferError]
    ) -> None:
        """Refuse further writes, here and in parts, and wait for those that run."""
        await self._uses.shut(why)
        await self._parts.shut(why_part)

    async def commit(self, digest: Digest) -> Entry:
        """Publish as base.Writer.commit.

        If it raises before the rename, the writer can still be suspended or aborted.
        """
        return await finish_steps(self._commit(digest))

    async def _commit(self, digest: Digest) -> Entry:
        async with self._ending:
            self._uses.check()
            announced = self._target.announced
            if announced.size is not None and announced.size != self.offset:
                message = f"{announced.size} bytes were announced and {self.offset} came"
                raise Truncated.about(
                    self.name, message, expected=announced.size, actual=self.offset
                )
            await self._shut(self._over, self._parts.over)
            upload = self._upload
            assert upload is not None  # it was not shut
            try:
                return await self._jobs.run(self._publish, upload)
            finally:
                if upload.file.closed:
                    self._end()

    def _publish(self, upload: PartialFile) -> Entry:
        target, root, handle = self._target, self._target.root, upload.file.fileno()
        with translated(self.name, KIND_CLASH):
            os.ftruncate(handle, self.offset)
            os.fchmod(handle, root.mode_for(target.announced.mode))
            if target.announced.mtime_ns is not None:
                os.utime(handle, ns=times_of(target.announced.mtime_ns))
            if self._is_durable:
                root.kernel.sync_file(handle)
            with root.lock_of(target.about, self.name.last):
                self.replaced = target.refuse()
                move = root.kernel.rename_new if target.announced.if_absent else root.kernel.rename
                move(upload.data, self.name.last, upload.folder, target.folder)
            # From here on the file belongs to the share; nothing may write to it, whatever fails.
            try:
                entry = entry_of(str(self.name), os.fstat(handle))
                if target.announced.durable:
                    root.sync_folder(target.folder)
            finally:
                release_file(upload.file)
                target.close()
            # A record without data means nothing; the next start collects it
            with suppress(OSError):
                self._partials.forget(upload)
            return entry

    async def suspend(self, *, discard_tail: int = 0) -> None:
        await finish_steps(
            self._finish(
                lambda upload: self._partials.keep(
                    upload, max(self.resumed_bytes, self.offset - discard_tail)
                )
            )
        )

    async def abort(self) -> None:
        await finish_steps(self._finish(self._partials.drop))

    async def _finish(self, release_it: Callable[[PartialFile], None]) -> None:
        async with self._ending:
            upload = self._upload
            if upload is None:
                return
            await self._shut(self._over, self._parts.over)
            try:
                await self._jobs.run(self._release_it, upload, release_it)
            finally:
                self._end()

    def _release_it(self, upload: PartialFile, release_it: Callable[[PartialFile], None]) -> None:
        try:
            with translated(self.name):
                release_it(upload)
        finally:
            self._target.close()

    async def surrender(self) -> PartialFile | None:
        """Return the file for a newer writer, once no job uses it; None if this one has ended.

        Must not be cancelled.
        """
        async with self._ending:
            upload = self._upload
            if upload is None:
                return None
            await self._shut(self._superseded, self._superseded)
            await self._jobs.run(self._let_go, upload)
            self._end()
            return upload

    def _let_go(self, upload: PartialFile) -> None:
        with translated(self.name):
            self._partials.cut(upload, self.offset)
        upload.resumed_bytes, upload.restarted = self.offset, False
        self._target.close()

    def _end(self) -> None:
        self._upload = None
        self._ended(self)

    def _superseded(self) -> FtransferError:
        return Superseded.about(self.name, "a newer upload of the same file has taken over")

    def _over(self) -> FtransferError:
        return LocalProtocolError.about(self.name, "this upload has ended")
