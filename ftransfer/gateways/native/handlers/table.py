"""One coroutine for each verb: (session, command) -> the values of the reply. Errors are raised;
the session says them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from ftransfer.digest import digest_of
from ftransfer.errors import OffsetConflict, SourceChanged
from ftransfer.gateways.native.handlers.batches import handle_mget, handle_mput
from ftransfer.gateways.native.handlers.files import (
    handle_checksum,
    handle_mkdir,
    handle_mv,
    handle_partials,
    handle_rm,
    handle_setstat,
    handle_stat,
)
from ftransfer.gateways.native.handlers.live import (
    handle_as,
    handle_listen,
    handle_say,
    handle_tell,
    handle_unlisten,
    handle_unwatch,
    handle_watch,
    handle_who,
)
from ftransfer.gateways.native.handlers.login import handle_login
from ftransfer.gateways.native.handlers.puts import handle_part, handle_put
from ftransfer.gateways.native.session import Handler, Session
from ftransfer.protocol.commands import ALIASES, VERBS, Command
from ftransfer.protocol.replies import End, Meta
from ftransfer.storage.base import Entry, Reader
from ftransfer.storage.capabilities import supports_threads
from ftransfer.transfer.packs import in_frames
from ftransfer.transfer.pump import send_content
from ftransfer.transfer.records import entry_to_wire
from ftransfer.transfer.running_digest import RunningDigest, confirm
from ftransfer.transfer.spans import span_of, span_to_wire

# Up to this size a file is read into memory and sent in one go.
_SMALL_BYTES = 256 * 1024


async def handle_dir(session: Session, command: Command) -> dict[str, Any]:
    """List a folder in frames of some hundred entries, or tell the spans of what is below it."""
    count = 0
    path, options = command.argument, command.options
    recursive, links, others = (options.get(key, False) for key in ("recursive", "links", "others"))
    async with session.channel.heartbeats():
        if recursive and options.get("spans"):
            async with aclosing(session.share.lines(path, links=links, others=others)) as runs:
                async for lines in runs:
                    await session.channel.send(
                        session.connection.send_list([span_to_wire(span_of(lines))])
                    )
                    count += len(lines)
            return {"entries": count}
        bounds = {"after": options.get("after", ""), "until": options.get("until", "")}
        async with aclosing(
            session.share.scan(path, recursive=recursive, links=links, others=others, **bounds)
        ) as batches:
            async for batch in batches:
                for listing in in_frames(
                    [entry_to_wire(entry) for entry in batch], session.connection.send_list
                ):
                    await session.channel.send(listing)
                count += len(batch)
    return {"entries": count}


async def handle_get(session: Session, command: Command) -> dict[str, Any]:
    """Send a file, or the rest or a part of it."""
    opened_ns = session.digests.cache.now_ns()
    small_bytes = min(_SMALL_BYTES, session.limits.max_chunk_bytes)
    if session.holding.take_block() < small_bytes:
        small_bytes = 0  # there is no memory to read it as a whole
    is_part = "length" in command.options
    # What goes on from an offset is digested from the beginning, as a large file is.
    whole_bytes = small_bytes if is_part or "offset" not in command.options else 0
    reader = await session.share.open_read(command.argument, whole_bytes=whole_bytes)
    try:
        meta = _plan_get(command, reader.entry)
        session.total, session.size = meta.length, meta.size
        if meta.length <= small_bytes and (is_part or meta.offset == 0):
            await _send_small(session, reader, meta)
            return {"bytes": meta.length}
        await session.channel.send(session.connection.send_meta(meta))
        if is_part:
            digest = await _send_file(session, reader, meta, start=meta.offset)
        else:
            digest = await _send_whole(session, reader, meta, opened_ns)
        session.digest = digest
        size = meta.length if is_part else meta.size
        await session.channel.send(session.connection.send_end(End(size, digest)))
    except SourceChanged as error:
        if error.name:
            raise
        raise SourceChanged.about(reader.entry.name, str(error)) from error
    finally:
        await reader.close()
    return {"bytes": meta.length}


def _plan_get(command: Command, entry: Entry) -> Meta:
    offset = command.options.get("offset", 0)
    wanted = command.options.get("identity")
    if wanted is not None and wanted != entry.identity:
        offset = 0  # the client kept a part of another version: it starts afresh
    if offset > entry.size:
        raise OffsetConflict.about(
            entry.name, f"the file has {entry.size} bytes, fewer than {offset}"
        )
    length = min(command.options.get("length", entry.size), entry.size - offset)
    return Meta(entry.name, entry.size, entry.mtime_ns, entry.mode, entry.identity, offset, length)


async def _send_small(session: Session, reader: Reader, meta: Meta) -> None:
    """Send meta, data and end together with the reply: for a small file the hops between threads
    and the packets are what costs.
    """
    data = await reader.read(meta.offset, meta.length)
    if len(data) != meta.length:
        raise SourceChanged.about(
            meta.name, "the file became shorter while it was read; get it again"
        )
    session.digest = digest_of(data)
    await confirm(reader, meta.offset, meta.offset + meta.length, session.digest)
    connection = session.connection
    frames: list[bytes] = [connection.send_meta(meta)]
    if data:
        frames += [connection.send_data_header(len(data)), data]
    frames.append(connection.send_end(End(meta.length, session.digest)))
    await session.channel.queue_content(len(data), *frames)
    session.moved += len(data)


async def _send_whole(session: Session, reader: Reader, meta: Meta, opened_ns: int) -> str:
    """Send a file to its end and give the digest of all of it, which need not be computed if it is
    known.
    """

    def moved(count: int) -> None:
        session.moved += count

    digest = session.digests.cache.find(reader.entry)
    if digest is None:
        digest = await _send_file(session, reader, meta, start=0)
        session.digests.cache.read(reader.entry, digest, opened_ns)
        return digest
    async with session.channel.heartbeats():
        await send_content(session.channel, reader, meta.offset, meta.length, None, moved)
        await confirm(reader, 0, meta.size, digest)
    return digest


async def _send_file(session: Session, reader: Reader, meta: Meta, *, start: int) -> str:
    """Send the content and give the digest of the file from `start` to the last byte that was
    sent.
    """

    def moved(count: int) -> None:
        session.moved += count

    digest = RunningDigest(reader, start=start)
    try:
        digest.allow(meta.offset)
        if digest.position < meta.offset or (
            session.channel.moves_files and supports_threads(reader)
        ):
            digest.follow()
        async with session.channel.heartbeats():
            await send_content(session.channel, reader, meta.offset, meta.length, digest, moved)
            text = await digest.finish(meta.offset + meta.length)
            await confirm(reader, start, meta.offset + meta.length, text)
        return text
    finally:
        await digest.close()


async def handle_help(session: Session, command: Command) -> dict[str, Any]:
    """List the verbs."""
    rows: Sequence[dict[str, str]] = [
        {"usage": f"{verb.word} {verb.argument}".strip(), "summary": verb.summary}
        for verb in VERBS.values()
    ]
    return {"verbs": rows, "aliases": dict(ALIASES)}


async def handle_close(session: Session, command: Command) -> dict[str, Any]:
    """End the session; the server goes on listening."""
    session.has_left = True
    return {}


HANDLERS: Mapping[str, Handler] = {
    "dir": handle_dir,
    "get": handle_get,
    "put": handle_put,
    "part": handle_part,
    "mget": handle_mget,
    "mput": handle_mput,
    "stat": handle_stat,
    "checksum": handle_checksum,
    "mkdir": handle_mkdir,
    "mv": handle_mv,
    "rm": handle_rm,
    "setstat": handle_setstat,
    "partials": handle_partials,
    "as": handle_as,
    "who": handle_who,
    "say": handle_say,
    "tell": handle_tell,
    "listen": handle_listen,
    "unlisten": handle_unlisten,
    "watch": handle_watch,
    "unwatch": handle_unwatch,
    "login": handle_login,
    "help": handle_help,
    "close": handle_close,
}
