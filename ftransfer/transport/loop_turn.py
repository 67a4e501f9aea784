"""A connection's turn on the event loop, so that none holds it while others wait. A leaf.

A read or a write does not suspend while there are bytes, or space for them: a peer that sends
without pause would hold the loop. In a crowd of such peers, every connection that has used more
than a little waits in a queue, which releases one at a time and leaves half of the loop to the
rest.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from weakref import WeakKeyDictionary

# How long a connection that does not pause may hold the loop. Yielding costs some 20 us.
_TURN_S = 0.00025
# A round of the loop with this many turns, and this long, is crowded.
_CROWD = 4
_CROWDED_S = 0.002
# A connection that has used less than this does not queue.
_LITTLE_S = 0.00025
# One connection leaves the queue per period, for a turn of half of it. The loop's timers have a
# resolution of a millisecond.
_PERIOD_S = 0.002
_QUEUED_TURN_S = 0.001
# Use counts from the first call to the last in a round; this much is assumed for a round with only
# one call.
_UNSEEN_S = 0.00005
_FORGOTTEN = 0.01  # use forgotten per second, in seconds
_MUCH_S = 0.05  # a connection with this use or more goes to the end of the queue


class _Rounds:
    """The rounds of an event loop (what it runs between two polls for input), and the queue."""

    def __init__(self) -> None:
        self.number = 0
        self._is_crowded = False  # in the last round
        self._turns = 0
        self._began = 0.0
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._queued = 0  # in total
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
        """Wait in the queue; a connection that has used less waits nearer to its front."""
        cycle_s = (len(self._queue) + 1) * _PERIOD_S
        place = loop.time() + cycle_s * min(1.0, used_s / _MUCH_S)
        future: asyncio.Future[None] = loop.create_future()
        self._queued += 1
        heappush(self._queue, (place, self._queued, future))
        if self._timer is None:
            self._timer = loop.call_later(_PERIOD_S, self._let_through, loop)
        await future

    def _let_through(self, loop: asyncio.AbstractEventLoop) -> None:
        """Release the first of the queue, or the whole queue if it is no longer a crowd."""
        self._timer = None
        count = 1 if len(self._queue) >= _CROWD - 1 else len(self._queue)
        while self._queue and count:
            future = heappop(self._queue)[2]
            if not future.done():  # its task was not cancelled
                future.set_result(None)
                count -= 1
        if self._queue:
            self._timer = loop.call_later(_PERIOD_S, self._let_through, loop)


# They must not refer to their loop, which would then never be freed.
_rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Rounds] = WeakKeyDictionary()


class LoopTurn:
    """Called by a connection before each thing that it does on the loop."""

    __slots__ = ("_asked", "_began", "_left_s", "_loop", "_round", "_rounds", "_used_s")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rounds = _rounds.setdefault(self._loop, _Rounds())
        self._round = -1  # the round in which the turn began
        self._began = self._asked = 0.0
        self._used_s = 0.0  # recently
        self._left_s = 0.0  # of the turn for which it queued

    async def take(self) -> None:
        """Return when this connection may continue: at once, after the others, or after a queue."""
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
        """Count CPU time used on the loop, or in a thread for which the loop has to wait."""
        self._used_s += seconds
        self._left_s -= seconds
