"""One get as the client sees it: meta, content, end and reply, each verified."""

from __future__ import annotations

from typing import Any

from ftransfer.client.retry import Report
from ftransfer.client.session import ClientSession
from ftransfer.digest import Digest
from ftransfer.errors import DigestMismatch, FtransferError, RemoteProtocolError, Truncated
from ftransfer.protocol.connection import Event
from ftransfer.protocol.replies import End, Meta, take_count
from ftransfer.transfer.pump import Sink, receive_content
from ftransfer.transfer.running_digest import RunningDigest


async def receive_meta(session: ClientSession, name: str, options: dict[str, Any]) -> Meta:
    """Receive the description of the content that follows; it must match the request."""
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


async def receive_body(
    session: ClientSession,
    name: str,
    sink: Sink,
    digest: RunningDigest,
    meta: Meta,
    report: Report,
    *,
    is_part: bool = False,
) -> Digest:
    """Receive the data and the end, verify them, and read the reply; return the digest."""
    if meta.offset:  # the server also reads what is before it, for the digest of the whole file
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
    """Compare the server's end of a get with what was received, and read its reply.

    Args:
        event: The event after the last data frame.
        size: The size that `end` must announce: of the file, or of the requested part.
        received: The number of bytes received.
        digest: Of the content here.

    Raises:
        Truncated, DigestMismatch: The received content is not what the server sent.
        RemoteProtocolError: The server contradicts itself, or omits what is needed to verify
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
    """Abort the session with a server that contradicts itself; return the error to raise."""
    session.abort()
    return RemoteProtocolError.about(name, f"{why}; nothing was published")


async def _stay_in_step(session: ClientSession) -> None:
    """Read the reply to a failed get, so that another can follow; or abort the session."""
    try:
        await session.reply()
    except FtransferError:
        session.abort()
