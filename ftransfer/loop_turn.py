"""One connection's turn of the event loop, so that nobody has it for long while others wait. A leaf.

A read or a write does not suspend while bytes, or room for them, are there: a peer that sends without pause would keep the loop.
Only such a peer ever uses its turn up; whoever really waits for something in between begins a new one each time.
"""

from __future__ import annotations

import asyncio

# Whoever never pauses has the loop for so long at a time. Giving it up costs some 20 us.
_TURN_S = 0.00025
# When all the others together take longer than this, many do not pause. Then they stay away for some rounds, which leaves the loop
# to those who want it now and then: they need many turns for one transfer.
_BUSY_S = 0.002
_ROUNDS = 3
_LONGEST_PAUSE_S = 0.02


class LoopTurn:
    """To be asked by one connection before each thing that it does on the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_mine = False  # the loop has run nothing else since the turn began
        self._ends = 0.0

    async def take(self) -> None:
        """Give the loop to the others, if this connection has used its turn up."""
        if self._is_mine:
            if self._loop.time() < self._ends:
                return
            began = self._loop.time()
            await asyncio.sleep(0)
            round_s = self._loop.time() - began
            if round_s > _BUSY_S:
                await asyncio.sleep(min(_ROUNDS * round_s, _LONGEST_PAUSE_S))
        self._is_mine = True
        self._ends = self._loop.time() + _TURN_S
        self._loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        self._is_mine = False
