"""Batches of small files: one command sends names and gets packs, or sends packs and gets outcomes.

There is no round trip in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from ftransfer.auth.permissions import Right
from ftransfer.digest import Digest
from ftransfer.errors import Aborted, Closed, FtransferError, NameRefused, RemoteProtocolError
from ftransfer.gateways.native.session import NativeSession
from ftransfer.names import SafeName, escape, parse_name
from ftransfer.protocol.commands import Command
from ftransfer.protocol.connection import InputEnded, Payload
from ftransfer.protocol.replies import ErrorReply, Finish, Listing
from ftransfer.service.memory_budget import Reservation
from ftransfer.service.publication import publish_pack
from ftransfer.storage.base import OTHER, Entry, SmallFile
from ftransfer.transfer.packs import (
    MAX_ITEMS,
    PACK_BYTES,
    encode_files,
    in_frames,
    large_to_wire,
    other_to_wire,
    receipt_of_pack,
    receipt_to_wire,
    refusal_to_wire,
    should_prefetch,
    unpack,
)
from ftransfer.transfer.pipeline import OverlappedStep, read_ahead

# The memory of a name that waits for its answer, besides its text.
_NAME_BYTES = 128
_SMALL_PACK = 64 * 1024
# This many names are checked, or items acknowledged, in one turn of the event loop.
_AT_ONCE = MAX_ITEMS

Item = SmallFile | Entry | FtransferError


class _Names(NamedTuple):
    """A frame of names, and the memory that they take."""

    names: list[str]
    room: Reservation


class _Group:
    """The content of one pack, and the memory that it takes until `drop`."""

    def __init__(self, items: Sequence[Item], room: Reservation | None = None) -> None:
        self.items = items
        self._room = room
        if room is not None:
            room.shrink(sum(len(item.data) for item in items if isinstance(item, SmallFile)))

    def drop(self) -> None:
        self.items = ()
        if self._room is not None:
            self._room.release()


async def handle_mget(native: NativeSession, command: Command) -> dict[str, Any]:
    """Send the small files that the client names, or all below a folder.

    Larger files are only described.
    """
    native.session.view.refuse_batch(Right.READ, Right.LIST)
    waiting: asyncio.Queue[_Names | None] = asyncio.Queue(1)
    is_tree = bool(command.options.get("recursive"))
    reading = asyncio.create_task(_read_names(native, None if is_tree else waiting))
    counts = {"sent": 0, "failed": 0}
    try:
        source = (
            _read_tree(native, command)
            if is_tree
            else _read_files(native, _queued(waiting, reading))
        )
        is_local = native.channel.transport.is_local
        ahead = read_ahead(source, lambda group: should_prefetch(group.items, is_local=is_local))
        async with native.channel.heartbeats(), contextlib.aclosing(ahead) as groups:
            async for group in groups:
                if reading.done():
                    await reading  # raises the client's error before everything is sent
                await _send_group(native, group.items, counts, keep_order=not is_tree)
                group.drop()
        await reading
    finally:
        reading.cancel()
        await asyncio.wait([reading])
    return {**counts, "bytes": native.operation.moved}


async def _send_group(
    native: NativeSession, items: Sequence[Item], counts: dict[str, int], *, keep_order: bool
) -> None:
    for run in _frames_of(items, keep_order=keep_order):
        if isinstance(run[0], SmallFile):
            await _send_files(native, [item for item in run if isinstance(item, SmallFile)])
            counts["sent"] += len(run)
            continue
        others = [_outcome(item) for item in run if not isinstance(item, SmallFile)]
        for outcomes in in_frames(others, native.connection.send_outcomes):
            await native.channel.send(outcomes)
        counts["failed"] += sum("error" in other for other in others)


def _frames_of(items: Sequence[Item], *, keep_order: bool) -> Iterator[Sequence[Item]]:
    """Split items into runs for packs and runs for outcomes.

    Names are answered in order; for a tree, fewer packs matter more.
    """
    if not keep_order:
        items = sorted(items, key=lambda item: not isinstance(item, SmallFile))
    for _, run in groupby(items, lambda item: isinstance(item, SmallFile)):
        yield list(run)


async def _send_files(native: NativeSession, files: Sequence[SmallFile]) -> None:
    size = sum(len(file.data) for file in files)
    native.operation.moved += size
    for buffers, _ in in_frames(files, lambda some: encode_files(native.connection, some)):
        await native.channel.send_accounted(size, *buffers)
        size = 0
    for file in files:
        native.operation.record_file("get", file)


async def _read_names(native: NativeSession, waiting: asyncio.Queue[_Names | None] | None) -> None:
    """Read the client's names until its batch is complete; without a queue, accept none."""
    while True:
        event = await native.channel.next_data_event()
        match event:
            case Listing() if waiting is None:
                raise RemoteProtocolError(
                    "names out of turn: with recursive the server names the files"
                )
            case Listing(items=names):
                assert waiting is not None
                if not set(map(type, names)) <= {str}:
                    raise RemoteProtocolError("a name of a batch is not a string")
                size = _NAME_BYTES * len(names) + sum(map(len, names))
                await waiting.put(
                    _Names(
                        list(names),
                        await native.holding.reserve(native.memory.names, size),
                    )
                )
            case Finish():
                if waiting is not None:
                    await waiting.put(None)
                return
            case ErrorReply(message=message):
                raise Aborted(f"the client gave up: {escape(message)}")
            case InputEnded():
                raise Closed(
                    f"{native.session.peer} closed the connection in the middle of a batch"
                )
            case _:
                raise RemoteProtocolError(
                    f"{type(event).__name__} in the middle of a batch of names"
                )


async def _queued(
    waiting: asyncio.Queue[_Names | None], reading: asyncio.Task[None]
) -> AsyncIterator[list[str]]:
    """Yield the names as they arrive; fail if reading them fails."""
    while True:
        getting = asyncio.create_task(waiting.get())
        try:
            await asyncio.wait([getting, reading], return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                await reading  # raises the reader's error
            batch = await getting
        finally:
            getting.cancel()
        if batch is None:
            return
        yield batch.names
        batch.room.release()


async def _read_files(
    native: NativeSession, batches: AsyncIterator[list[str]]
) -> AsyncGenerator[_Group, None]:
    """Yield the files in groups, each small enough for a pack."""
    async for batch in batches:
        for start in range(0, len(batch), _AT_ONCE):
            names = map(_checked, batch[start : start + _AT_ONCE])
            for is_refused, run in groupby(names, lambda name: isinstance(name, NameRefused)):
                if is_refused:
                    yield _Group([name for name in run if isinstance(name, NameRefused)])
                    continue
                wanted = [name for name in run if isinstance(name, SafeName)]
                while wanted:
                    room = await native.holding.reserve(native.memory.packs, PACK_BYTES)
                    items = await native.session.view.read_small(wanted, PACK_BYTES)
                    wanted = wanted[len(items) :]
                    yield _Group(items, room)


async def _read_tree(native: NativeSession, command: Command) -> AsyncGenerator[_Group, None]:
    """Yield all files below a folder in groups, each small enough for a pack."""
    tree = native.session.view.read_tree(
        command.argument, PACK_BYTES, MAX_ITEMS, others=command.options.get("others", False)
    )
    async with contextlib.aclosing(tree) as groups:
        while True:
            room = await native.holding.reserve(native.memory.packs, PACK_BYTES)
            items = await anext(groups, None)
            if items is None:
                room.release()
                return
            yield _Group(items, room)


def _checked(name: str) -> SafeName | NameRefused:
    try:
        return parse_name(name)
    except NameRefused as error:
        return error


def _outcome(item: Item) -> dict[str, Any]:
    if isinstance(item, Entry):
        return other_to_wire(item) if item.kind == OTHER else large_to_wire(item)
    assert isinstance(item, FtransferError)
    return refusal_to_wire(item.name, item)


async def handle_mput(native: NativeSession, command: Command) -> dict[str, Any]:
    """Receive packs; each is verified, published and synced as one group, and then acknowledged."""
    native.session.view.refuse_batch(Right.WRITE, Right.OVERWRITE)
    counts = {"stored": 0, "failed": 0}
    storing = OverlappedStep()  # one pack is stored while the next arrives
    try:
        async with native.channel.heartbeats():
            while (step := await _next_pack(native, counts)) is not None:
                await storing.start(step)
            await storing.finish()
    finally:
        await storing.settle()
    return {**counts, "durable": native.session.view.durable}


async def _next_pack(
    native: NativeSession, counts: dict[str, int]
) -> Coroutine[Any, Any, None] | None:
    """Receive one pack; return the coroutine that stores it, or None at the end."""
    event = await native.channel.next_data_event()
    match event:
        case Payload(length=length):
            room = await _room_for_pack(native, length, is_first=not any(counts.values()))
            files, digest = unpack(await native.channel.payload.whole(), native.limits)
            room.settle()
            return _store(native, files, digest, counts, room)
        case Finish():
            return None
        case ErrorReply(message=message):
            raise Aborted(f"the client gave up: {escape(message)}")
        case InputEnded():
            raise Closed(f"{native.session.peer} closed the connection in the middle of a batch")
        case _:
            raise RemoteProtocolError(f"{type(event).__name__} in the middle of a batch of packs")


async def _room_for_pack(native: NativeSession, length: int, *, is_first: bool) -> Reservation:
    """Reserve memory for a pack.

    A small first pack uses the budget for names, so it does not wait behind other packs; it shows
    that a client sends whole packs.
    """
    budget = native.memory.names if is_first and length <= _SMALL_PACK else native.memory.packs
    return await native.holding.reserve(budget, length, is_preferred=not is_first)


async def _store(
    native: NativeSession,
    files: Sequence[SmallFile],
    digest: Digest,
    counts: dict[str, int],
    room: Reservation,
) -> None:
    """Store and acknowledge the files of a pack, and release its memory."""
    results = await publish_pack(native.session, files)
    for start in range(0, len(files), _AT_ONCE):
        part = files[start : start + _AT_ONCE], results[start : start + _AT_ONCE]
        _count(native, *part, counts)
        if any(results):
            await _send_outcomes(native, list(map(_outcome_of, *part)))
        await asyncio.sleep(0)
    if not any(results):
        await _send_outcomes(native, [receipt_of_pack(len(files), digest)])
    room.release()


def _count(
    native: NativeSession,
    files: Sequence[SmallFile],
    results: Sequence[FtransferError | None],
    counts: dict[str, int],
) -> None:
    for file, error in zip(files, results, strict=True):
        native.operation.record_file("put", file, error)
        if error is not None:
            counts["failed"] += 1
        else:
            counts["stored"] += 1
            native.operation.moved += len(file.data)


def _outcome_of(file: SmallFile, error: FtransferError | None) -> dict[str, Any]:
    return receipt_to_wire(file) if error is None else refusal_to_wire(file.name, error)


async def _send_outcomes(native: NativeSession, outcomes: Sequence[dict[str, Any]]) -> None:
    for frame in in_frames(outcomes, native.connection.send_outcomes):
        await native.channel.send(frame)
