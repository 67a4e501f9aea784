"""The verb get: a whole file, the rest of one, or a part."""

from __future__ import annotations

from typing import Any

from ftransfer.digest import Digest, digest_of
from ftransfer.errors import OffsetConflict, SourceChanged
from ftransfer.gateways.native.session import NativeSession
from ftransfer.protocol.commands import Command
from ftransfer.protocol.replies import End, Meta
from ftransfer.service.download import Download
from ftransfer.storage.base import Entry
from ftransfer.storage.capabilities import supports_threads
from ftransfer.transfer.pump import send_content
from ftransfer.transfer.running_digest import RunningDigest
from ftransfer.transport.channel import frame_data

# Up to this size a file is read into memory and sent at once.
_SMALL_BYTES = 256 * 1024


async def handle_get(native: NativeSession, command: Command) -> dict[str, Any]:
    """Send a file, the rest of it, or a part."""
    small_bytes = min(_SMALL_BYTES, native.limits.max_chunk_bytes)
    if native.holding.take_block() < small_bytes:
        small_bytes = 0  # not enough memory to read it as a whole
    is_part = "length" in command.options
    # A resumed file is digested from the beginning, like a large file.
    whole_bytes = small_bytes if is_part or "offset" not in command.options else 0
    async with await Download.open(native.operation, whole_bytes=whole_bytes) as download:
        meta = _plan(command, download.entry)
        native.operation.total, native.operation.size = meta.length, meta.size
        if meta.length <= small_bytes and (is_part or meta.offset == 0):
            await _send_small(native, download, meta)
            return {"bytes": meta.length}
        await native.channel.send(native.connection.send_meta(meta))
        if is_part:
            digest = await _send_content(native, download, meta, start=meta.offset)
        else:
            digest = await _send_whole(native, download, meta)
        size = meta.length if is_part else meta.size
        await native.channel.send(native.connection.send_end(End(size, digest)))
    return {"bytes": meta.length}


def _plan(command: Command, entry: Entry) -> Meta:
    offset = command.options.get("offset", 0)
    wanted = command.options.get("identity")
    if wanted is not None and wanted != entry.identity:
        offset = 0  # the client has a part of another version: start afresh
    if offset > entry.size:
        raise OffsetConflict.about(
            entry.name, f"the file has {entry.size} bytes, fewer than {offset}"
        )
    length = min(command.options.get("length", entry.size), entry.size - offset)
    return Meta(entry.name, entry.size, entry.mtime_ns, entry.mode, entry.identity, offset, length)


async def _send_small(native: NativeSession, download: Download, meta: Meta) -> None:
    """Send meta, data and end together with the reply.

    For a small file the thread switches and packets are the cost.
    """
    data = await download.reader.read(meta.offset, meta.length)
    if len(data) != meta.length:
        raise SourceChanged.about(
            meta.name, "the file became shorter while it was read; get it again"
        )
    digest = digest_of(data)
    await download.check(digest, meta.offset, meta.offset + meta.length)
    connection = native.connection
    frames = [connection.send_meta(meta), *frame_data(connection, data)]
    frames.append(connection.send_end(End(meta.length, digest)))
    await native.channel.queue_content(len(data), *frames)
    download.note_moved(len(data))


async def _send_whole(native: NativeSession, download: Download, meta: Meta) -> Digest:
    """Send a file to its end; return its whole digest, which is not computed if known."""
    digest = download.known_digest()
    if digest is None:
        digest = await _send_content(native, download, meta, start=0)
        download.remember(digest)
        return digest
    async with native.channel.heartbeats():
        await send_content(
            native.channel, download.reader, meta.offset, meta.length, None, download.note_moved
        )
        await download.check(digest, 0, meta.size)
    return digest


async def _send_content(
    native: NativeSession, download: Download, meta: Meta, *, start: int
) -> Digest:
    """Send the content; return the digest of the file from `start` to the last byte sent."""
    channel, reader, end = native.channel, download.reader, meta.offset + meta.length
    digest = RunningDigest(reader, start=start)
    try:
        digest.allow(meta.offset)
        if digest.position < meta.offset or (channel.moves_files and supports_threads(reader)):
            digest.follow()
        async with channel.heartbeats():
            await send_content(
                channel, reader, meta.offset, meta.length, digest, download.note_moved
            )
            found = await digest.finish(end)
            await download.check(found, start, end)
        return found
    finally:
        await digest.close()
