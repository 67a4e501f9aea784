"""Bandwidth: buckets of bytes that fill at a rate, and what a session takes from them before it
moves content.

A leaf. A bucket hands out its bytes as slots in time, first come first served. A session asks for a
small quantum, waits for its slot, moves the bytes, and asks again; so those that share a bucket get
equal parts, however greedy one is. Without a rate nothing is asked, nothing waits, and content
moves in jobs as large as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

# A slot's worth: smaller is smoother and fairer, larger costs fewer wake-ups.
_QUANTUM_S = 0.05
_MIN_QUANTUM = 1024
_MAX_QUANTUM = 1 << 20
# What has not been used is not saved up for longer.
_BURST_S = 0.1


class Bucket:
    """Bytes that fill at `rate` a second; None for no bound. Pure: the time is passed in."""

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self._next = 0.0  # the time at which what has been handed out is paid for

    @property
    def quantum(self) -> int:
        """How many bytes are to be asked for at once."""
        if self.rate is None:
            return _MAX_QUANTUM
        return int(max(_MIN_QUANTUM, min(_MAX_QUANTUM, self.rate * _QUANTUM_S)))

    def reserve(self, count: int, now: float) -> float:
        """Take bytes; give for how many seconds to wait before they may be moved."""
        if self.rate is None:
            return 0.0
        start = max(self._next, now - _BURST_S)
        self._next = start + count / self.rate
        return max(0.0, start - now)

    def give_back(self, count: int) -> None:
        """Return bytes that were taken and not moved."""
        if self.rate is not None:
            self._next -= count / self.rate


class Throttle:
    """What bounds one session: its own bucket and those that it shares."""

    def __init__(
        self,
        buckets: Sequence[Bucket],
        *,
        now: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.buckets = buckets
        self._now = now or asyncio.get_running_loop().time
        self._sleep = sleep

    @property
    def is_on(self) -> bool:
        return any(bucket.rate is not None for bucket in self.buckets)

    async def take(self, wanted: int) -> int:
        """Wait until some bytes may be moved; give how many, at most `wanted` and at least one."""
        if wanted <= 0 or not self.is_on:
            return wanted
        bounded = [bucket for bucket in self.buckets if bucket.rate is not None]
        count = min(wanted, *(bucket.quantum for bucket in bounded))
        now = self._now()
        delay = max(bucket.reserve(count, now) for bucket in bounded)
        if delay > 0:
            await self._sleep(delay)
        return count

    def give_back(self, count: int) -> None:
        """Return bytes that `take` gave and that were not moved."""
        if count > 0:
            for bucket in self.buckets:
                bucket.give_back(count)
