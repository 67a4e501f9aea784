"""A connection's turn on the event loop, so that no connection holds it while others wait. A leaf.

A read or a write does not suspend while bytes, or room for them, are there: a peer that sends
without pause would keep the loop. In a crowd of such peers, everyone who has used more than a
little waits in a queue, which lets one at a time through and leaves half of the loop to the rest.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from weakref import WeakKeyDictionary

# How long a connection that does not pause has the loop. Giving it up costs some 20 us.
_TURN_S = 0.00025
# A round of the loop with so many turns, and of this duration, is crowded.
_CROWD = 4
_CROWDED_S = 0.002
# Whoever has used less than this does not queue.
_LITTLE_S = 0.00025
# One connection leaves the queue each time, for a turn of half of it. The loop's timers have a
# resolution of a millisecond.
_PERIOD_S = 0.002
_QUEUED_TURN_S = 0.001
# Use counts from the first question to the last one in a round; this much is assumed for a round
# in which there is only one question.
_UNSEEN_S = 0.00005
_FORGOTTEN = 0.01  # of the use, in seconds for each second that passes
_MUCH_S = 0.05  # who has used so much goes to the end of the queue, who has used less before it


class _Rounds:
    """The rounds of an event loop (what it runs before it looks for input again), and the queue."""

    def __init__(self) -> None:
        self.number = 0
        self._is_crowded = False  # the last round
        self._turns = 0
        self._began = 0.0
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._queued = 0  # ever
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_crowded(self) -> bool:
        return self._is_crowded or bool(self._queue)

    def begin_turn(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        if not self._turns:
            self._began = now
            loop.call_soon(self._end, loop)
        self._turns += 1

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_crowded = self._turns >= _CROWD and loop.time() - self._began > _CROWDED_S
        self._turns = 0
        self.number += 1

    async def wait(self, loop: asyncio.AbstractEventLoop, used_s: float) -> None:
        """Wait in the queue; the less a connection has used, the nearer to its front."""
        cycle_s = (len(self._queue) + 1) * _PERIOD_S
        place = loop.time() + cycle_s * min(1.0, used_s / _MUCH_S)
        future: asyncio.Future[None] = loop.create_future()
        self._queued += 1
        heappush(self._queue, (place, self._queued, future))
        if self._timer is None:
            self._timer = loop.call_later(_PERIOD_S, self._let_through, loop)
        await future

    def _let_through(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the first of the queue through, or all of a queue that is no crowd any more."""
        self._timer = None
        count = 1 if len(self._queue) >= _CROWD - 1 else len(self._queue)
        while self._queue and count:
            future = heappop(self._queue)[2]
            if not future.done():  # nobody waits for it if its task was cancelled
                future.set_result(None)
                count -= 1
        if self._queue:
            self._timer = loop.call_later(_PERIOD_S, self._let_through, loop)


# They must not refer to their loop, which would then never go.
_rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Rounds] = WeakKeyDictionary()


class LoopTurn:
    """Asked by a connection before each thing that it does on the loop."""

    __slots__ = ("_asked", "_began", "_left_s", "_loop", "_round", "_rounds", "_used_s")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rounds = _rounds.setdefault(self._loop, _Rounds())
        self._round = -1  # in which the turn began
        self._began = self._asked = 0.0
        self._used_s = 0.0  # lately
        self._left_s = 0.0  # of the turn for which it has queued

    async def take(self) -> None:
        """Return when this connection may go on: at once, after the others, or after the queue."""
        now, rounds = self._loop.time(), self._rounds
        passed_s, self._asked = now - self._asked, now
        if self._round == rounds.number:  # the loop has run nothing else since
            self.use(passed_s)
            if self._left_s > 0 or now - self._began < _TURN_S:
                return
            if not rounds.is_crowded:
                await asyncio.sleep(0)
        else:
            self._used_s = max(0.0, self._used_s - _FORGOTTEN * passed_s)
            self.use(_UNSEEN_S)
        if rounds.is_crowded and self._used_s > _LITTLE_S and self._left_s <= 0:
            await rounds.wait(self._loop, self._used_s)
            self._left_s = _QUEUED_TURN_S
        self._round = rounds.number
        self._began = self._asked = self._loop.time()
        rounds.begin_turn(self._loop, self._began)

    def use(self, seconds: float) -> None:
        """Count CPU time: on the loop, or in a thread that the loop has to wait for."""
        self._used_s += seconds
        self._left_s -= seconds
