"""Decide when to announce that somebody has joined or left.

Only sessions that listen or stay are announced, not every script that sends one command. A client
that lost its connection returns with the same token (of `as`). Then nobody has left and nobody has
joined, so the end of a session with a token is announced only after a short delay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from ftransfer.protocol.live import JOINED, LEFT, NAMED, Person
from ftransfer.service.participant import Participant
from ftransfer.service.timers import Timer, Timers

STAY_S = 10.0  # a session that does not listen is announced after this time
RETURN_S = 2.0  # time for a client to return after it lost its connection
_MAX_EARLIER = 8  # numbers of earlier sessions by which a client can still be reached


class _Absent(NamedTuple):
    """A client that was announced and has no session now."""

    person: Person
    earlier: tuple[int, ...]
    timer: Timer


class AttendanceAnnouncer:
    """Decides which arrivals and departures are announced.

    Args:
        announce: Notifies all others who listen: what happened, who it is about, and the
            previous name.
    """

    def __init__(self, timers: Timers, announce: Callable[[str, Person, str], None]) -> None:
        self._timers = timers
        self._announce = announce
        self._absent: dict[tuple[str, str], _Absent] = {}  # by user and token

    def note_activity(self, participant: Participant) -> None:
        """Note that a session has sent a command, or listens."""
        if participant.active_since is None:
            participant.active_since = self._timers.time()
        if participant.is_listening:
            self._announce_joined(participant)

    def announce_who_stayed(self, participants: Iterable[Participant]) -> None:
        """Announce those who have stayed long enough."""
        now = self._timers.time()
        for participant in participants:
            since = participant.active_since
            if since is not None and now - since >= STAY_S:
                self._announce_joined(participant)

    def _announce_joined(self, participant: Participant) -> None:
        if not (participant.was_announced or participant.is_silent):
            participant.was_announced = True
            self._announce(JOINED, participant.person, "")

    def note_name(self, participant: Participant, old: str) -> None:
        """Announce the session's name if it has changed."""
        if participant.was_announced and participant.person.name != old:
            self._announce(NAMED, participant.person, old)

    def note_end(self, participant: Participant) -> None:
        """Announce that a session has ended, later if its client may return."""
        if not participant.was_announced:
            return
        if not participant.token:
            self._announce(LEFT, participant.person, "")
            return
        key = (participant.user, participant.token)
        if (before := self._absent.pop(key, None)) is not None:
            before.timer.cancel()
        timer = self._timers.call_later(RETURN_S, partial(self._announce_left, key))
        self._absent[key] = _Absent(participant.person, participant.earlier, timer)

    def _announce_left(self, key: tuple[str, str]) -> None:
        self._announce(LEFT, self._absent.pop(key).person, "")

    def take_over(self, participant: Participant, participants: Iterable[Participant]) -> str:
        """Let a session replace earlier sessions of the same client, which have its token.

        Args:
            participants: All sessions. An older one with the token may already be dead.

        Returns:
            The client's earlier name.
        """
        name = participant.person.name
        participant.is_silent = False
        key = (participant.user, participant.token)
        if (absent := self._absent.pop(key, None)) is not None:
            absent.timer.cancel()
            name = self._inherit(participant, absent.person, absent.earlier)
        for other in participants:
            if (
                other is not participant
                and other.leader is None
                and (other.user, other.token) == key
            ):
                if other.was_announced:
                    name = self._inherit(participant, other.person, other.earlier)
                other.was_announced, other.is_silent = False, True
        return name

    def _inherit(self, participant: Participant, before: Person, earlier: tuple[int, ...]) -> str:
        participant.was_announced = True
        participant.earlier = (before.session, *earlier)[:_MAX_EARLIER]
        return before.name
