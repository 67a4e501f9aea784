"""The memory that one session holds for content while it answers a command."""

from __future__ import annotations

import asyncio

from ftransfer.errors import Busy
from ftransfer.service.memory_budget import MemoryBudget, Reservation
from ftransfer.service.session import Session
from ftransfer.transport.channel import BLOCK_BYTES, Channel

# The size that a thread copies at once; then the size for each of a thousand sessions when there is
# no memory for that.
_COPIED = 256 * 1024
_LEAST_BLOCK = 16 * 1024


class Holding:
    """The memory that a session has reserved.

    The session releases it when the command is answered; a handler that needs it no longer may do
    so earlier.
    """

    def __init__(self, session: Session, channel: Channel, patience_s: float) -> None:
        self._session = session
        self._memory = session.service.memory
        self._channel = channel
        self._patience_s = patience_s
        self._open: list[Reservation] = []

    async def reserve(
        self, budget: MemoryBudget, count: int, *, is_preferred: bool = False
    ) -> Reservation:
        """Reserve memory, waiting in turn; nothing is read from the peer meanwhile.

        Raises:
            Busy: There was none for `patience_s`.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._patience_s):
                return self._kept(
                    await budget.reserve(
                        self._session.owner,
                        count,
                        self._channel.transport,
                        is_preferred=is_preferred,
                    )
                )
        except TimeoutError:
            raise Busy("the server has no memory left for content; try again later") from None
        finally:
            self._channel.progress.excuse(clock() - began)

    async def reserve_frame(self, count: int) -> Reservation:
        """Reserve memory for a frame that is read as a whole; see reserve."""
        return await self.reserve(self._memory.names, count)

    def take_block(self) -> int:
        """Set the channel's block size to what memory allows now; return it."""
        size = _COPIED if self._channel.moves_files else BLOCK_BYTES
        reservation = self._memory.blocks.try_reserve(self._session.owner, size)
        if reservation is not None:
            self._kept(reservation)
        self._channel.block_bytes = size if reservation is not None else _LEAST_BLOCK
        return self._channel.block_bytes

    def release(self) -> None:
        """Release all that is still held."""
        for reservation in self._open:
            reservation.release()
        self._open.clear()

    def _kept(self, reservation: Reservation) -> Reservation:
        self._open = [each for each in self._open if each.count]
        self._open.append(reservation)
        return reservation
