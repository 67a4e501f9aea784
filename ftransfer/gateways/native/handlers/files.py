"""The verbs for files and folders: listing, description, and changes of names and attributes."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from ftransfer.gateways.native.session import NativeSession
from ftransfer.protocol.commands import Command
from ftransfer.service import files
from ftransfer.storage.base import Partial
from ftransfer.transfer.packs import MAX_ITEMS, in_frames
from ftransfer.transfer.records import entry_to_wire
from ftransfer.transfer.spans import span_of, span_to_wire


async def handle_dir(native: NativeSession, command: Command) -> dict[str, Any]:
    """List a folder in frames of some hundred entries, or send the range digests of its tree."""
    options = command.options
    async with native.channel.heartbeats():
        if options.get("recursive") and options.get("spans"):
            return {"entries": await _send_spans(native, command)}
        how = {key: options.get(key, False) for key in ("recursive", "links", "others")}
        bounds = {key: options.get(key, "") for key in ("after", "until")}
        batches = native.session.view.scan(command.argument, **how, **bounds)
        count = 0
        async with aclosing(batches):
            async for batch in batches:
                items = [entry_to_wire(entry) for entry in batch]
                for listing in in_frames(items, native.connection.send_list):
                    await native.channel.send(listing)
                count += len(batch)
    return {"entries": count}


async def _send_spans(native: NativeSession, command: Command) -> int:
    """Send the range digests; return the number of entries in them."""
    how = {key: command.options.get(key, False) for key in ("links", "others")}
    count = 0
    async with aclosing(native.session.view.lines(command.argument, **how)) as runs:
        async for lines in runs:
            listing = native.connection.send_list([span_to_wire(span_of(lines))])
            await native.channel.send(listing)
            count += len(lines)
    return count


async def handle_stat(native: NativeSession, command: Command) -> dict[str, Any]:
    """Describe a file or folder."""
    return entry_to_wire(await native.session.view.stat(command.argument))


async def handle_checksum(native: NativeSession, command: Command) -> dict[str, Any]:
    """Return the digest of a file, reading it if necessary."""
    async with native.channel.heartbeats():
        entry, digest = await files.checksum(native.session, command.argument)
    return {"name": entry.name, "size": entry.size, "digest": digest}


async def handle_mkdir(native: NativeSession, command: Command) -> dict[str, Any]:
    """Create a folder."""
    parents = command.options.get("parents", False)
    async with native.channel.heartbeats():
        name = await files.make_folder(native.session, command.argument, parents=parents)
    return {"name": str(name)}


async def handle_mv(native: NativeSession, command: Command) -> dict[str, Any]:
    """Move or rename a file or folder."""
    how = {key: command.options.get(key, False) for key in ("replace", "over")}
    async with native.channel.heartbeats():
        name = await files.move(native.session, command.argument, command.options["to"], **how)
    return {"name": str(name)}


async def handle_rm(native: NativeSession, command: Command) -> dict[str, Any]:
    """Remove a file or folder."""
    recursive = command.options.get("recursive", False)
    async with native.channel.heartbeats():
        count = await files.remove(native.session, command.argument, recursive=recursive)
    return {"removed": count}


async def handle_setstat(native: NativeSession, command: Command) -> dict[str, Any]:
    """Set the time or mode of a file or folder."""
    how = {key: command.options.get(key) for key in ("mtime_ns", "mode")}
    async with native.channel.heartbeats():
        name = await files.set_attributes(native.session, command.argument, **how)
    return {"name": str(name)}


async def handle_partials(native: NativeSession, command: Command) -> dict[str, Any]:
    """List interrupted uploads, or remove them."""
    options, session = command.options, native.session
    which: dict[str, Any] = {
        "older_s": options.get("older_s", 0),
        "source": options.get("source", ""),
    }
    clear = options.get("clear", False)
    async with native.channel.heartbeats():
        if clear:
            found = await files.clear_partials(session, command.argument, **which)
        else:
            found = await session.view.partials(command.argument, **which)
        for start in range(0, len(found), MAX_ITEMS):
            items = [_partial_to_wire(partial) for partial in found[start : start + MAX_ITEMS]]
            for listing in in_frames(items, native.connection.send_list):
                await native.channel.send(listing)
    return {
        "partials": len(found),
        "bytes": sum(partial.kept for partial in found),
        "cleared": len(found) if clear else 0,
    }


def _partial_to_wire(partial: Partial) -> dict[str, Any]:
    # Not the source: with that token another client could take the upload over.
    value: dict[str, Any] = {
        "name": partial.name,
        "kept": partial.kept,
        "mtime_ns": partial.mtime_ns,
    }
    if partial.size is not None:
        value["size"] = partial.size
    if partial.owner:
        value["owner"] = partial.owner
    return value
