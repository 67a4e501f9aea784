"""What is put: a file in one go, or in parts that come over several sessions; published when the
whole is verified.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ftransfer.digest import Digest
from ftransfer.errors import (
    Aborted,
    ChangedMeanwhile,
    Closed,
    DigestMismatch,
    NotFound,
    RemoteProtocolError,
    Superseded,
    Truncated,
)
from ftransfer.gateways.native.session import Session
from ftransfer.names import escape
from ftransfer.protocol.commands import Command
from ftransfer.protocol.connection import Event, InputEnded, Payload
from ftransfer.protocol.replies import End, ErrorReply, Meta
from ftransfer.storage.base import Entry, UploadSpec, Writer
from ftransfer.storage.capabilities import PartWriter, takes_parts
from ftransfer.transfer.pump import receive_content
from ftransfer.transfer.running_digest import RunningDigest


async def handle_put(session: Session, command: Command) -> dict[str, Any]:
    """Receive a file; on the reply it is verified and published."""
    options = command.options
    announced = UploadSpec(
        size=options.get("size"),
        mtime_ns=options.get("mtime_ns"),
        mode=options.get("mode"),
        source=options.get("source", ""),
        if_absent=options.get("if_absent", False),
        durable=options.get("durable", True),
    )
    if options.get("if_match"):
        announced = announced._replace(
            replaces=await _find_match(session, command.argument, options["if_match"])
        )
    writer = await session.share.open_write(command.argument, announced)
    if (
        writer.resumed_bytes and not command.waits
    ):  # only a client that waits can be told to go on with it
        await writer.abort()
        writer = await session.share.open_write(command.argument, announced)
    if announced.size is not None:
        session.total = announced.size - writer.resumed_bytes
    digest = RunningDigest(writer)
    try:
        # Also while the file comes, since the client waits for our word all the time
        async with session.channel.heartbeats():
            event = await _receive_file(session, command, writer, digest)
            text = await _verified(session, command, event, writer.offset, digest)
            await digest.close()
            async with session.changes.publishing(
                session.participant, [str(writer.name)]
            ) as stored:
                entry = await writer.commit(text)
                if stored is not None:
                    stored(entry, text)
    except (DigestMismatch, Truncated):
        await digest.close()
        await writer.abort()
        raise
    except Aborted:
        await digest.close()
        # The last frame may have been filled up, to keep the stream in step. Parts are verified one
        # by one.
        await writer.suspend(
            discard_tail=0 if options.get("parts") else session.connection.last_payload
        )
        raise
    except BaseException:
        # The connection broke, the disk is full: what is there may be gone on with.
        await digest.close()
        await writer.suspend()
        raise
    session.digests.cache.published(entry, text)
    return {
        "name": entry.name,
        "size": entry.size,
        "digest": text,
        "mtime_ns": entry.mtime_ns,
        "durable": session.share.durable and announced.durable,
        "kept": writer.resumed_bytes,
        **({"replaced": True} if writer.replaced else {}),
    }


async def _find_match(session: Session, name: str, expected: Digest) -> Entry:
    """Return what the file is now that is to be replaced. Its digest is computed as for `checksum`,
    once for each put.

    Raises:
        ChangedMeanwhile: It has other content, or is gone.
    """
    opened_ns = session.digests.cache.now_ns()
    try:
        reader = await session.share.open_replaced(name)
    except NotFound as error:
        raise ChangedMeanwhile.about(name, "is not there any more") from error
    try:
        async with session.channel.heartbeats():
            actual = await session.digests.of(reader, opened_ns, session.share.owner)
    finally:
        await reader.close()
    if actual != expected:
        raise ChangedMeanwhile.about(
            name, "has other content than was expected; get it, then decide"
        )
    return reader.entry


async def _receive_file(
    session: Session, command: Command, writer: Writer, digest: RunningDigest
) -> Event:
    """Receive what is missing, here or in parts; give the event after it."""
    session.holding.take_block()

    def moved(count: int) -> None:
        session.moved += count

    wants_parts = bool(command.options.get("parts")) and command.waits
    in_parts = writer if wants_parts and takes_parts(writer) else None
    if writer.resumed_bytes or in_parts is not None:
        digest.allow(writer.resumed_bytes)
        digest.follow()
    if in_parts is not None:
        return await _await_parts(session, command, in_parts, digest)
    if command.waits:
        await session.channel.send(
            session.connection.send_meta(
                Meta(offset=writer.resumed_bytes, restarted=writer.restarted)
            )
        )
    return await _unless_superseded(
        session, command, writer, receive_content(session.channel, writer, digest, moved)
    )


async def _unless_superseded(
    session: Session, command: Command, writer: Writer, receiving: Coroutine[Any, Any, Event]
) -> Event:
    """Wait for what ends the content, or until a newer session takes the upload over: this one is
    told at once, also if its client sends nothing.

    Raises:
        Superseded: It was taken over.
    """
    source = command.options.get("source", "")
    if not source:
        return await receiving
    task = asyncio.create_task(receiving)
    with session.share.newest_upload(writer.name, source, task.cancel):
        try:
            return await task
        except asyncio.CancelledError:
            if (own := asyncio.current_task()) is not None and own.cancelling():
                raise
            message = "a newer upload of the same file has taken over"
            raise Superseded.about(writer.name, message) from None


async def _await_parts(
    session: Session, command: Command, writer: PartWriter, digest: RunningDigest
) -> Event:
    """Let other sessions write, and hash what they have completed; give the event that ends it."""

    def arrived(count: int) -> None:
        session.moved += count
        session.channel.note_progress(count)
        digest.allow(writer.offset)

    word = session.share.offer_parts(writer, arrived)
    try:
        meta = Meta(offset=writer.resumed_bytes, restarted=writer.restarted, upload=word)
        await session.channel.send(session.connection.send_meta(meta))
        return await _unless_superseded(
            session, command, writer, _heartbeats_until_the_end(session)
        )
    finally:
        session.share.end_parts(word)


async def _heartbeats_until_the_end(session: Session) -> Event:
    while isinstance(event := await session.channel.next_data_event(), Payload):
        if event.length:
            raise RemoteProtocolError("content where only parts may bring any")
    return event


async def handle_part(session: Session, command: Command) -> dict[str, Any]:
    """Receive a range of a file that another session puts; on the reply it is verified and in place
    there.
    """
    offset, length = command.options["offset"], command.options["length"]
    upload = session.share.find_upload(command.argument, command.options["upload"])
    part = await upload.writer.open_part(offset, length)
    session.total = length
    digest = RunningDigest(part, start=offset)
    session.holding.take_block()

    def moved(count: int) -> None:
        session.moved += count

    try:
        async with session.channel.heartbeats():
            event = await receive_content(session.channel, part, digest, moved)
            await _verified(session, command, event, part.offset, digest, start=offset)
            await digest.close()
            await part.complete()
    finally:
        await digest.close()
        await part.drop()
    upload.arrived(length)
    return {"bytes": length}


async def _verified(
    session: Session,
    command: Command,
    event: Event,
    offset: int,
    digest: RunningDigest,
    *,
    start: int = 0,
) -> str:
    """Give the digest of the bytes from `start` to `offset`, which came before this event.

    Raises:
        Aborted, Closed, RemoteProtocolError: It is not their end.
        Truncated, DigestMismatch: They are not what was sent, or not to where.
    """
    name, shown = command.argument, escape(command.argument)
    match event:
        case End(size=size):
            pass
        case ErrorReply(message=message):
            raise Aborted(f"{shown}: the sender gave up: {escape(message)}", name=name)
        case InputEnded():
            raise Closed(f"{session.peer} closed the connection in the middle of {shown}")
        case _:
            raise RemoteProtocolError(f"{type(event).__name__} in the middle of a file")
    if size != offset - start:
        message = f"{shown}: {offset - start} bytes came, {size} were sent"
        raise Truncated(message, name=name, expected=size, actual=offset - start)
    text = await digest.finish(offset)
    if text != event.digest:
        message = (
            f"{shown}: the content does not match its digest; nothing was stored, send it again"
        )
        raise DigestMismatch(message, name=name, expected=event.digest, actual=text)
    if not session.connection.has_right_head(event):
        raise DigestMismatch(
            f"{shown}: the command did not arrive as it was sent; nothing was stored, send it"
            " again",
            name=name,
        )
    return text
