"""When the others hear that somebody has come or gone: of those who listen or stay, not of every
script that says one command.

A client whose connection was lost comes back with the same word (the token of `as`). Then nobody
has gone and nobody has come; so the end of a session with such a word is told only after a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ftransfer.protocol.live import JOINED, LEFT, NAMED, Person

if TYPE_CHECKING:
    from ftransfer.service.hub import Participant

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

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tell: Callable[[str, Person, str], None]
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._gone: dict[tuple[str, str], _Gone] = {}  # by user and token

    def came(self, participant: Participant) -> None:
        """Hear that a session has said a command, or listens."""
        if participant.came_at is None:
            participant.came_at = self._loop.time()
        if participant.is_listening:
            self._announce(participant)

    def look(self, participants: Iterable[Participant]) -> None:
        """Tell of those who have been here for long enough by now."""
        now = self._loop.time()
        for participant in participants:
            if participant.came_at is not None and now - participant.came_at >= STAY_S:
                self._announce(participant)

    def _announce(self, participant: Participant) -> None:
        if not (participant.was_announced or participant.is_quiet):
            participant.was_announced = True
            self._tell(JOINED, participant.person, "")

    def named(self, participant: Participant, old: str) -> None:
        """Hear that a session goes by another name."""
        if participant.was_announced and participant.person.name != old:
            self._tell(NAMED, participant.person, old)

    def left(self, participant: Participant) -> None:
        """Hear that a session has ended."""
        if not participant.was_announced:
            return
        if not participant.token:
            self._tell(LEFT, participant.person, "")
            return
        key = (participant.user, participant.token)
        if (before := self._gone.pop(key, None)) is not None:
            before.timer.cancel()
        self._gone[key] = _Gone(
            participant.person,
            participant.earlier,
            self._loop.call_later(RETURN_S, self._has_gone, key),
        )

    def _has_gone(self, key: tuple[str, str]) -> None:
        self._tell(LEFT, self._gone.pop(key).person, "")

    def take_over(self, participant: Participant, participants: Iterable[Participant]) -> str:
        """Let a session that brings a token stand for whoever had it before: the same client; give
        the name that it had there.

        Args:
            participants: All that are taken. An older one with the token is perhaps only not
                noticed to be dead.
        """
        name = participant.person.name
        participant.is_quiet = False
        if (gone := self._gone.pop((participant.user, participant.token), None)) is not None:
            gone.timer.cancel()
            name = self._inherit(participant, gone.person, gone.earlier)
        for other in participants:
            if (
                other is not participant
                and other.leader is None
                and (other.user, other.token) == (participant.user, participant.token)
            ):
                if other.was_announced:
                    name = self._inherit(participant, other.person, other.earlier)
                other.was_announced, other.is_quiet = False, True
        return name

    def _inherit(self, participant: Participant, before: Person, earlier: tuple[int, ...]) -> str:
        participant.was_announced = True
        participant.earlier = (before.session, *earlier)[:_MAX_EARLIER]
        return before.name
