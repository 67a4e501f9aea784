"""Who may come in: caps on sessions, for all and for each source, and sources that are refused for a while.

A session is *unproven* until it has logged in, or, where no login is asked for, until it has said a first command. Connections that
say nothing are cheap to make by the thousand, so the unproven have a cap of their own. When it is reached, the oldest has to go,
first of a source that has more than its part of them. Whoever means it speaks within a few milliseconds and is past that long
before; and the flood only ever displaces itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ftransfer.errors import Busy
from ftransfer.limits import Limits
from ftransfer.penalties import Offence, Penalties, is_loopback, source_of

# Where no cap for a source is given. One household or company behind one address stays below it; a machine's own address is
# left to the cap on all, since every user, tunnel and proxy of the machine comes from there.
_MAX_OF_SOURCE = 256
# A source that has more than this part of all unproven sessions is a flood; one with a few may just have many users.
_PARTS = 8


class Ticket:
    """One session's place. `cut` ends the session from outside."""

    __slots__ = ("_gate", "cut", "source")

    def __init__(self, gate: Gate, source: str, cut: Callable[[], None]) -> None:
        self.source = source
        self.cut = cut
        self._gate = gate

    def prove(self) -> None:
        """Say that the peer means it."""
        self._gate.prove(self)

    def leave(self) -> None:
        """Give the place back."""
        self._gate.leave(self)

    def offend(self, offence: Offence) -> None:
        self._gate.penalties.add(self.source, offence)


class Gate:
    """The places of one server. Pure: `now` is its clock. `limits` can be set anew at any time."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.limits = limits
        self.penalties = Penalties(now)
        self._tickets: set[Ticket] = set()
        self._of_source: Counter[str] = Counter()
        self._unproven: dict[Ticket, None] = {}  # the oldest first
        self._unproven_of_source: Counter[str] = Counter()

    @property
    def unproven(self) -> int:
        return len(self._unproven)

    def refusal(self, host: str) -> Busy | None:
        """Say why a connection from there is not let in, or None. Makes room by cutting an unproven session if need be."""
        source = source_of(host)
        left_s = self.penalties.left_s(source)
        if left_s > 0:
            return Busy(f"too many failures from your address; try again in {left_s:.0f} s")
        most = self._max_of(source)
        if self._of_source[source] >= most:
            return Busy(f"your address has its {most} sessions; close one, or try again later")
        if self._unproven and (len(self._unproven) >= self.limits.max_unproven or len(self._tickets) >= self.limits.max_sessions):
            self._displace()
        if len(self._tickets) >= self.limits.max_sessions:
            return Busy(f"the server has its {self.limits.max_sessions} sessions; try again later")
        return None

    def enter(self, host: str, cut: Callable[[], None]) -> Ticket:
        """Give a place to a connection that is let in."""
        ticket = Ticket(self, source_of(host), cut)
        self._tickets.add(ticket)
        self._of_source[ticket.source] += 1
        self._unproven[ticket] = None
        self._unproven_of_source[ticket.source] += 1
        return ticket

    def prove(self, ticket: Ticket) -> None:
        if ticket in self._unproven:
            del self._unproven[ticket]
            _less(self._unproven_of_source, ticket.source)

    def leave(self, ticket: Ticket) -> None:
        self.prove(ticket)
        if ticket in self._tickets:
            self._tickets.discard(ticket)
            _less(self._of_source, ticket.source)

    def _max_of(self, source: str) -> int:
        if self.limits.max_source_sessions:
            return self.limits.max_source_sessions
        return self.limits.max_sessions if is_loopback(source) else _MAX_OF_SOURCE

    def _displace(self) -> None:
        """Cut the oldest unproven session: of a source that has more than its part of them, else of all."""
        ((source, count),) = self._unproven_of_source.most_common(1)
        is_flood = count > max(1, self.limits.max_unproven // _PARTS)
        ticket = next(ticket for ticket in self._unproven if ticket.source == source or not is_flood)
        self.leave(ticket)
        ticket.cut()


def _less(counter: Counter[str], source: str) -> None:
    counter[source] -= 1
    if not counter[source]:
        del counter[source]
