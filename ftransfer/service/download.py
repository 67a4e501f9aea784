"""A download of a file from the share, for any gateway."""

from __future__ import annotations

from types import TracebackType

from ftransfer.digest import Digest
from ftransfer.errors import SourceChanged
from ftransfer.service.operation import Operation
from ftransfer.storage.base import Reader
from ftransfer.transfer.running_digest import confirm


class Download:
    """One open file. Use it in `async with`, which closes it.

    Send content with `read`, or faster, straight from `reader` (see transfer.pump.send_content).
    Check what was sent before reporting it as complete.
    """

    def __init__(self, operation: Operation, reader: Reader, opened_ns: int) -> None:
        self.reader = reader
        self.entry = reader.entry
        self._operation = operation
        self._session = operation.session
        self._opened_ns = opened_ns

    @classmethod
    async def open(cls, operation: Operation, *, whole_bytes: int = 0) -> Download:
        """Open the file that the operation names.

        Args:
            whole_bytes: See ShareView.open_read.

        Raises:
            As ShareView.open_read.
        """
        session = operation.session
        opened_ns = session.service.digests.cache.now_ns()
        reader = await session.view.open_read(operation.name, whole_bytes=whole_bytes)
        return cls(operation, reader, opened_ns)

    def known_digest(self) -> Digest | None:
        """Return the digest of the whole file if it is known without reading the file."""
        return self._session.service.digests.cache.find(self.entry)

    def note_moved(self, count: int) -> None:
        """Count bytes of content that were sent."""
        self._operation.moved += count

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes, at the rate that the session is allowed; b"" at the end."""
        count = await self._session.pace.take(size)
        data = await self.reader.read(offset, count)
        self._session.pace.give_back(count - len(data))
        self.note_moved(len(data))
        return data

    async def check(self, digest: Digest, start: int, end: int) -> None:
        """Check that the file still holds what was sent, from `start` up to `end`.

        Raises:
            SourceChanged: It does not.
        """
        await confirm(self.reader, start, end, digest)
        self._operation.digest = digest

    def remember(self, digest: Digest) -> None:
        """Remember the digest of the whole file, which was computed and checked."""
        self._session.service.digests.cache.read(self.entry, digest, self._opened_ns)

    async def __aenter__(self) -> Download:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.reader.close()
        if isinstance(error, SourceChanged) and not error.name:
            raise SourceChanged.about(self.entry.name, str(error)) from error
