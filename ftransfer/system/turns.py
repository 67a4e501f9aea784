"""Turns for long work: a few at once, shared fairly between owners.

A leaf. Work of unbounded length is split into steps of at most STEP_S, and each step waits for a
turn. So no owner waits longer than one turn of every other owner, however much work they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from heapq import heappop, heappush

# The longest time that one step of long work may take in a thread.
STEP_S = 0.05


class TimeSlice:
    """The time limit of one step, from when this is made."""

    __slots__ = ("_ends_at",)

    def __init__(self, step_s: float = STEP_S) -> None:
        self._ends_at = time.monotonic() + step_s

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends_at


class Pause:
    """Yields to the event loop now and then, in work on the loop that may be long."""

    def __init__(self, every: int = 256) -> None:
        self._every = every
        self._count = 0

    async def __call__(self) -> None:
        """Pause if it is time. Await it once for each thing that is done."""
        self._count += 1
        if self._count % self._every == 0:
            await asyncio.sleep(0)


_Waiting = tuple[int, int, asyncio.Future[None]]  # size, order of arrival


class Turns:
    """At most `most` turns at once, and at most `each` for one owner.

    Owners take turns in order of arrival; for each owner, the smallest work goes first.

    Args:
        may_go: Whether an owner may have a turn now. Call `look` when that has changed.
    """

    def __init__(
        self, most: int, each: int, may_go: Callable[[str], bool] = lambda owner: True
    ) -> None:
        self._most = most
        self._each = each
        self._may_go = may_go
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, list[_Waiting]] = OrderedDict()
        self._came = 0
        self.most = 0  # the highest number used at once so far

    @property
    def running(self) -> int:
        """The number of turns in use."""
        return self._running.total()

    @contextlib.asynccontextmanager
    async def take(self, owner: str, size: int = 0) -> AsyncIterator[Turn]:
        """Hold one turn.

        Args:
            owner: Who wants the turn.
            size: How much is left to do, in any unit.
        """
        turn = Turn(self, owner)
        await turn.begin(size)
        try:
            yield turn
        finally:
            turn.end()

    def want(self, owner: str, size: int) -> asyncio.Future[None]:
        """Queue for a turn; the future is done when it is granted, and may be cancelled."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._came += 1
        heappush(self._waiting.setdefault(owner, []), (size, self._came, granted))
        return granted

    def give_back(self, owner: str) -> None:
        """End a turn that was granted."""
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]
        self.look()

    def _has_place(self, owner: str) -> bool:
        return (
            self.running < self._most and self._running[owner] < self._each and self._may_go(owner)
        )

    def look(self) -> None:
        """Grant free turns to waiting work, one owner after the other."""
        while self.running < self._most:
            owner = next((owner for owner in self._waiting if self._has_place(owner)), None)
            if owner is None:
                return
            granted = self._next_of(owner)
            if granted is not None:
                self._running[owner] += 1
                self.most = max(self.most, self.running)
                granted.set_result(None)
                if owner in self._waiting:
                    self._waiting.move_to_end(owner)

    def _next_of(self, owner: str) -> asyncio.Future[None] | None:
        """Take the smallest waiting work of an owner."""
        waiting = self._waiting[owner]
        found: asyncio.Future[None] | None = None
        while waiting and found is None:
            granted = heappop(waiting)[2]
            found = None if granted.done() else granted  # done: it was cancelled
        if not waiting:
            del self._waiting[owner]
        return found


class Turn:
    """One turn, or the wait for it."""

    def __init__(self, turns: Turns, owner: str) -> None:
        self._turns = turns
        self._owner = owner
        self._is_held = False

    async def begin(self, size: int) -> None:
        """Wait for the turn."""
        granted = self._turns.want(self._owner, size)
        self._turns.look()
        await self._hold(granted)

    async def again(self, size: int) -> None:
        """Release the turn and queue for the next one."""
        granted = self._turns.want(self._owner, size)
        self.end()
        await self._hold(granted)

    def end(self) -> None:
        if self._is_held:
            self._is_held = False
            self._turns.give_back(self._owner)

    async def _hold(self, granted: asyncio.Future[None]) -> None:
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._turns.give_back(self._owner)  # it was granted at the same moment
            raise
        self._is_held = True
