"""One file from a server to a local file or stream, over one session. Called again on the next, it
goes on where it stood.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ftransfer.client.retry import restart_once
from ftransfer.client.session import ClientSession
from ftransfer.digest import Digest
from ftransfer.errors import (
    DigestMismatch,
    FtransferError,
    OffsetConflict,
    RemoteProtocolError,
    ShareError,
    SourceChanged,
    Truncated,
)
from ftransfer.names import SafeName
from ftransfer.protocol.connection import Event
from ftransfer.protocol.replies import End, Meta, take_count
from ftransfer.storage.base import KEEP_PARTIALS_S, Entry, Partial, Store, UploadSpec, Writer
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transfer.pump import Sink, receive_content
from ftransfer.transfer.records import Receipt
from ftransfer.transfer.running_digest import RunningDigest

if TYPE_CHECKING:
    from ftransfer.storage.local import LocalStore
    from ftransfer.storage.local.writer import LocalWriter

# Partial downloads are kept apart from partial uploads, should a folder be served and downloaded
# into at once.
OWNER = "get"

# From this round trip on, several connections may be quicker than one.
LONG_PATH_S = 0.015

# Called with (bytes in place, size of the whole).
Report = Callable[[int, int], None]


async def download(
    session: ClientSession,
    name: str,
    store: Store,
    target: SafeName,
    report: Report,
    *,
    keep_cancelled: bool,
) -> Receipt:
    """Receive a file into a store, verified and published as the store does it.

    What an earlier attempt left is gone on with if the file on the server is still the same; if it
    turns out not to match, the file is received from its start.

    Raises:
        DigestMismatch, Truncated: The content did not verify; nothing is published or kept.
        FtransferError: As the server or the store says; what has come is kept for the next attempt.
    """

    async def attempt() -> Receipt:
        asked = Download(session, name, store, target, keep_cancelled=keep_cancelled)
        await asked.request()
        return await asked.publish(await asked.receive(report))

    return await restart_once(attempt)


async def expire_partials(store: Store, *, now_ns: Callable[[], int] = time.time_ns) -> None:
    """Remove what downloads into a store left that nobody has gone on with for some days, and
    nobody is at work on.

    To be called when a download has ended: what that one could go on with, however old, it has. A
    store that fails is left alone.
    """
    latest_ns = now_ns() - int(KEEP_PARTIALS_S * 1e9)

    def keep(partial: Partial) -> bool:
        return partial.owner != OWNER or partial.mtime_ns > latest_ns

    with contextlib.suppress(ShareError):
        await store.clear_partials(keep)


@contextlib.asynccontextmanager
async def receiving(
    writer: Writer, *, keep_cancelled: bool, discard_tail: Callable[[], int] = lambda: 0
) -> AsyncIterator[RunningDigest]:
    """Give the digest of a local file while it is received, with what was kept hashed alongside;
    commit it in the block, or later.

    If the block fails, what does not verify is dropped, and what has come so far is kept.

    Args:
        discard_tail: How many of the last bytes are not to be kept, when the block has failed.
    """
    digest = RunningDigest(writer)
    async with _kept_on_failure(writer, keep_cancelled=keep_cancelled, discard_tail=discard_tail):
        try:
            if writer.resumed_bytes:
                digest.allow(writer.resumed_bytes)
                digest.follow()
            yield digest
        finally:
            await digest.close()


@contextlib.asynccontextmanager
async def _kept_on_failure(
    writer: Writer, *, keep_cancelled: bool, discard_tail: Callable[[], int] = lambda: 0
) -> AsyncIterator[None]:
    try:
        yield
    except (DigestMismatch, Truncated) as error:
        if isinstance(error, DigestMismatch):
            error.kept = writer.resumed_bytes
        await writer.abort()
        raise
    except FtransferError:
        await writer.suspend(discard_tail=discard_tail())
        raise
    except BaseException:
        await (writer.suspend() if keep_cancelled else writer.abort())
        raise


def receipt_of_download(
    name: str, entry: Entry, digest: Digest, store: Store, writer: Writer
) -> Receipt:
    """Make the receipt of a file that has been published as `entry`."""
    receipt = Receipt(name, entry.size, digest, entry.mtime_ns, store.durable, writer.resumed_bytes)
    return receipt._replace(restarted=writer.restarted, replaced=writer.replaced)


class Download:
    """One file that is asked for, then received, then published; others may be asked for in
    between, and come after it.

    Args:
        begun: Whether an earlier attempt may have left a part.
    """

    def __init__(
        self,
        session: ClientSession,
        name: str,
        store: Store,
        target: SafeName,
        *,
        keep_cancelled: bool,
        begun: bool = True,
    ) -> None:
        self._session = session
        self._name = name
        self._store = store
        self._target = target
        self._keep_cancelled = keep_cancelled
        self._begun = begun
        self._options: dict[str, Any] = {}
        self._digest: Digest = ""

    async def request(self) -> None:
        """Send the command, from where an earlier attempt stood."""
        partial = await self._store.find_partial(self._target, OWNER) if self._begun else None
        self._options = (
            {"offset": partial.kept, "identity": partial.source} if partial and partial.kept else {}
        )
        await self._session.send("get", self._name, self._options)

    async def receive(
        self, report: Report, before_end: Callable[[], Awaitable[None]] | None = None
    ) -> Writer:
        """Receive the content and verify it; give it to be published. Raises as `download`; then it
        may be asked for again.

        Args:
            before_end: Awaited when all is received. If it is cancelled, so is this download.
        """
        meta = await _meta(self._session, self._name, self._options)
        writer = await self._open(meta)
        async with receiving(
            writer, keep_cancelled=self._keep_cancelled, discard_tail=self._discard_tail
        ) as digest:
            if writer.offset != meta.offset:
                raise OffsetConflict.about(
                    self._name, "another process works on the same download; try again"
                )
            report(writer.offset, meta.size)
            self._digest = await _receive(self._session, self._name, writer, digest, meta, report)
            if before_end is not None:
                await before_end()
        return writer

    async def publish(self, writer: Writer) -> Receipt:
        """Give what was received its name. Raises as `download`."""
        async with _kept_on_failure(writer, keep_cancelled=self._keep_cancelled):
            entry = await writer.commit(self._digest)
        return receipt_of_download(self._name, entry, self._digest, self._store, writer)

    def _discard_tail(self) -> int:
        # If the server has said that it failed, the frame before may have been filled up, to keep
        # the stream in step.
        return self._session.connection.last_payload if self._session.is_in_step else 0

    async def _open(self, meta: Meta) -> Writer:
        announced = UploadSpec(
            meta.size, meta.mtime_ns, meta.mode, source=meta.identity, owner=OWNER
        )
        writer = await self._store.open_write(self._target, announced)
        # The server would not go on from there: the part is of no use
        if writer.offset and meta.offset == 0:
            await writer.abort()
            writer = await self._store.open_write(self._target, announced)
        return writer


async def _meta(session: ClientSession, name: str, options: dict[str, Any]) -> Meta:
    """Hear what the server is about to send; it must be what was asked for."""
    meta = await session.next_event()
    if not isinstance(meta, Meta):
        raise session.unexpected(meta)
    if meta.name != name:
        session.abort()
        raise RemoteProtocolError.about(name, "the server sends another file than was asked for")
    if meta.offset not in (0, options.get("offset", 0)) or meta.offset + meta.length > meta.size:
        session.abort()
        raise RemoteProtocolError.about(name, "the server sends a part that was not asked for")
    return meta


async def _receive(
    session: ClientSession,
    name: str,
    sink: Sink,
    digest: RunningDigest,
    meta: Meta,
    report: Report,
    *,
    is_part: bool = False,
) -> Digest:
    """Receive the data and the end, verify, and read the reply; give the digest."""
    if meta.offset:  # the server reads what is before it as well, for the digest of the whole
        session.channel.progress.begin(session.channel.limits.work_s)
    event: Event | None = None
    while event is None:
        event = session.dispatch(
            await receive_content(
                session.channel, sink, digest, lambda count: report(sink.offset, meta.size)
            )
        )
    digest_here = await digest.finish(sink.offset)
    size = meta.length if is_part else meta.size
    await check_end(
        session,
        name,
        meta,
        event,
        size=size,
        received=sink.offset - meta.offset,
        digest=digest_here,
    )
    return digest_here


async def check_end(
    session: ClientSession,
    name: str,
    meta: Meta,
    event: Event,
    *,
    size: int,
    received: int,
    digest: Digest,
) -> None:
    """Compare everything that the server says at the end of a get with what came, and read its
    reply.

    Args:
        event: What came after the last data frame.
        size: What `end` must say: the size of the whole file, or of the part that was asked for.
        received: How many bytes came.
        digest: That of the content here.

    Raises:
        Truncated, DigestMismatch: What came is not what the server sent.
        RemoteProtocolError: The server contradicts itself, or does not say what is needed to verify
            the file.
    """
    if not isinstance(event, End):
        raise session.unexpected(event)
    if received != meta.length:
        session.abort()
        end = meta.offset + meta.length
        message = f"{end} bytes were announced, {meta.offset + received} came"
        raise Truncated.about(name, message, expected=end, actual=meta.offset + received)
    if not event.head:
        raise _contradicts(
            session, name, "the server does not say what its name and time were when it was sent"
        )
    if event.size != size:
        raise _contradicts(
            session, name, f"the server announced {size} bytes, and {event.size} at the end"
        )
    if digest != event.digest:
        await _stay_in_step(session)
        message = "the content does not match its digest; try again"
        raise DigestMismatch.about(name, message, expected=event.digest, actual=digest)
    if not session.connection.has_right_head(event):
        await _stay_in_step(session)
        message = "its name or time did not arrive as it was sent; try again"
        raise DigestMismatch.about(name, message)
    sent = take_count(await session.reply(), "bytes")
    if sent != received:
        raise _contradicts(
            session, name, f"the server says that it sent {sent} bytes; {received} came"
        )


def _contradicts(session: ClientSession, name: str, why: str) -> RemoteProtocolError:
    """End the session with a server whose words do not agree, and return the error to raise."""
    session.abort()
    return RemoteProtocolError.about(name, f"{why}; nothing was published")


async def _stay_in_step(session: ClientSession) -> None:
    """Hear the reply to a get that came to nothing, so that another can follow; or end the
    session.
    """
    try:
        await session.reply()
    except FtransferError:
        session.abort()


class RangeFile:
    """A part of a remote file, received into a local file of its own that nobody sees until
    `publish`. Left without, nothing stays.

    The sink of a StreamDownload.
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
        """Nothing is held back."""


class _ByteSink(Protocol):
    def write(self, data: bytes | bytearray | memoryview, /) -> Any: ...
    def flush(self) -> None: ...


class StreamDownload:
    """A download into something that can only be written once, like a pipe. Attempts go on at the
    byte where the last one stopped.

    Args:
        sink: Written in threads, in order; the caller closes it. What it raises (BrokenPipeError)
            comes out of `run`.
        offset, length: A part of the file; its digest is checked instead of the whole one's.
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
        # outlives a cut connection.
        self._digest = RunningDigest(self, start=offset)

    async def run(self, session: ClientSession, report: Report) -> Receipt:
        """Receive what is missing.

        Raises:
            SourceChanged: The file is another one since the first attempt; what was written cannot
                be taken back.
            DigestMismatch, Truncated: The content did not verify.
        """
        options: dict[str, Any] = {}
        if self._start or self._length is not None:
            # The digest of a part covers what is asked for: after a cut it is asked for as a whole
            # again, and what the sink has already is dropped. What has been hashed is what the sink
            # was given.
            self.offset = self._start
            options["length"] = 2**62 if self._length is None else self._length
        if self.offset:
            options["offset"] = self.offset
        if self._identity is not None:
            options["identity"] = self._identity
        await session.send("get", self._name, options)
        meta = await _meta(session, self._name, options)
        if meta.offset != self.offset or self._identity not in (None, meta.identity):
            session.abort()
            raise SourceChanged.about(self._name, "the file on the server has changed; start again")
        self._identity = meta.identity
        kept = self._written - self._start
        try:
            is_part = "length" in options
            text = await _receive(
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
