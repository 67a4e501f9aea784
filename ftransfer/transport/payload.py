"""The payload of a data or pack frame that has begun: in pieces, whole, or discarded."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ftransfer.errors import Closed
from ftransfer.protocol.connection import Connection
from ftransfer.system.threads import reusable_buffer
from ftransfer.transport.base import Buffer, DirectTransport, Transport
from ftransfer.transport.loop_turn import LoopTurn
from ftransfer.transport.progress import TransferProgress

# TLS decrypts as it receives: one call for a whole pack would exceed a turn.
_RECEIVED_AT_ONCE = 256 * 1024


class PayloadReader:
    """Reads payloads of one connection on the event loop. At most one task reads at a time.

    Raises (all):
        TimedOut: Nothing came for `stall_s`, or too little.
        Closed: The peer closed in the middle, or the connection broke.
    """

    __slots__ = ("_connection", "_progress", "_stall_s", "_transport", "_turn")

    def __init__(
        self,
        transport: Transport,
        connection: Connection,
        progress: TransferProgress,
        turn: LoopTurn,
        stall_s: float,
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._progress = progress
        self._turn = turn
        self._stall_s = stall_s

    async def pieces(self) -> AsyncIterator[Buffer]:
        """Yield the payload in pieces as they come."""
        connection = self._connection
        while connection.payload_left:
            data: Buffer = connection.take_payload(connection.payload_left)
            if not data:
                data = await self._read()
                if not data:
                    continue
            await self._came(len(data))
            yield data

    async def whole(self) -> memoryview:
        """Return the payload as one buffer; its length is bounded by limits.max_chunk_bytes."""
        whole = reusable_buffer(self._connection.payload_left)
        position = 0
        if self._transport.direct is not None:
            position = await self._receive_into(self._transport.direct, whole)
        async for piece in self.pieces():
            whole[position : position + len(piece)] = piece
            position += len(piece)
        return whole

    async def discard(self) -> None:
        """Read the payload and discard it."""
        async for _ in self.pieces():
            pass

    async def _read(self) -> Buffer:
        connection = self._connection
        await self._turn.take()
        data = await self._transport.read(self._stall_s)
        if not data:
            raise self._cut()
        if len(data) > connection.payload_left:
            connection.receive_bytes(data)
            return b""
        connection.payload_moved(len(data))
        return data

    async def _receive_into(self, direct: DirectTransport, whole: memoryview) -> int:
        """Fill a buffer directly from the socket; return the number of bytes."""
        early = self._connection.take_payload(len(whole))
        filled = len(early)
        whole[:filled] = early
        await self._came(filled)
        while filled < len(whole):
            await self._turn.take()
            count = direct.receive_into(whole[filled : filled + _RECEIVED_AT_ONCE])
            if count is None:
                await direct.wait_readable(self._stall_s, len(whole) - filled)
            elif count == 0:
                raise self._cut()
            else:
                self._connection.payload_moved(count)
                filled += count
                await self._came(count)
        return filled

    async def _came(self, count: int) -> None:
        await self._progress.receive(count, is_mid_frame=self._connection.payload_left > 0)

    def _cut(self) -> Closed:
        return Closed(f"{self._transport.peer} closed the connection in the middle of a frame")
