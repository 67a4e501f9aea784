"""One connection's turn of the event loop, so that nobody has it for long while others wait. A
leaf.

A read or a write does not suspend while bytes, or room for them, are there: a peer that sends
without pause would keep the loop. And one for which the server has to wait a moment now and then is
back in each round, so what is used is counted over rounds.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

# Whoever does not pause has the loop for so long at a time. Giving it up costs some 20 us.
_TURN_S = 0.00025
# A round of the loop in which so many connections have a turn, and which takes so long, is crowded.
# Then one that has used it a lot stays away for as long as leaves half of the loop to those who
# want it now and then: they need many turns for one transfer.
_CROWD = 4
_CROWDED_S = 0.002
_MUCH_S = 0.00025
_FORGOTTEN = 0.01  # of what was used, in seconds for each second that passes
_AWAY = 4  # times what all of the crowd would use; what can be seen of it is about the half
_LONGEST_AWAY_S = 0.15


class _Rounds:
    """The rounds of one event loop: what it runs before it looks for input again."""

    def __init__(self) -> None:
        self.number = 0
        self.crowd = 0  # how many connections had a turn in the last one, if it was crowded
        self._turns = 0
        self._began = 0.0

    def begin_turn(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        if not self._turns:
            self._began = now
            loop.call_soon(self._end, loop)
        self._turns += 1

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        is_crowded = self._turns >= _CROWD and loop.time() - self._began > _CROWDED_S
        self.crowd = self._turns if is_crowded else 0
        self._turns = 0
        self.number += 1


# They must not refer to their loop, which would then never go.
_rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Rounds] = WeakKeyDictionary()


class LoopTurn:
    """To be asked by one connection before each thing that it does on the loop."""

    __slots__ = ("_asked", "_began", "_loop", "_round", "_rounds", "_used_s")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rounds = _rounds.setdefault(self._loop, _Rounds())
        self._round = -1  # in which the turn began
        self._began = self._asked = 0.0
        self._used_s = 0.0  # lately, as far as it can be seen: from one question to the next

    async def take(self) -> None:
        """Give the loop to the others, if this connection has used its turn up, or a lot of it
        while many want it.
        """
        now, rounds = self._loop.time(), self._rounds
        passed_s, self._asked = now - self._asked, now
        if self._round == rounds.number:  # the loop has run nothing else since
            self._used_s += passed_s
            if now - self._began < _TURN_S:
                return
            await asyncio.sleep(0)
        else:
            self._used_s = max(0.0, self._used_s - _FORGOTTEN * passed_s)
        if rounds.crowd and self._used_s > _MUCH_S:
            away_s, self._used_s = _AWAY * rounds.crowd * self._used_s, 0.0
            await asyncio.sleep(min(away_s, _LONGEST_AWAY_S))
        self._round = rounds.number
        self._began = self._asked = self._loop.time()
        rounds.begin_turn(self._loop, self._began)
