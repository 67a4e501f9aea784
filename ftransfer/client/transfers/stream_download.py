"""One file, or a part of one, into a stream: bytes are passed on as they arrive."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ftransfer.client.retry import Report
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.get_exchange import receive_body, receive_meta
from ftransfer.digest import Digest
from ftransfer.errors import DigestMismatch, SourceChanged
from ftransfer.names import SafeName
from ftransfer.storage.base import UploadSpec
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transfer.records import Receipt
from ftransfer.transfer.running_digest import RunningDigest

if TYPE_CHECKING:
    from ftransfer.storage.local import LocalStore
    from ftransfer.storage.local.writer import LocalWriter


class RangeFile:
    """The sink of a StreamDownload that receives a part of a file into a local file.

    Nobody sees the file until `publish`; without it, nothing is left.
    """

    def __init__(self, store: LocalStore, target: SafeName) -> None:
        self._store = store
        self._target = target
        self._writer: LocalWriter | None = None

    async def __aenter__(self) -> RangeFile:
        self._writer = await self._store.open_write(self._target, UploadSpec())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            await self._writer.abort()

    async def publish(self, digest: Digest) -> None:
        assert self._writer is not None
        await self._writer.commit(digest)
        self._writer = None

    def write(self, data: bytes | bytearray | memoryview) -> int:
        assert self._writer is not None
        self._writer.write_blocking(memoryview(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: no bytes are buffered."""


class _ByteSink(Protocol):
    def write(self, data: bytes | bytearray | memoryview, /) -> Any: ...
    def flush(self) -> None: ...


class StreamDownload:
    """A download into a sink that can only be written once, like a pipe.

    Each attempt resumes at the byte where the last one stopped.

    Args:
        sink: Written in threads, in order; the caller closes it. `run` raises its errors
            (BrokenPipeError).
        offset, length: A part of the file; the digest of the part is checked.
    """

    def __init__(
        self, name: str, sink: BinaryIO | _ByteSink, *, offset: int = 0, length: int | None = None
    ) -> None:
        self.offset = offset
        self._name = name
        self._sink = sink
        self._start = offset
        self._written = offset  # the sink has all bytes of the file from _start to here
        self._length = length
        self._identity: str | None = None
        # Nothing can be read back from a pipe: every byte is hashed as it passes, and the digest
        # outlives an interrupted connection.
        self._digest = RunningDigest(self, start=offset)

    async def run(self, session: ClientSession, report: Report) -> Receipt:
        """Receive what is missing.

        Raises:
            SourceChanged: The file has changed since the first attempt; what was written cannot be
                taken back.
            DigestMismatch, Truncated: The content did not verify.
        """
        options: dict[str, Any] = {}
        if self._start or self._length is not None:
            # The digest of a part covers what is requested: after an interruption the whole part is
            # requested again, and what the sink already has is dropped. The hashed bytes are those
            # that the sink received.
            self.offset = self._start
            options["length"] = 2**62 if self._length is None else self._length
        if self.offset:
            options["offset"] = self.offset
        if self._identity is not None:
            options["identity"] = self._identity
        await session.send("get", self._name, options)
        meta = await receive_meta(session, self._name, options)
        if meta.offset != self.offset or self._identity not in (None, meta.identity):
            session.abort()
            raise SourceChanged.about(self._name, "the file on the server has changed; start again")
        self._identity = meta.identity
        kept = self._written - self._start
        try:
            is_part = "length" in options
            text = await receive_body(
                session, self._name, self, self._digest, meta, report, is_part=is_part
            )
        except DigestMismatch as error:
            error.kept = kept
            raise
        await run_job(io_pool(), self._sink.flush)
        return Receipt(self._name, self.offset - self._start, text, meta.mtime_ns, durable=False)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        fresh = memoryview(data)[max(0, self._written - self.offset) :]
        await run_job(io_pool(), lambda: self._write_all(fresh))
        self.offset += len(data)
        self._written = max(self._written, self.offset)

    def _write_all(self, view: memoryview) -> None:
        while view:
            view = view[self._sink.write(view) or 0 :]

    async def read(self, offset: int, size: int) -> bytes:
        raise NotImplementedError("a stream cannot be read back")
