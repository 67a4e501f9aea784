"""How much content all sessions of a server together hold in memory.

A leaf. A session asks before it takes content in; if there is no memory it waits, its peer's bytes
stay unread, and TCP does the rest. Nobody who waits holds what others wait for, except while
waiting for its own peer or disk: so there is no deadlock. An owner (a user, or an address) gets at
most two thirds of what the others leave, so that one more fits; waiting owners take turns. A peer
that keeps others waiting and hardly moves is disconnected.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol

_PART_OF_REST = 2 / 3
# While others wait, a peer that holds memory must move at least this many bytes in each period.
_LEAST_BYTES = 64 * 1024
_PATIENCE_S = 4.0
_LOOK_S = 1.0
# Storing a pack is mostly interpreter work: more threads would pass its lock back and forth while
# the event loop waits for it.
_STORED_AT_ONCE = 2


class Peer(Protocol):
    """The peer that sends or receives the content (transport.Transport)."""

    @property
    def bytes_transferred(self) -> int: ...
    def abort(self) -> None: ...


class Reservation:
    """Memory that may be used until it is released. Use it in a `with`, or release it."""

    def __init__(
        self, budget: MemoryBudget, owner: str, count: int, peer: Peer | None, now: float
    ) -> None:
        self.count = count
        self.owner = owner
        self._budget = budget
        self._peer = peer
        self._since = now
        self._carried = peer.bytes_transferred if peer is not None else 0

    def shrink(self, count: int) -> None:
        """Release all but `count` bytes."""
        if count < self.count:
            freed, self.count = self.count - count, count
            self._budget._free(self, freed)

    def release(self) -> None:
        self._peer = None
        self.shrink(0)

    def settle(self) -> None:
        """Stop depending on the peer: from now on it cannot be too slow."""
        self._peer = None

    def cut_if_slow(self, now: float) -> None:
        if self._peer is None or now - self._since < _PATIENCE_S:
            return
        peer, carried = self._peer, self._peer.bytes_transferred
        if carried - self._carried < _LEAST_BYTES:
            self._peer = None
            peer.abort()
        self._since, self._carried = now, carried

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class _Waiting(NamedTuple):
    size: int
    admitted: asyncio.Future[None]
    is_preferred: bool


class MemoryBudget:
    """A fixed number of bytes for all. Runs on the event loop; the clock can be passed in."""

    def __init__(self, total: int, now: Callable[[], float] | None = None) -> None:
        self.total = total
        self.most = 0  # the most that was held at once
        self._loop = asyncio.get_running_loop()
        self._now = now or self._loop.time
        self._held_by: Counter[str] = Counter()
        self._held = 0
        self._out: set[Reservation] = set()
        # The owner whose turn it is comes first
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        return self._held

    def try_reserve(self, owner: str, count: int, peer: Peer | None = None) -> Reservation | None:
        """Reserve memory if it is free and nobody waits for it."""
        if self._waiting or not self._fits(owner, count):
            return None
        return self._take(owner, count, peer)

    async def reserve(
        self, owner: str, count: int, peer: Peer | None = None, *, is_preferred: bool = False
    ) -> Reservation:
        """Reserve memory, waiting in turn. `peer` is disconnected if it keeps others waiting.

        Those that are proven to make good use of memory come before the others of their owner.
        """
        count = min(count, self.total)
        if (reservation := self.try_reserve(owner, count, peer)) is not None:
            return reservation
        waiting = _Waiting(count, self._loop.create_future(), is_preferred)
        queue = self._waiting.setdefault(owner, deque())
        queue.insert(
            sum(each.is_preferred for each in queue) if is_preferred else len(queue), waiting
        )
        self._admit()
        self._look_later()
        try:
            await waiting.admitted
        except asyncio.CancelledError:
            if waiting.admitted.done() and not waiting.admitted.cancelled():
                self._change(owner, -count)
            else:
                self._forget(owner, waiting)
            self._admit()
            raise
        self._change(owner, -count)  # what was set aside for it
        return self._take(owner, count, peer)

    def _limit(self, owner: str) -> float:
        return (self.total - self._held + self._held_by[owner]) * _PART_OF_REST

    def _is_within_limit(self, owner: str, count: int) -> bool:
        held = self._held_by[owner]
        return not held or held + count <= self._limit(owner)

    def _fits(self, owner: str, count: int) -> bool:
        return self._held + count <= self.total and self._is_within_limit(owner, count)

    def _take(self, owner: str, count: int, peer: Peer | None) -> Reservation:
        reservation = Reservation(self, owner, count, peer, self._now())
        self._out.add(reservation)
        self._change(owner, count)
        return reservation

    def _change(self, owner: str, count: int) -> None:
        self._held += count
        self.most = max(self.most, self._held)
        self._held_by[owner] += count
        if not self._held_by[owner]:
            del self._held_by[owner]

    def _free(self, reservation: Reservation, count: int) -> None:
        self._change(reservation.owner, -count)
        if not reservation.count:
            self._out.discard(reservation)
        self._admit()

    def _admit(self) -> None:
        """Admit all that fit, one of each owner in turn."""
        while (owner := self._next_owner()) is not None:
            waiting = self._waiting[owner][0]
            self._forget(owner, waiting)
            if owner in self._waiting:
                self._waiting.move_to_end(owner)
            if not waiting.admitted.done():  # else it is being cancelled
                self._change(owner, waiting.size)  # set aside until its task runs
                waiting.admitted.set_result(None)

    def _next_owner(self) -> str | None:
        for owner, queue in self._waiting.items():
            if self._fits(owner, queue[0].size):
                return owner
            if self._is_within_limit(owner, queue[0].size):
                return None  # it waits only for the total, and is not overtaken
        return None

    def _forget(self, owner: str, waiting: _Waiting) -> None:
        queue = self._waiting.get(owner, deque())
        if waiting in queue:
            queue.remove(waiting)
            if not queue:
                del self._waiting[owner]

    def _look_later(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._loop.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        """Disconnect peers that keep others waiting and hardly move."""
        self._timer = None
        is_full = any(
            self._is_within_limit(owner, queue[0].size) for owner, queue in self._waiting.items()
        )
        for reservation in list(self._out):
            if is_full or reservation.owner in self._waiting:
                reservation.cut_if_slow(self._now())
        self._look_later()


class ContentMemory:
    """The memory that the sessions of a server share: one budget for each kind of content.

    Packs, groups that are sent as packs, and lists of names wait for memory. Blocks do not wait: if
    a large one does not fit, a small one is used. The rest, outside all budgets, is for the
    smallest blocks, one per session (a quarter), and for buffers that are kept for reuse
    (jobs.room).
    """

    def __init__(self, total: int) -> None:
        self.packs = MemoryBudget(total * 3 // 8)
        self.names = MemoryBudget(total // 16)
        self.blocks = MemoryBudget(total // 8)
        # Packs that are held until they are stored
        self.storing = asyncio.Semaphore(_STORED_AT_ONCE)

    @property
    def held(self) -> int:
        return self.packs.held + self.names.held + self.blocks.held
