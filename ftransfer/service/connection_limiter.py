"""Who may connect: limits on sessions, in total and per source, and temporary refusals.

A session is *unauthenticated* until it has logged in or, where no login is required, has sent its
first command. Silent connections are cheap to make by the thousand, so these have their own limit.
At that limit, the oldest is closed, first of a source that has more than its share: a flood
displaces itself. When all slots are taken, the source with the most sessions loses one: an
unauthenticated one, else the one that has been idle longest, else one that waits for its login.
Active sessions are displaced only for the same source, or for one with fewer. A session that runs a
command is never displaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ftransfer.addresses import is_loopback
from ftransfer.errors import Busy
from ftransfer.limits import Limits
from ftransfer.service.networks import Networks
from ftransfer.service.penalties import (
    NETWORK_FACTOR,
    Offence,
    Penalties,
    network_of,
    source_of,
)

# The default limit per source. One household or company behind one address stays below it. A
# loopback address has only the total limit, since every user, tunnel and proxy of the machine comes
# from there.
_MAX_OF_SOURCE = 256
# A source with more than this part of all unauthenticated sessions is a flood; one with a few may
# just have many users.
_PARTS = 8


class Slot:
    """One session's slot. `cut` ends the session from outside."""

    __slots__ = ("_limiter", "cut", "is_active", "is_trusted", "network", "number", "source")

    def __init__(
        self,
        limiter: ConnectionLimiter,
        number: int,
        source: str,
        cut: Callable[[], None],
        *,
        is_trusted: bool,
    ) -> None:
        self.number = number  # in order of arrival
        self.source = source
        self.network = network_of(source)
        self.cut = cut
        self.is_active = False
        self.is_trusted = is_trusted
        self._limiter = limiter

    def mark_active(self) -> None:
        """Note that the peer has logged in, or sent a command where no login is required."""
        self._limiter.mark_active(self)

    def begin(self) -> None:
        """Note that an operation of the session begins."""
        self._limiter.begin(self)

    def end(self) -> None:
        """Note that the operation has ended."""
        self._limiter.end(self)

    def leave(self) -> None:
        """Free the slot. Calling it twice is no error."""
        self._limiter.leave(self)

    def penalise(self, offence: Offence) -> None:
        if not self.is_trusted:
            self._limiter.penalties.add(self.source, offence)


class ConnectionLimiter:
    """The slots of one server. Pure: `now` is its clock.

    `limits` and `trusted` can be replaced at any time.

    Args:
        trusted: Networks without their own limit and without penalties.
    """

    def __init__(
        self, limits: Limits, now: Callable[[], float], trusted: Networks | None = None
    ) -> None:
        self.limits = limits
        self.trusted = trusted or Networks()
        self.penalties = Penalties(now)
        self._count = 0
        self._slots: set[Slot] = set()
        self._of_source: Counter[str] = Counter()
        self._of_network: Counter[str] = Counter()
        # The slots by what they do now; in each, the longest in that state comes first.
        self._unauthenticated: dict[Slot, None] = {}
        self._checking: dict[
            Slot, None
        ] = {}  # unauthenticated, and its command runs: a login is being checked
        self._idle: dict[Slot, None] = {}

    @property
    def unauthenticated(self) -> int:
        return len(self._unauthenticated)

    def refusal(self, host: str) -> Busy | None:
        """Return why a connection from that host is refused, or None.

        Closes another session if a slot is needed.
        """
        if (
            host not in self.trusted
            and (refusal := self._refusal_of_source(source_of(host))) is not None
        ):
            return refusal
        if len(self._unauthenticated) >= self.limits.max_unauthenticated:
            self._displace_unauthenticated()
        elif len(self._slots) >= self.limits.max_sessions:
            self._displace_for(source_of(host))
        if len(self._slots) >= self.limits.max_sessions:
            return Busy(f"the server has its {self.limits.max_sessions} sessions; try again later")
        return None

    def _refusal_of_source(self, source: str) -> Busy | None:
        left_s = self.penalties.left_s(source)
        if left_s > 0:
            return Busy(f"too many failures from your address; try again in {left_s:.0f} s")
        most = self._max_of(source)
        network = network_of(source)
        if self._of_source[source] >= most or (
            network and self._of_network[network] >= NETWORK_FACTOR * most
        ):
            return Busy(f"your address has its {most} sessions; close one, or try again later")
        return None

    def enter(self, host: str, cut: Callable[[], None]) -> Slot:
        """Return a slot for a connection that was not refused."""
        self._count += 1
        slot = Slot(self, self._count, source_of(host), cut, is_trusted=host in self.trusted)
        self._slots.add(slot)
        self._of_source[slot.source] += 1
        if slot.network:
            self._of_network[slot.network] += 1
        self._unauthenticated[slot] = None
        return slot

    def mark_active(self, slot: Slot) -> None:
        if slot in self._slots and not slot.is_active:
            slot.is_active = True
            is_idle = self._unauthenticated.pop(slot, slot) is None
            self._checking.pop(slot, None)
            if is_idle:
                self._idle[slot] = None

    def begin(self, slot: Slot) -> None:
        self._idle.pop(slot, None)
        if self._unauthenticated.pop(slot, slot) is None:
            self._checking[slot] = None

    def end(self, slot: Slot) -> None:
        self._checking.pop(slot, None)
        if slot in self._slots:
            (self._idle if slot.is_active else self._unauthenticated)[slot] = None

    def leave(self, slot: Slot) -> None:
        for kind in (self._unauthenticated, self._checking, self._idle):
            kind.pop(slot, None)
        if slot in self._slots:
            self._slots.discard(slot)
            _less(self._of_source, slot.source)
            if slot.network:
                _less(self._of_network, slot.network)

    def _max_of(self, source: str) -> int:
        if self.limits.max_source_sessions:
            return self.limits.max_source_sessions
        return self.limits.max_sessions if is_loopback(source) else _MAX_OF_SOURCE

    def _displace_unauthenticated(self) -> None:
        """Close the oldest unauthenticated session: of a flooding source, else of all."""
        ((source, count),) = Counter(slot.source for slot in self._unauthenticated).most_common(1)
        is_flood = count > max(1, self.limits.max_unauthenticated // _PARTS)
        # By arrival, since a session that sends something now and then is moved behind the others.
        self._cut(
            min(
                (slot for slot in self._unauthenticated if slot.source == source or not is_flood),
                key=lambda one: one.number,
            )
        )

    def _displace_for(self, source: str) -> None:
        """Free a slot for this source, if it may have it: close a session that runs no command."""
        sizes = self._of_source
        waiting = [*self._idle, *self._checking]
        may_go = [
            *self._unauthenticated,
            *(one for one in waiting if one.source == source or sizes[one.source] > sizes[source]),
        ]
        if may_go:
            # The first of several with the same number
            self._cut(max(may_go, key=lambda one: sizes[one.source]))

    def _cut(self, slot: Slot) -> None:
        self.leave(slot)
        slot.cut()


def _less(counter: Counter[str], source: str) -> None:
    counter[source] -= 1
    if not counter[source]:
        del counter[source]
