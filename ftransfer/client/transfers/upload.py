"""One local file or stream to a server, over one session. Called again on the next, it goes on
where the server stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NoReturn, Protocol

from ftransfer.client.retry import restart_once
from ftransfer.client.session import ClientSession
from ftransfer.digest import Digest, Hasher, digest_of
from ftransfer.errors import (
    Aborted,
    ChannelError,
    DigestMismatch,
    FtransferError,
    OffsetConflict,
    RemoteProtocolError,
    ShareError,
    SourceChanged,
)
from ftransfer.protocol.connection import Event
from ftransfer.protocol.replies import End, Meta, Reply, take, take_count
from ftransfer.protocol.state import State
from ftransfer.storage.base import Reader
from ftransfer.storage.capabilities import ThreadedFile, supports_threads
from ftransfer.system.threads import io_pool, run_job, stop_task
from ftransfer.transfer.pump import BLOCK, send_content
from ftransfer.transfer.records import Receipt
from ftransfer.transfer.running_digest import RunningDigest, confirm
from ftransfer.transport import Buffer
from ftransfer.transport.channel import frame_data

# Called with (bytes in place at the server, size of the whole or None).
Report = Callable[[int, int | None], None]

# Up to this size a file is sent without waiting for the server's word: to send it twice costs less
# than a round trip.
AT_ONCE_BYTES = 256 * 1024


def source_of(path: str, reader: Reader) -> str:
    """Name this version of this file: another host, path, inode, size or mtime is another
    source.
    """
    words = (socket.gethostname(), path, reader.entry.identity)
    return digest_of("\0".join(words).encode("utf-8", "surrogateescape"))[:32]


async def upload(
    session: ClientSession,
    reader: Reader,
    name: str,
    source: str,
    options: Mapping[str, Any],
    report: Report,
) -> Receipt:
    """Send a local file; on return the server has verified, published and (if it is durable) synced
    it.

    What the server kept of an earlier attempt is gone on with; if it turns out not to match, the
    file is sent from its start.

    Args:
        source: Names this version of this file; the server goes on with what it kept under the same
            word.
        options: Further options of the put: if_absent, if_match.

    Raises:
        SourceChanged: The file changed while it was sent; the server was told to publish nothing.
        DigestMismatch: What was sent from the start did not verify there.
        FtransferError: As the server says.
    """
    announced = {**announcement_of(reader), **options}
    if reader.entry.size <= AT_ONCE_BYTES:
        return await _upload_at_once(session, reader, name, announced)
    return await restart_once(
        lambda: _upload_waiting(
            session, reader, name, {**announced, "source": source, "wait": True}, report
        )
    )


def announcement_of(reader: Reader) -> dict[str, Any]:
    """Give what a put says of the file itself."""
    entry = reader.entry
    return {"size": entry.size, "mtime_ns": entry.mtime_ns, "mode": entry.mode}


async def _upload_waiting(
    session: ClientSession, reader: Reader, name: str, announced: Mapping[str, Any], report: Report
) -> Receipt:
    """Ask the server where to begin, and send from there."""
    meta = await offered(session, reader, name, announced)
    try:
        return await upload_from(session, reader, name, meta, report)
    except DigestMismatch as error:
        # Some of it was sent before the change, and hashed after it
        if not await is_unchanged(reader):
            raise changed(name) from error
        error.kept = meta.offset  # the server has dropped them
        raise


async def offered(
    session: ClientSession, reader: Reader, name: str, announced: Mapping[str, Any]
) -> Meta:
    """Announce a file, and hear from where on the server wants it."""
    await session.send("put", name, announced)
    meta = await session.next_event()
    if not isinstance(meta, Meta):
        raise session.unexpected(meta)
    if meta.offset > reader.entry.size:
        session.abort()
        raise OffsetConflict.about(name, "the server has more bytes than the file")
    return meta


async def upload_from(
    session: ClientSession, reader: Reader, name: str, meta: Meta, report: Report
) -> Receipt:
    """Send what is missing from the offset on."""
    digest = RunningDigest(reader)
    try:
        digest.allow(meta.offset)
        digest.follow()
        report(meta.offset, reader.entry.size)
        values, text = await _send(session, reader, name, meta.offset, digest, report)
    finally:
        await digest.close()
    return receipt_of(
        name, values, reader.entry.size, text, kept=meta.offset, restarted=meta.restarted
    )


async def _upload_at_once(
    session: ClientSession, reader: Reader, name: str, announced: Mapping[str, Any]
) -> Receipt:
    """Send command, data and end in one go: one round trip in all."""
    data = await reader.read(0, AT_ONCE_BYTES + 1)
    # As in /proc: only reading shows how much there is
    if len(data) != reader.entry.size and await is_unchanged(reader):
        file: object = reader
        assert supports_threads(file)  # as every file of the user's own
        return await upload_stream(
            session, _Stream(file), name, _without_size(announced), lambda *_: None
        )
    data = data[: reader.entry.size]
    text = digest_of(data)
    try:
        await confirm(reader, 0, reader.entry.size, text)
    except SourceChanged as error:
        raise changed(name) from error
    connection, cap = session.connection, session.channel.limits.max_chunk_bytes
    await session.send("put", name, announced)
    frames: list[Buffer] = []
    for start in range(0, len(data), cap):
        frames += frame_data(connection, data[start : start + cap])
    await session.channel.send(*frames, connection.send_end(End(len(data), text)))
    return receipt_of(name, await session.reply(), len(data), text)


async def is_unchanged(reader: Reader) -> bool:
    """Return whether a file is what it was when it was opened."""
    try:
        await reader.check()
    except SourceChanged:
        return False
    return True


def changed(name: str) -> SourceChanged:
    """Return the error to raise for a file that is no longer what was sent of it."""
    return SourceChanged.about(name, "the file changed while it was sent; put it again")


def _without_size(announced: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in announced.items() if key != "size"}


class _Stream:
    """An open file, read from its start to its end, whatever its size is said to be."""

    def __init__(self, reader: ThreadedFile) -> None:
        self._reader = reader
        self._position = 0

    def read(self, size: int) -> memoryview:
        view = memoryview(bytearray(size))
        count = self._reader.read_blocking(self._position, view)
        self._position += count
        return view[:count]


async def _send(
    session: ClientSession,
    reader: Reader,
    name: str,
    offset: int,
    digest: RunningDigest,
    report: Report,
) -> tuple[Mapping[str, Any], Digest]:
    """Send the data and the end; give the reply and the digest. An error that the server says
    meanwhile stops the sending.
    """
    channel, connection = session.channel, session.connection
    size = reader.entry.size
    position = offset

    def moved(count: int) -> None:
        nonlocal position
        position += count
        report(position, size)

    text = ""
    async with listening(session) as answer:
        async with channel.heartbeats():
            try:
                await send_content(
                    channel, reader, offset, size - offset, digest, moved, lambda: not answer.done()
                )
                if not answer.done():
                    text = await digest.finish(size)
                    await confirm(reader, 0, size, text)
            except (SourceChanged, ShareError) as error:
                await give_up(session, error)
                # "aborted": after that the connection is in step again
                with contextlib.suppress(FtransferError):
                    await answer
                if isinstance(error, ShareError):
                    raise
                raise changed(name) from error
        if answer.done():
            await refused(session, answer)
        await channel.send(connection.send_end(End(size, text)))
        return values(session, await answer), text


@contextlib.asynccontextmanager
async def listening(session: ClientSession) -> AsyncIterator[asyncio.Task[Event]]:
    """Give a task that waits for the answer while the block sends."""
    task = asyncio.get_running_loop().create_task(session.next_event())
    try:
        yield task
    except ChannelError:
        # A connection that breaks while we send: what the server said last explains it better than
        # the broken pipe.
        if task.done() and not task.cancelled() and task.exception() is not None:
            await task
        raise
    finally:
        await stop_task(task)


async def refused(session: ClientSession, answer: asyncio.Task[Event]) -> NoReturn:
    """The server has answered before the end: with an error, after which it waits for our word that
    nothing more comes.
    """
    try:
        event = answer.result()
    except FtransferError as error:
        if session.connection.state is State.DISCARDING:
            await give_up(session, error)
        raise
    raise session.unexpected(event)


async def give_up(session: ClientSession, why: FtransferError) -> None:
    """Say that nothing more comes of the put under way, unless its end has been sent."""
    if session.connection.said in (State.RECEIVING, State.DISCARDING):
        await session.channel.send(session.connection.send_error(Aborted(str(why))))


class Readable(Protocol):
    """What can be read from its start to its end; `read` gives nothing at the end."""

    def read(self, size: int, /) -> bytes | memoryview: ...


async def upload_stream(
    session: ClientSession, stream: Readable, name: str, options: Mapping[str, Any], report: Report
) -> Receipt:
    """Send what a stream gives until its end, of a size that nobody knows yet. It cannot be tried
    again: the bytes are gone.

    Raises:
        OSError: The stream failed; the server was told to publish nothing.
    """
    channel, connection = session.channel, session.connection
    hasher = Hasher()
    await session.send("put", name, options)
    async with listening(session) as answer:
        async with channel.heartbeats():
            try:
                while not answer.done() and (
                    block := await run_job(io_pool(), lambda: _read_block(stream))
                ):
                    hasher.update(block)
                    await channel.send_data(block)
                    report(hasher.size, None)
            except OSError as error:
                await give_up(session, Aborted(f"the source failed: {error.strerror or error}"))
                raise
        if answer.done():
            await refused(session, answer)
        await channel.send(connection.send_end(End(hasher.size, hasher.digest())))
        return receipt_of(name, values(session, await answer), hasher.size, hasher.digest())


def _read_block(stream: Readable) -> bytes | memoryview:
    # read1 where there is one: a slow pipe should be passed on as it comes, not in whole blocks.
    read = getattr(stream, "read1", stream.read)
    block: bytes | memoryview = read(BLOCK)
    return block


def values(session: ClientSession, event: Event) -> Mapping[str, Any]:
    if not isinstance(event, Reply):
        raise session.unexpected(event)
    return event.values


def receipt_of(
    name: str,
    values: Mapping[str, Any],
    size: int,
    digest: str,
    *,
    kept: int = 0,
    restarted: bool = False,
) -> Receipt:
    """Make the receipt of what the server says; it must have stored what we sent."""
    if take(values, "name", str) != name:
        raise RemoteProtocolError.about(name, "the server acknowledges another name than was sent")
    if take(values, "digest", str) != digest or take_count(values, "size") != size:
        raise RemoteProtocolError.about(
            name, "the server acknowledges another content than was sent"
        )
    return Receipt(
        take(values, "name", str),
        size,
        digest,
        take(values, "mtime_ns", int),
        take(values, "durable", bool, False),
        kept,
        restarted=restarted,
        replaced=take(values, "replaced", bool, False),
    )
