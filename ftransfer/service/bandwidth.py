"""The bandwidth of a server: one bucket for all, one per user, one per session.

A bucket hands out its bytes as time slots, first come, first served. A session asks for a small
quantum, waits for its slot, moves the bytes, and asks again; so sessions that share a bucket get
equal parts, however greedy one is. Without a rate nothing waits, and content moves in jobs of the
usual size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from weakref import WeakSet, WeakValueDictionary

from ftransfer.auth.permissions import Principal
from ftransfer.service.token_bucket import TokenBucket

# The length of a slot: smaller is smoother and fairer, larger costs fewer wake-ups.
_QUANTUM_S = 0.05
_MIN_QUANTUM = 1024
_MAX_QUANTUM = 1 << 20
# Unused bandwidth accumulates for at most this time.
_BURST_S = 0.1


@dataclass(frozen=True, slots=True)
class BandwidthLimits:
    """Bytes of content per second, both directions together; None for no limit.

    A user's own limit overrides `each_user`.
    """

    all: int | None = None
    each_user: int | None = None
    each_session: int | None = None


class Throttle:
    """Limits one session by its own bucket and those that it shares."""

    def __init__(
        self,
        buckets: Sequence[TokenBucket],
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
        """Wait until some bytes may be moved; return how many, from one to `wanted`."""
        if wanted <= 0 or not self.is_on:
            return wanted
        bounded = [(bucket, bucket.rate) for bucket in self.buckets if bucket.rate is not None]
        count = min(wanted, *(_quantum(rate) for _, rate in bounded))
        now = self._now()
        delay = max(bucket.take(count, now) for bucket, _ in bounded)
        if delay > 0:
            await self._sleep(delay)
        return count

    def give_back(self, count: int) -> None:
        """Return bytes that `take` granted and that were not moved."""
        if count > 0:
            for bucket in self.buckets:
                bucket.give_back(count)


class Bandwidth:
    """The buckets of one server."""

    def __init__(self, limits: BandwidthLimits | None = None) -> None:
        self.limits = limits or BandwidthLimits()
        self._all = _bucket(self.limits.all)
        self._users: WeakValueDictionary[str, TokenBucket] = WeakValueDictionary()
        self._has_own: WeakSet[TokenBucket] = WeakSet()
        self._sessions: WeakSet[TokenBucket] = WeakSet()

    def throttle(self, principal: Principal, source: str) -> Throttle:
        """Return the throttle for a session of that user."""
        owner = owner_of(principal, source)
        own = principal.allowance.rate
        user = self._users.get(owner)
        if user is None:
            user = self._users[owner] = _bucket(self.limits.each_user)
        if own is not None:
            user.rate = own
            self._has_own.add(user)
        elif user in self._has_own:  # until the users file changed
            user.rate = self.limits.each_user
            self._has_own.discard(user)
        session = _bucket(self.limits.each_session)
        self._sessions.add(session)
        return Throttle((self._all, user, session))

    def set_limits(self, limits: BandwidthLimits) -> None:
        """Replace the limits, for running sessions too."""
        self.limits = limits
        self._all.rate = limits.all
        for user in self._users.values():
            if user not in self._has_own:
                user.rate = limits.each_user
        for session in self._sessions:
            session.rate = limits.each_session


def owner_of(principal: Principal, source: str) -> str:
    """Return the key under which a session's usage is counted.

    Clients without a name count as one user per source.
    """
    return f"source {source}" if principal.is_anonymous else f"user {principal.name}"


def _bucket(rate: float | None) -> TokenBucket:
    return TokenBucket(rate, _BURST_S)


def _quantum(rate: float) -> int:
    """Return how many bytes to ask for at once."""
    return int(max(_MIN_QUANTUM, min(_MAX_QUANTUM, rate * _QUANTUM_S)))
