"""When the others hear that somebody has come or gone: of those who listen or stay, not of every script that says one command.

A client whose connection was lost comes back with the same word (the token of `as`). Then nobody has gone and nobody has come; so
the end of a session with such a word is told only after a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ftransfer.protocol.live import JOINED, LEFT, NAMED, Person

if TYPE_CHECKING:
    from ftransfer.service.hub import Seat

STAY_S = 10.0  # a session that does not listen is told of when it has been here for so long
RETURN_S = 2.0  # a client that has lost its connection may take so long to come back
_MAX_EARLIER = 8  # numbers of earlier sessions by which a client can still be reached


class _Gone(NamedTuple):
    """A client that was told of, and has no session now."""

    person: Person
    earlier: tuple[int, ...]
    timer: asyncio.TimerHandle


class AttendanceNews:
    """Decides which comings and goings are news.

    Args:
        tell: Passes one on to all others who listen: what, whom it is about, and the name before.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[str, Person, str], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._gone: dict[tuple[str, str], _Gone] = {}  # by user and token

    def came(self, seat: Seat) -> None:
        """Hear that a session has said a command, or listens."""
        if seat.came_at is None:
            seat.came_at = self._loop.time()
        if seat.is_listening:
            self._announce(seat)

    def look(self, seats: Iterable[Seat]) -> None:
        """Tell of those who have been here for long enough by now."""
        now = self._loop.time()
        for seat in seats:
            if seat.came_at is not None and now - seat.came_at >= STAY_S:
                self._announce(seat)

    def _announce(self, seat: Seat) -> None:
        if not (seat.was_announced or seat.is_quiet):
            seat.was_announced = True
            self._tell(JOINED, seat.person, "")

    def named(self, seat: Seat, old: str) -> None:
        """Hear that a session goes by another name."""
        if seat.was_announced and seat.person.name != old:
            self._tell(NAMED, seat.person, old)

    def left(self, seat: Seat) -> None:
        """Hear that a session has ended."""
        if not seat.was_announced:
            return
        if not seat.token:
            self._tell(LEFT, seat.person, "")
            return
        key = (seat.user, seat.token)
        if (before := self._gone.pop(key, None)) is not None:
            before.timer.cancel()
        self._gone[key] = _Gone(seat.person, seat.earlier, self._loop.call_later(RETURN_S, self._has_gone, key))

    def _has_gone(self, key: tuple[str, str]) -> None:
        self._tell(LEFT, self._gone.pop(key).person, "")

    def take_over(self, seat: Seat, seats: Iterable[Seat]) -> str:
        """Let a session that brings a token stand for whoever had it before: the same client; give the name that it had there.

        Args:
            seats: All that are taken. An older one with the token is perhaps only not noticed to be dead.
        """
        name = seat.person.name
        seat.is_quiet = False
        if (gone := self._gone.pop((seat.user, seat.token), None)) is not None:
            gone.timer.cancel()
            name = self._inherit(seat, gone.person, gone.earlier)
        for other in seats:
            if other is not seat and other.leader is None and (other.user, other.token) == (seat.user, seat.token):
                if other.was_announced:
                    name = self._inherit(seat, other.person, other.earlier)
                other.was_announced, other.is_quiet = False, True
        return name

    def _inherit(self, seat: Seat, before: Person, earlier: tuple[int, ...]) -> str:
        seat.was_announced = True
        seat.earlier = (before.session, *earlier)[:_MAX_EARLIER]
        return before.name
