"""The verbs put and part: a file at once, or in parts over several sessions."""

from __future__ import annotations

from typing import Any

from ftransfer.errors import Aborted, Closed, DigestMismatch, RemoteProtocolError
from ftransfer.gateways.native.session import NativeSession
from ftransfer.names import escape
from ftransfer.protocol.commands import Command
from ftransfer.protocol.connection import Event, InputEnded, Payload
from ftransfer.protocol.replies import End, ErrorReply, Meta
from ftransfer.service.upload import Upload, find_replaced
from ftransfer.service.upload_part import UploadPart
from ftransfer.storage.base import UploadSpec
from ftransfer.transfer.pump import receive_content


async def handle_put(native: NativeSession, command: Command) -> dict[str, Any]:
    """Receive a file; when the reply is sent, it is verified and published."""
    spec = await _spec(native, command)
    # Only a client that waits can be told from where the content is needed
    async with await Upload.begin(native.operation, spec, can_resume=command.waits) as upload:
        # Also while the file arrives, since the client waits for a sign of life all the time
        async with native.channel.heartbeats():
            event = await _receive_file(native, command, upload)
            try:
                end = _expect_end(native, command, event)
            except Aborted:
                # The last frame may be padding, to keep the stream in step. Parts are verified one
                # by one.
                tail = 0 if command.options.get("parts") else native.connection.last_payload
                await upload.suspend(discard_tail=tail)
                raise
            receipt = await upload.finish(end.digest, size=end.size)
    entry = receipt.entry
    return {
        "name": entry.name,
        "size": entry.size,
        "digest": receipt.digest,
        "mtime_ns": entry.mtime_ns,
        "durable": receipt.durable,
        "kept": receipt.resumed_bytes,
        **({"replaced": True} if receipt.replaced else {}),
    }


async def _spec(native: NativeSession, command: Command) -> UploadSpec:
    options = command.options
    spec = UploadSpec(
        size=options.get("size"),
        mtime_ns=options.get("mtime_ns"),
        mode=options.get("mode"),
        source=options.get("source", ""),
        if_absent=options.get("if_absent", False),
        durable=options.get("durable", True),
    )
    if expected := options.get("if_match"):
        async with native.channel.heartbeats():
            replaced = await find_replaced(native.session, command.argument, expected)
        spec = spec._replace(replaces=replaced)
    return spec


async def _receive_file(native: NativeSession, command: Command, upload: Upload) -> Event:
    """Receive what is missing, here or in parts; return the event after it."""
    native.holding.take_block()
    source = command.options.get("source", "")
    if command.options.get("parts") and command.waits and upload.takes_parts:
        with upload.taking_parts(native.channel.progress.note) as upload_id:
            await _send_meta(native, upload, upload_id)
            return await upload.unless_superseded(source, _await_end_of_parts(native))
    if command.waits:
        await _send_meta(native, upload)
    content = receive_content(native.channel, upload.sink, upload.digest, upload.note_moved)
    return await upload.unless_superseded(source, content)


async def _send_meta(native: NativeSession, upload: Upload, upload_id: str = "") -> None:
    meta = Meta(offset=upload.resumed_bytes, restarted=upload.restarted, upload=upload_id)
    await native.channel.send(native.connection.send_meta(meta))


async def _await_end_of_parts(native: NativeSession) -> Event:
    """Receive heartbeats until another event arrives."""
    while isinstance(event := await native.channel.next_data_event(), Payload):
        if event.length:
            raise RemoteProtocolError("content where only parts may bring any")
    return event


async def handle_part(native: NativeSession, command: Command) -> dict[str, Any]:
    """Receive a range of a file that another session puts.

    When the reply is sent, the range is verified and in place.
    """
    options, length = command.options, command.options["length"]
    async with await UploadPart.begin(
        native.operation, options["upload"], options["offset"], length
    ) as part:
        native.holding.take_block()
        async with native.channel.heartbeats():
            event = await receive_content(native.channel, part.sink, part.digest, part.note_moved)
            end = _expect_end(native, command, event)
            await part.finish(end.digest, size=end.size)
    part.note_arrived(length)
    return {"bytes": length}


def _expect_end(native: NativeSession, command: Command, event: Event) -> End:
    """Return the event that ends the content.

    Raises:
        Aborted, Closed, RemoteProtocolError: It is another event.
        DigestMismatch: The command was changed in transit.
    """
    name = command.argument
    match event:
        case End():
            pass
        case ErrorReply(message=message):
            raise Aborted.about(name, f"the sender gave up: {escape(message)}")
        case InputEnded():
            peer = native.session.peer
            raise Closed(f"{peer} closed the connection in the middle of {escape(name)}")
        case _:
            raise RemoteProtocolError(f"{type(event).__name__} in the middle of a file")
    if not native.connection.has_right_head(event):
        message = "the command did not arrive as it was sent; nothing was stored, send it again"
        raise DigestMismatch.about(name, message)
    return event
