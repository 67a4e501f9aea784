"""A range of a file that another session of the same user uploads."""

from __future__ import annotations

from types import TracebackType

from ftransfer.digest import Digest
from ftransfer.service.multipart import OpenUpload
from ftransfer.service.operation import Operation
from ftransfer.service.upload import verify
from ftransfer.storage.capabilities import Part
from ftransfer.transfer.running_digest import RunningDigest


class UploadPart:
    """One range. Use it in `async with`: what is not finished by its end is dropped.

    Pass content straight into `sink`, with `digest` fed alongside.
    """

    def __init__(self, operation: Operation, upload: OpenUpload, part: Part, start: int) -> None:
        self.sink = part
        self.digest = RunningDigest(part, start=start)
        self._operation = operation
        self._upload = upload
        self._start = start

    @classmethod
    async def begin(
        cls, operation: Operation, upload_id: str, offset: int, length: int
    ) -> UploadPart:
        """Begin a range of the upload with that id.

        Raises:
            NotFound: This user has no such upload under this name.
            As Writer.open_part.
        """
        upload = operation.session.view.find_upload(operation.name, upload_id)
        part = await upload.writer.open_part(offset, length)
        operation.total = length
        return cls(operation, upload, part, offset)

    def note_moved(self, count: int) -> None:
        """Count bytes of content that have arrived."""
        self._operation.moved += count

    async def finish(self, expected: Digest, *, size: int) -> None:
        """Verify the range and put it in place.

        Raises Truncated, DigestMismatch, and as Part.complete.
        """
        span = self._start, self.sink.offset
        await verify(self._operation.name, self.digest, span, size, expected)
        await self.digest.close()
        await self.sink.complete()

    def note_arrived(self, length: int) -> None:
        """Count the range as in place. Call it after the end of its `async with`."""
        self._upload.arrived(length)

    async def __aenter__(self) -> UploadPart:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.digest.close()
        await self.sink.drop()
