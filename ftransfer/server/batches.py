"""Many small files in one command: names in and packs out, or packs in and outcomes out, with no round trip between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from itertools import groupby
from typing import Any

from ftransfer.digest import Digest
from ftransfer.errors import Aborted, Closed, FtransferError, NameRefused, RemoteProtocolError
from ftransfer.jobs import Room
from ftransfer.names import SafeName, escape, parse_name
from ftransfer.protocol.commands import Command
from ftransfer.protocol.connection import InputEnded, Payload
from ftransfer.protocol.replies import ErrorReply, Finish, Listing
from ftransfer.rights import Right
from ftransfer.server.session import Session
from ftransfer.storage.base import Entry, SmallFile
from ftransfer.transfer.packs import (
    MAX_ITEMS,
    PACK_BYTES,
    encode_files,
    in_frames,
    is_worth_reading_ahead,
    large_to_wire,
    receipt_of_pack,
    receipt_to_wire,
    refusal_to_wire,
    unpack,
)
from ftransfer.transfer.pipeline import OneBehind, read_ahead

# Frames of names that may wait to be answered; the client is not read any further until some have been.
_NAME_FRAMES = 4

Names = Sequence[SafeName | NameRefused]
Item = SmallFile | Entry | FtransferError


async def handle_mget(session: Session, command: Command) -> dict[str, Any]:
    """Send the small files that the client names, or all below a folder; say of the larger ones that they are."""
    session.share.refuse_batch(Right.READ, Right.LIST)
    waiting: asyncio.Queue[Names | None] = asyncio.Queue(_NAME_FRAMES)
    is_recursive = command.options.get("recursive", False)
    reading = asyncio.create_task(_read_names(session, None if is_recursive else waiting))
    sent = failed = 0
    try:
        if is_recursive:
            source = session.share.read_tree(command.argument, PACK_BYTES, MAX_ITEMS)
        else:
            source = _read_files(session, _queued(waiting, reading))
        is_local = session.channel.link.is_local
        ahead = read_ahead(source, lambda items: is_worth_reading_ahead(items, is_local=is_local))
        async with session.channel.heartbeats(), contextlib.aclosing(ahead) as groups:
            async for items in groups:
                if reading.done():
                    await reading  # raises what the client did wrong, before all is sent
                for run in _frames_of(items, keep_order=not is_recursive):
                    if isinstance(run[0], SmallFile):
                        await _send_files(session, [item for item in run if isinstance(item, SmallFile)])
                        sent += len(run)
                        continue
                    others = [_outcome(item) for item in run if not isinstance(item, SmallFile)]
                    for outcomes in in_frames(others, session.connection.send_outcomes):
                        await session.channel.send(outcomes)
                    failed += sum("error" in other for other in others)
        await reading
    finally:
        reading.cancel()
        await asyncio.wait([reading])
    return {"sent": sent, "failed": failed, "bytes": session.moved}


def _frames_of(items: Sequence[Item], *, keep_order: bool) -> Iterator[Sequence[Item]]:
    """Cut into what goes into packs and what into outcomes. Names are answered in order; of a tree few packs are worth more."""
    if not keep_order:
        items = sorted(items, key=lambda item: not isinstance(item, SmallFile))
    for _, run in groupby(items, lambda item: isinstance(item, SmallFile)):
        yield list(run)


async def _send_files(session: Session, files: Sequence[SmallFile]) -> None:
    size = sum(len(file.data) for file in files)
    session.moved += size
    for buffers, _ in in_frames(files, lambda some: encode_files(session.connection, some)):
        await session.channel.send_content(size, *buffers)
        size = 0
    for file in files:
        session.record("get", file.name, size=len(file.data), digest=file.digest)


async def _read_names(session: Session, waiting: asyncio.Queue[Names | None] | None) -> None:
    """Take the client's names in until its batch is complete; without a queue there must be none."""
    while True:
        event = await session.channel.next_data_event()
        match event:
            case Listing() if waiting is None:
                raise RemoteProtocolError("names out of turn: with recursive the server names the files")
            case Listing(items=items):
                assert waiting is not None
                await waiting.put([_checked(item) for item in items])
            case Finish():
                if waiting is not None:
                    await waiting.put(None)
                return
            case ErrorReply(message=message):
                raise Aborted(f"the client gave up: {escape(message)}")
            case InputEnded():
                raise Closed(f"{session.peer} closed the connection in the middle of a batch")
            case _:
                raise RemoteProtocolError(f"{type(event).__name__} in the middle of a batch of names")


def _checked(item: Any) -> SafeName | NameRefused:
    if not isinstance(item, str):
        raise RemoteProtocolError("a name of a batch is not a string")
    try:
        return parse_name(item)
    except NameRefused as error:
        return error


async def _queued(waiting: asyncio.Queue[Names | None], reading: asyncio.Task[None]) -> AsyncIterator[Names]:
    """Give the names as they come; if the reading of them fails, so does this."""
    while True:
        getting = asyncio.create_task(waiting.get())
        try:
            await asyncio.wait([getting, reading], return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                await reading  # raises what went wrong
            names = await getting
        finally:
            getting.cancel()
        if names is None:
            return
        yield names


async def _read_files(session: Session, names: AsyncIterator[Names]) -> AsyncGenerator[Sequence[Item], None]:
    """Give the files in groups, each small enough for a pack."""
    async for batch in names:
        for is_refused, run in groupby(batch, lambda name: isinstance(name, NameRefused)):
            if is_refused:
                yield [name for name in run if isinstance(name, NameRefused)]
                continue
            wanted = [name for name in run if isinstance(name, SafeName)]
            while wanted:
                items = await session.share.read_small(wanted[:MAX_ITEMS], PACK_BYTES)
                wanted = wanted[len(items) :]
                yield items


def _outcome(item: Item) -> dict[str, Any]:
    if isinstance(item, Entry):
        return large_to_wire(item)
    assert isinstance(item, FtransferError)
    return refusal_to_wire(item.name, item)


async def handle_mput(session: Session, command: Command) -> dict[str, Any]:
    """Receive packs; each is verified, published and synced as one group, and then acknowledged."""
    session.share.refuse_batch(Right.WRITE, Right.OVERWRITE)
    counts = {"stored": 0, "failed": 0}
    storing = OneBehind()
    rooms = (Room(), Room())  # one pack is stored while the next comes in
    try:
        async with session.channel.heartbeats():
            while (payload := await _next_pack(session, rooms[0])) is not None:
                rooms = rooms[::-1]
                await storing.start(_store(session, *unpack(payload, session.limits), counts))
            await storing.finish()
    finally:
        await storing.settle()
    return {**counts, "durable": session.share.durable}


async def _next_pack(session: Session, room: Room) -> memoryview | None:
    event = await session.channel.next_data_event()
    match event:
        case Payload():
            return await session.channel.whole_payload(room)
        case Finish():
            return None
        case ErrorReply(message=message):
            raise Aborted(f"the client gave up: {escape(message)}")
        case InputEnded():
            raise Closed(f"{session.peer} closed the connection in the middle of a batch")
        case _:
            raise RemoteProtocolError(f"{type(event).__name__} in the middle of a batch of packs")


async def _store(session: Session, files: Sequence[SmallFile], digest: Digest, counts: dict[str, int]) -> None:
    async with session.changes.storing(session.seat, (file.name for file in files)) as stored:
        results = await session.share.write_small(files)
        if stored is not None:
            for file, error in zip(files, results, strict=True):
                if error is None:
                    size = len(file.data)
                    stored(Entry(file.name, file.kind, size, file.mtime_ns, file.mode, target=file.target), file.digest)
    for file, error in zip(files, results, strict=True):
        if error is not None:
            counts["failed"] += 1
            session.record("put", file.name, result=error.code)
        else:
            counts["stored"] += 1
            session.moved += len(file.data)
            session.record("put", file.name, size=len(file.data), digest=file.digest)
    outcomes = [receipt_of_pack(len(files), digest)]
    if any(results):
        outcomes = [
            receipt_to_wire(file) if error is None else refusal_to_wire(file.name, error)
            for file, error in zip(files, results, strict=True)
        ]
    for frame in in_frames(outcomes, session.connection.send_outcomes):
        await session.channel.send(frame)
