"""Looking after files: what is there, what is in it, and changes to names and attributes."""

from __future__ import annotations

from typing import Any

from ftransfer.gateways.native.session import Session
from ftransfer.protocol.commands import Command
from ftransfer.storage.base import Partial
from ftransfer.transfer.packs import MAX_ITEMS, in_frames
from ftransfer.transfer.records import entry_to_wire


async def handle_stat(session: Session, command: Command) -> dict[str, Any]:
    """Describe a file or folder."""
    return entry_to_wire(await session.share.stat(command.argument))


async def handle_checksum(session: Session, command: Command) -> dict[str, Any]:
    """Give the digest of a file, if need be after reading it."""
    async with session.channel.heartbeats():
        opened_ns = session.digests.cache.now_ns()
        reader = await session.share.open_read(command.argument)
        try:
            digest = await session.digests.of(reader, opened_ns, session.share.owner)
        finally:
            await reader.close()
    return {"name": reader.entry.name, "size": reader.entry.size, "digest": digest}


async def handle_mkdir(session: Session, command: Command) -> dict[str, Any]:
    """Make a folder."""
    async with (
        session.channel.heartbeats(),
        session.changes.modifying(session.participant, command.argument),
    ):
        name = await session.share.make_folder(
            command.argument, parents=command.options.get("parents", False)
        )
    return {"name": str(name)}


async def handle_mv(session: Session, command: Command) -> dict[str, Any]:
    """Move or rename a file or folder."""
    async with (
        session.channel.heartbeats(),
        session.changes.modifying(session.participant, command.argument, command.options["to"]),
    ):
        how = {key: command.options.get(key, False) for key in ("replace", "over")}
        name = await session.share.rename(command.argument, command.options["to"], **how)
    return {"name": str(name)}


async def handle_rm(session: Session, command: Command) -> dict[str, Any]:
    """Remove a file or folder."""
    async with (
        session.channel.heartbeats(),
        session.changes.modifying(session.participant, command.argument),
    ):
        count = await session.share.remove(
            command.argument, recursive=command.options.get("recursive", False)
        )
    return {"removed": count}


async def handle_setstat(session: Session, command: Command) -> dict[str, Any]:
    """Set the time or mode of a file or folder."""
    options = command.options
    async with (
        session.channel.heartbeats(),
        session.changes.modifying(session.participant, command.argument),
    ):
        name = await session.share.set_attributes(
            command.argument, mtime_ns=options.get("mtime_ns"), mode=options.get("mode")
        )
    return {"name": str(name)}


async def handle_partials(session: Session, command: Command) -> dict[str, Any]:
    """List uploads that were cut off, or remove them."""
    clear = command.options.get("clear", False)
    choose = session.share.clear_partials if clear else session.share.partials
    async with session.channel.heartbeats():
        options = command.options
        found = await choose(
            command.argument, older_s=options.get("older_s", 0), source=options.get("source", "")
        )
        if clear:
            for partial in found:
                session.record("partials", partial.name, size=partial.kept)
        for start in range(0, len(found), MAX_ITEMS):
            items = [_partial_to_wire(partial) for partial in found[start : start + MAX_ITEMS]]
            for listing in in_frames(items, session.connection.send_list):
                await session.channel.send(listing)
    return {
        "partials": len(found),
        "bytes": sum(partial.kept for partial in found),
        "cleared": len(found) if clear else 0,
    }


def _partial_to_wire(partial: Partial) -> dict[str, Any]:
    # Not the source: with that word another client could take the upload over.
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
