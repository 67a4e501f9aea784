"""An upload of a file into the share, from any gateway: verified, then published."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from ftransfer.digest import Digest
from ftransfer.errors import (
    ChangedMeanwhile,
    DigestMismatch,
    NotFound,
    Superseded,
    Truncated,
)
from ftransfer.service.operation import Operation
from ftransfer.service.publication import publish
from ftransfer.service.session import Session
from ftransfer.storage.base import Entry, UploadSpec, Writer
from ftransfer.storage.capabilities import (
    ThreadedWriter,
    supports_blocking_writes,
    takes_parts,
)
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transfer.running_digest import RunningDigest

T = TypeVar("T")


class UploadReceipt(NamedTuple):
    """What was published.

    `resumed_bytes` were left by an earlier attempt; `replaced` says that the name existed.
    """

    entry: Entry
    digest: Digest
    durable: bool
    resumed_bytes: int
    replaced: bool


class Upload:
    """One upload. Use it in `async with`.

    What is not finished by its end is kept for a later attempt, or dropped if it did not verify.
    Pass content to `take`; or, faster, straight into `sink`, with `digest` fed alongside (see
    transfer.pump.receive_content).
    """

    def __init__(self, operation: Operation, writer: Writer, *, durable: bool) -> None:
        self.sink = writer
        self.resumed_bytes = writer.resumed_bytes
        self.restarted = writer.restarted  # a partial from another source existed, and is dropped
        self.digest = RunningDigest(writer)
        self._operation = operation
        self._session = operation.session
        self._durable = durable
        self._is_open = True
        if writer.resumed_bytes:
            self._hash_alongside()

    @classmethod
    async def begin(
        cls, operation: Operation, spec: UploadSpec, *, name: str = "", can_resume: bool = True
    ) -> Upload:
        """Begin an upload; `resumed_bytes` says from where the content is needed.

        Args:
            name: Where it goes; by default the name of the operation.
            can_resume: Whether the client can send only the rest.

        Raises:
            As ShareView.open_write.
        """
        view = operation.session.view
        name = name or operation.name
        writer = await view.open_write(name, spec)
        if writer.resumed_bytes and not can_resume:
            await writer.abort()
            writer = await view.open_write(name, spec)
        if spec.size is not None:
            operation.total = spec.size - writer.resumed_bytes
        return cls(operation, writer, durable=spec.durable and view.durable)

    @property
    def offset(self) -> int:
        """The bytes that are in place."""
        return self.sink.offset

    @property
    def takes_parts(self) -> bool:
        return takes_parts(self.sink)

    def note_moved(self, count: int) -> None:
        """Count bytes of content that have arrived."""
        self._operation.moved += count

    async def take(self, block: bytes | bytearray | memoryview) -> None:
        """Write the next bytes of the content, at the rate that the session is allowed.

        Raises:
            As Writer.write.
        """
        view = memoryview(block)
        while view:
            count = await self._session.pace.take(len(view))
            await self.write(view[:count])
            view = view[count:]

    async def write(self, block: memoryview) -> None:
        """Write the next bytes at once, without a rate limit."""
        offset = self.sink.offset
        sink = self.sink
        if supports_blocking_writes(sink):
            await run_job(io_pool(), lambda: self._write_blocking(sink, offset, block))
        else:
            await self.sink.write(block)
            self.digest.feed(offset, block)
        self.digest.allow(self.sink.offset)
        self.note_moved(len(block))

    def _write_blocking(self, sink: ThreadedWriter, offset: int, block: memoryview) -> None:
        sink.write_blocking(block)
        self.digest.feed(offset, block)

    @contextlib.contextmanager
    def taking_parts(self, arrived: Callable[[int], None]) -> Iterator[str]:
        """Let other sessions of the same user write ranges (upload_part).

        Yields the id by which they find the upload.

        Args:
            arrived: Called with the length of each range that is in place.
        """
        sink = self.sink
        assert takes_parts(sink)
        self._hash_alongside()

        def note_arrived(count: int) -> None:
            self.note_moved(count)
            arrived(count)
            self.digest.allow(sink.offset)

        upload_id = self._session.view.offer_parts(sink, note_arrived)
        try:
            yield upload_id
        finally:
            self._session.view.end_parts(upload_id)

    async def unless_superseded(self, source: str, receiving: Coroutine[Any, Any, T]) -> T:
        """Wait for `receiving`, or until a newer upload of the same source takes over.

        Then this one ends at once, even if its client sends nothing.

        Raises:
            Superseded: It was taken over.
        """
        if not source:
            return await receiving
        task = asyncio.create_task(receiving)
        with self._session.view.newest_upload(self.sink.name, source, task.cancel):
            try:
                return await task
            except asyncio.CancelledError:
                if (own := asyncio.current_task()) is not None and own.cancelling():
                    raise
                raise Superseded.about(
                    self.sink.name, "a newer upload of the same file has taken over"
                ) from None

    async def finish(
        self, expected: Digest | None = None, *, size: int | None = None
    ) -> UploadReceipt:
        """Verify the content and publish it; on return it is durable, if required.

        Args:
            expected: The digest that the client reports.
            size: The total number of bytes that the client reports.

        Raises:
            Truncated, DigestMismatch: It is not what was sent.
            As Writer.commit.
        """
        found = await verify(self._operation.name, self.digest, (0, self.offset), size, expected)
        await self.digest.close()
        entry = await publish(self._session, self.sink, found)
        self._is_open = False
        self._operation.digest = found
        replaced = self.sink.replaced
        return UploadReceipt(entry, found, self._durable, self.resumed_bytes, replaced)

    async def suspend(self, *, discard_tail: int = 0) -> None:
        """Keep what has arrived for a later attempt, except the last `discard_tail` bytes."""
        if self._is_open:
            self._is_open = False
            await self.digest.close()
            await self.sink.suspend(discard_tail=discard_tail)

    async def abort(self) -> None:
        """Drop what has arrived."""
        if self._is_open:
            self._is_open = False
            await self.digest.close()
            await self.sink.abort()

    async def __aenter__(self) -> Upload:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, (DigestMismatch, Truncated)):
            await self.abort()
        else:
            # The connection broke, the disk is full: what is there can be resumed
            await self.suspend()

    def _hash_alongside(self) -> None:
        self.digest.allow(self.resumed_bytes)
        self.digest.follow()


async def verify(
    name: str,
    digest: RunningDigest,
    span: tuple[int, int],
    size: int | None,
    expected: Digest | None,
) -> Digest:
    """Return the digest of the bytes that have arrived, from `start` up to `end`.

    Raises:
        Truncated: They are not `size` bytes.
        DigestMismatch: Their digest is not the expected one.
    """
    start, end = span
    if size is not None and size != end - start:
        message = f"{end - start} bytes came, {size} were sent"
        raise Truncated.about(name, message, expected=size, actual=end - start)
    found = await digest.finish(end)
    if expected is not None and found != expected:
        message = "the content does not match its digest; nothing was stored, send it again"
        raise DigestMismatch.about(name, message, expected=expected, actual=found)
    return found


async def find_replaced(session: Session, name: str, expected: Digest) -> Entry:
    """Return the file that an upload is to replace, for UploadSpec.replaces.

    Its digest is computed as for a checksum.

    Raises:
        ChangedMeanwhile: It has other content, or no longer exists.
    """
    digests = session.service.digests
    opened_ns = digests.cache.now_ns()
    try:
        reader = await session.view.open_replaced(name)
    except NotFound as error:
        raise ChangedMeanwhile.about(name, "is not there any more") from error
    try:
        actual = await digests.of(reader, opened_ns, session.view.owner)
    finally:
        await reader.close()
    if actual != expected:
        raise ChangedMeanwhile.about(
            name, "has other content than was expected; get it, then decide"
        )
    return reader.entry
