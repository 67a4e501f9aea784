"""One upload into a local store: content in the hidden place through aiofiles, then published under its name.

The file changes hands between jobs only: whoever writes stands in the gate, and a newer writer of the same upload, or the end of
this one, shuts the gate and waits until nobody is inside.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ftransfer.digest import Digest, Hasher
from ftransfer.errors import AlreadyThere, ChangedMeanwhile, FtransferError, LocalProtocolError, NotAFile, Superseded, Truncated
from ftransfer.names import SafeName
from ftransfer.storage.base import Announcement, Entry
from ftransfer.storage.changes import KIND_CLASH, refuse_special_target
from ftransfer.storage.faults import shown, translated
from ftransfer.storage.kernel import release, release_file
from ftransfer.storage.partials import Partials, Upload
from ftransfer.storage.root import Root, entry_of, times_of
from ftransfer.storage.threads import Gate, Jobs, finish_steps, through_aiofiles

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncFileIO

_HASH_BYTES = 1 << 20
# One write call from a thread. For a larger one a file system on a disk takes memory in larger pieces (folios), which in a virtual
# machine are those that it had given back to its host: 1 MiB at a time cost up to six times as much on ext4. On a tmpfs all
# sizes cost the same.
_WRITE_BYTES = 64 * 1024
# The disk begins to write as soon as there is so much, and not when all has come.
_SYNC_BYTES = 16 << 20


class Target(NamedTuple):
    """Where an upload goes: the folder, resolved when the upload began and held to its end, and the name in it.

    Whatever happens to links on the way meanwhile, the content goes into the folder that was meant at the start.
    """

    root: Root
    name: SafeName
    announced: Announcement
    folder: int
    about: os.stat_result

    def refuse(self) -> None:
        """Raise if what has the name now may not be replaced.

        Raises:
            OSError.
            NotAFile, AlreadyThere, ChangedMeanwhile.
        """
        try:
            found = os.stat(self.name.last, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            if self.announced.if_match:
                raise self._changed("is not there any more") from None
            return
        if (found.st_mode & 0o170000) == 0o040000:
            raise NotAFile(f"{shown(self.name)}: is a folder, and a file cannot take its place", name=str(self.name))
        refuse_special_target(self.folder, self.name)
        if self.announced.if_absent:
            raise AlreadyThere(f"{shown(self.name)}: something has that name already", name=str(self.name))
        if self.announced.if_match and self._digest() != self.announced.if_match:
            raise self._changed("has other content than was expected; get it, then decide")

    def _changed(self, how: str) -> ChangedMeanwhile:
        return ChangedMeanwhile(f"{shown(self.name)}: {how}", name=str(self.name))

    def _digest(self) -> Digest:
        handle, _ = self.root.open_served(self.name)
        try:
            hasher = Hasher()
            while block := os.read(handle, _HASH_BYTES):
                hasher.update(block)
            return hasher.digest()
        finally:
            release(handle)

    def close(self) -> None:
        release(self.folder)


class LocalWriter:
    """See base.Writer."""

    fast = True

    def __init__(
        self, jobs: Jobs, partials: Partials, target: Target, upload: Upload, ended: Callable[[LocalWriter], None]
    ) -> None:
        """Take over the upload and the target. `ended` is called once, when they have been given back."""
        self.name = target.name
        self.offset = self.kept = upload.kept
        self.restarted = upload.restarted
        self.has_room = upload.has_room
        self._jobs = jobs
        self._partials = partials
        self._target = target
        self._upload: Upload | None = upload
        self._ended = ended
        self._file = upload.file
        self._async_file: AsyncFileIO | None = None  # when it is written through the loop
        self._descriptor = upload.file.fileno()
        self._position = 0
        self._is_durable = target.root.durable and target.announced.durable
        self._sync_begun = upload.kept  # up to here the disk has begun to write
        self._gate = Gate()
        self._ending = asyncio.Lock()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        with self._gate:
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

    def write_now(self, data: memoryview) -> None:
        with self._gate, translated(self.name):
            self._refuse_excess(len(data))
            while data:
                count = os.pwrite(self._descriptor, data[:_WRITE_BYTES], self.offset)
                self.offset += count
                data = data[count:]
            self._begin_sync()

    def _begin_sync(self) -> None:
        count = self.offset - self._sync_begun
        if self._is_durable and count >= _SYNC_BYTES:
            self._target.root.kernel.begin_sync(self._descriptor, self._sync_begun, count)
            self._sync_begun = self.offset

    def _refuse_excess(self, count: int) -> None:
        """Refuse more than was announced at once: a peer that never stops must not fill the disk."""
        size = self._target.announced.size
        if size is not None and self.offset + count > size:
            message = f"{shown(self.name)}: {size} bytes were announced and more came"
            raise Truncated(message, name=str(self.name), expected=size, actual=self.offset + count)

    async def read(self, offset: int, size: int) -> bytes:
        with self._gate:
            return await self._jobs.run(self._read, offset, min(size, self.offset - offset))

    def _read(self, offset: int, size: int) -> bytes:
        # Not through the aiofiles object, whose position belongs to the write that may run at the same time.
        with translated(self.name):
            return os.pread(self._descriptor, size, offset) if size > 0 else b""

    def read_now(self, offset: int, view: memoryview) -> int:
        with self._gate, translated(self.name):
            size = min(len(view), self.offset - offset)
            return os.preadv(self._descriptor, [view[:size]], offset) if size > 0 else 0

    async def commit(self, digest: Digest) -> Entry:
        """See base.Writer.commit. If it raises before the name was taken, the writer is still there for keep or abort."""
        return await finish_steps(self._commit(digest))

    async def _commit(self, digest: Digest) -> Entry:
        async with self._ending:
            self._gate.check()
            announced = self._target.announced
            if announced.size is not None and announced.size != self.offset:
                message = f"{shown(self.name)}: {announced.size} bytes were announced and {self.offset} came"
                raise Truncated(message, name=str(self.name), expected=announced.size, actual=self.offset)
            await self._gate.shut(self._over)
            upload = self._upload
            assert upload is not None  # the gate was open
            try:
                return await self._jobs.run(self._publish, upload)
            finally:
                if upload.file.closed:
                    self._end()

    def _publish(self, upload: Upload) -> Entry:
        target, root, handle = self._target, self._target.root, upload.file.fileno()
        with translated(self.name, KIND_CLASH):
            os.ftruncate(handle, self.offset)
            os.fchmod(handle, root.mode_for(target.announced.mode))
            if target.announced.mtime_ns is not None:
                os.utime(handle, ns=times_of(target.announced.mtime_ns))
            if self._is_durable:
                root.kernel.sync_file(handle)
            with root.lock_of(target.about, self.name.last):
                target.refuse()
                move = root.kernel.rename_new if target.announced.if_absent else root.kernel.rename
                move(upload.data, self.name.last, upload.folder, target.folder)
            # From here on the file is the share's, and nothing may write to it any more, whatever fails.
            try:
                entry = entry_of(str(self.name), os.fstat(handle))
                if target.announced.durable:
                    root.sync_folder(target.folder)
            finally:
                release_file(upload.file)
                target.close()
            with suppress(OSError):  # a record without data means nothing; the next start collects it
                self._partials.forget(upload)
            return entry

    async def keep(self, *, doubtful: int = 0) -> None:
        await finish_steps(self._finish(lambda upload: self._partials.keep(upload, max(self.kept, self.offset - doubtful))))

    async def abort(self) -> None:
        await finish_steps(self._finish(self._partials.drop))

    async def _finish(self, give_back: Callable[[Upload], None]) -> None:
        async with self._ending:
            upload = self._upload
            if upload is None:
                return
            await self._gate.shut(self._over)
            try:
                await self._jobs.run(self._give_back, upload, give_back)
            finally:
                self._end()

    def _give_back(self, upload: Upload, give_back: Callable[[Upload], None]) -> None:
        try:
            with translated(self.name):
                give_back(upload)
        finally:
            self._target.close()

    async def surrender(self) -> Upload | None:
        """Give the file to a newer writer, when no job uses it; None if this one has ended meanwhile. Not to be cancelled."""
        async with self._ending:
            upload = self._upload
            if upload is None:
                return None
            await self._gate.shut(self._superseded)
            await self._jobs.run(self._let_go, upload)
            self._end()
            return upload

    def _let_go(self, upload: Upload) -> None:
        with translated(self.name):
            os.ftruncate(self._descriptor, self.offset)
        upload.kept, upload.restarted = self.offset, False
        self._target.close()

    def _end(self) -> None:
        self._upload = None
        self._ended(self)

    def _superseded(self) -> FtransferError:
        return Superseded(f"{shown(self.name)}: a newer upload of the same file has taken over", name=str(self.name))

    def _over(self) -> FtransferError:
        return LocalProtocolError(f"{shown(self.name)}: this upload has ended", name=str(self.name))
