"""Content through the channel: from a reader to data frames, and back to a writer, with a digest.

Files and sockets that threads can use have one implementation, everything else has another. Memory
is bounded in both, whatever the size.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from ftransfer.errors import ChannelError, SourceChanged
from ftransfer.protocol.connection import Event, Payload
from ftransfer.protocol.framing import Kind
from ftransfer.storage.base import Reader
from ftransfer.storage.capabilities import supports_threads
from ftransfer.transfer.running_digest import RunningDigest

# The general implementation reads and writes in blocks of this size: one thread hop each.
BLOCK = 1 << 20

Moved = Callable[[int], None]
FeedAt = Callable[[int, memoryview], None]


class Outlet(Protocol):
    """The sending half of a channel."""

    block_bytes: int

    @property
    def moves_files(self) -> bool: ...
    async def send_data(self, data: bytes | bytearray | memoryview) -> None: ...
    async def send_file(
        self,
        source: Any,
        offset: int,
        length: int,
        feed: FeedAt | None,
        moved: Moved,
        proceed: Callable[[], bool],
    ) -> None: ...


class Pieces(Protocol):
    """The payload of the current frame (transport.payload.PayloadReader)."""

    def pieces(self) -> AsyncIterator[bytes | bytearray | memoryview]: ...


class Inlet(Protocol):
    """The receiving half of a channel."""

    block_bytes: int

    @property
    def moves_files(self) -> bool: ...
    async def next_data_event(self) -> Event: ...
    @property
    def payload(self) -> Pieces: ...
    async def receive_to_file(
        self, sink: Any, feed: Callable[[memoryview], None], moved: Moved
    ) -> Event: ...


class Sink(Protocol):
    """The destination of content: a storage Writer or Part, or a stream."""

    @property
    def offset(self) -> int: ...
    async def write(self, data: bytes | bytearray | memoryview) -> None: ...


async def send_content(
    outlet: Outlet,
    reader: Reader,
    offset: int,
    length: int,
    digest: RunningDigest | None,
    moved: Moved,
    proceed: Callable[[], bool] = lambda: True,
) -> None:
    """Send `length` bytes of a file from `offset` as data frames.

    Args:
        digest: Hashes them at the same time; None if it is already known.
        proceed: Called before each frame; if it returns False, the rest is not sent.

    Raises:
        SourceChanged: The file ended early. The stream is in step, and the transfer can be ended
            with an error frame.
    """
    position = offset

    def sent(count: int) -> None:
        nonlocal position
        position += count
        if digest is not None:
            digest.allow(position)
        moved(count)

    if outlet.moves_files and supports_threads(reader):
        await outlet.send_file(
            reader, offset, length, digest.feed if digest is not None else None, sent, proceed
        )
        return
    while position < offset + length and proceed():
        data = await reader.read(position, min(outlet.block_bytes, offset + length - position))
        if not data:
            raise SourceChanged("the file became shorter while it was sent")
        if digest is not None:
            digest.feed(position, data)
        await outlet.send_data(data)
        sent(len(data))


async def receive_content(inlet: Inlet, sink: Sink, digest: RunningDigest, moved: Moved) -> Event:
    """Receive data frames into a sink until another event arrives; return that event.

    Raises:
        Truncated: More data arrived than was announced.
        DiskFull, QuotaFull, StoreFailed, Superseded: From the sink. The frames that follow are
            still in the channel.
    """

    def received(count: int) -> None:
        digest.allow(sink.offset)
        moved(count)

    def feed(data: memoryview) -> None:
        digest.feed(sink.offset - len(data), data)

    while True:
        event = await inlet.next_data_event()
        if not (isinstance(event, Payload) and event.kind is Kind.DATA):
            return event
        if inlet.moves_files and supports_threads(sink) and event.length:
            return await inlet.receive_to_file(sink, feed, received)
        await _receive_frame(inlet, sink, feed, received)


async def _receive_frame(
    inlet: Inlet, sink: Sink, feed: Callable[[memoryview], None], received: Moved
) -> None:
    """Gather the pieces of one frame into blocks: one thread hop for each block, not each piece."""
    block = bytearray()
    try:
        async for piece in inlet.payload.pieces():
            block += piece
            if len(block) >= inlet.block_bytes:
                full, block = block, bytearray()
                await _store(sink, full, feed, received)
    except ChannelError:
        if block:  # otherwise a connection that breaks within every block would make no progress
            await _store(sink, block, feed, received)
        raise
    if block:
        await _store(sink, block, feed, received)


async def _store(
    sink: Sink, block: bytearray, feed: Callable[[memoryview], None], received: Moved
) -> None:
    await sink.write(block)
    with memoryview(block) as view:
        feed(view)
    received(len(block))
