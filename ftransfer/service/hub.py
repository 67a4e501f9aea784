"""Who is here, and what they say to each other: one hub for each server.

Sessions take a participant when they connect and leave it when they end. Whoever listens gets an
outbox; an event is encoded once and put into each outbox that wants it, which never waits. Changes
of files may be many: they are put there in rounds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ftransfer.auth.permissions import Principal, Right
from ftransfer.errors import BadArgument, NameRefused, NameTaken, NotFound
from ftransfer.limits import Limits
from ftransfer.names import SafeName, escape, parse_path
from ftransfer.protocol.live import (
    Activity,
    Attendance,
    Change,
    LiveEvent,
    Message,
    Person,
    Presence,
)
from ftransfer.service.attendance import AttendanceNews
from ftransfer.service.helpers import RunningOperation, SharedGet, join_leader, leave_leader
from ftransfer.service.message_rate import MessageRateLimit
from ftransfer.service.outbox import EventSink, Outbox, SharedEvent
from ftransfer.service.subscriptions import ChangeBatch

log = logging.getLogger("ftransfer.server")

# Outboxes are emptied in rounds, at least so many seconds for each listener apart: a flood of
# events then costs each listener one write a round, and a twentieth of a core in all. A single
# event goes out at once.
_ROUND_S_PER_LISTENER = 0.001
_LONGEST_ROUND_S = 0.2
# A session that has said nothing yet is shown to others when it is so old.
_ARRIVING_S = 1.0
# When so many changes wait, they are put into the outboxes before the round is due: what is bounded
# are the outboxes.
_ROUND_CHANGES = 64


class Member(Protocol):
    """What the hub knows of a session, whatever its gateway.

    `began_at` is when its operation began, or else when the last one ended, on the clock of the
    event loop.
    """

    @property
    def number(self) -> int: ...
    @property
    def principal(self) -> Principal: ...
    @property
    def peer(self) -> str: ...
    @property
    def is_local(self) -> bool: ...
    @property
    def began_at(self) -> float: ...
    @property
    def operation(self) -> RunningOperation | None: ...
    def open_event_sink(self) -> EventSink:
        """Return where its events go from now on, in the form of its gateway."""

    def unanswered_s(self) -> float:
        """Return for how long its machine has not acknowledged what was sent to it."""

    def abort(self) -> None:
        """Cut its connection at once."""


@dataclass(eq=False)
class Participant:
    """One session's place in the hub."""

    member: Member
    person: Person
    since_ns: int
    pace: MessageRateLimit | None = None  # of what it says, once it says something
    token: str = ""
    came_at: float | None = None  # when it said its first command
    was_announced: bool = False
    is_quiet: bool = False  # its coming and going is no news
    earlier: tuple[int, ...] = ()  # numbers that the same client had before it lost its connection
    leader: Participant | None = None  # whose transfer it helps with
    helpers: list[Participant] = field(default_factory=list)
    shared: SharedGet | None = None  # what it gets together with its helpers
    is_listening: bool = False
    watches: dict[str, SafeName] = field(default_factory=dict)
    outbox: Outbox | None = None
    spoken: int = 0

    @property
    def user(self) -> str:
        """Give the name of its login, "" without one."""
        principal = self.member.principal
        return "" if principal.is_anonymous else principal.name

    def is_called(self, name: str) -> bool:
        """Whether it is meant by a name as `who` shows it, or by the number of this session or of
        an earlier one.
        """
        if name in (f"#{number}" for number in (self.person.session, *self.earlier)):
            return True
        return bool(self.person.name) and name in (self.person.name, f"?{self.person.name}")

    @property
    def wants_events(self) -> bool:
        return self.is_listening or bool(self.watches)


class Hub:
    """All participants of a server. Methods run on the event loop; none but `leave` waits."""

    def __init__(self, limits: Limits, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._limits = limits
        self._clock_ns = clock_ns
        self._loop = asyncio.get_running_loop()
        self._participants: dict[int, Participant] = {}
        self._listeners: dict[int, Participant] = {}
        self._changes = ChangeBatch()
        self._round_at = 0.0
        self._round: asyncio.TimerHandle | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._pulse_s = min(limits.vanish_s / 6, limits.heartbeat_s / 2)
        self._news = AttendanceNews(self._loop, self._tell_attendance)

    # Coming and going.

    def make_seat(self, member: Member) -> Participant:
        """Give a session a participant, to be taken with `join`."""
        return Participant(member, Person(member.number), self._clock_ns())

    def pace_of(self, participant: Participant) -> MessageRateLimit:
        """Give how fast a session may speak, which it remembers from its first word on."""
        if participant.pace is None:
            participant.pace = MessageRateLimit(self._limits, self._loop.time)
        return participant.pace

    def join(self, participant: Participant) -> None:
        """Take a participant. The others hear of it if the session listens, or stays after its
        first command (AttendanceNews).
        """
        self._participants[participant.member.number] = participant
        if self._pulse is None:
            self._pulse = self._loop.call_later(self._pulse_s, self._look_around)

    async def leave(self, participant: Participant) -> None:
        """Take a participant back; what its listener has not been sent is dropped."""
        self._participants.pop(participant.member.number, None)
        self._listeners.pop(participant.member.number, None)
        participant.is_listening = False
        participant.watches.clear()
        leave_leader(participant)
        self._news.left(participant)
        if not self._participants and self._pulse is not None:
            self._pulse.cancel()
            self._pulse = None
        if participant.outbox is not None:
            await participant.outbox.close()

    def came(self, participant: Participant) -> None:
        """Hear that a session has said a command."""
        self._news.came(participant)

    def help(self, participant: Participant, number: int, token: str) -> None:
        """Let a session belong to another one of the same client, with which it shares a transfer.
        Raises as join_leader.
        """
        join_leader(participant, number, token, self._participants)

    def introduce(
        self, participant: Participant, name: str, *, token: str = "", is_unique: bool = True
    ) -> None:
        """Set what a session is called.

        Args:
            token: A word that only this client knows: a session that brings it takes the name over
                from an older one, which is the same client's and perhaps only not noticed to be
                dead.
            is_unique: Refuse a name that somebody else has. A session that is logged in goes by the
                name of its login in any case.

        Raises:
            BadArgument: The name is too long, or could not be printed or typed.
            NameTaken.
        """
        if user := participant.user:
            if is_unique and name != user:
                raise BadArgument(f"this session is logged in, and goes by the name {escape(user)}")
            name, is_unique = user, False
        _check_label(name, self._limits)
        if is_unique and name:
            for other in self._participants.values():
                if other is not participant and other.person.name.casefold() == name.casefold():
                    if not (token and other.token == token):
                        raise NameTaken(
                            f"somebody here is called {name} already; choose another name",
                            name=name,
                        )
                    other.person = other.person._replace(name="")
        participant.token = token
        old = (
            self._news.take_over(participant, self._participants.values())
            if token
            else participant.person.name
        )
        participant.person = participant.person._replace(name=name, verified=bool(user))
        self._news.came(participant)
        self._news.named(participant, old)

    def _tell_attendance(self, what: str, person: Person, old: str) -> None:
        event = Attendance(what, person, self._clock_ns(), old)
        self.tell_all(
            event, lambda other: other.is_listening and other.person.session != person.session
        )

    def _look_around(self) -> None:
        """Send heartbeats to listeners, and cut the sessions whose machine has not answered for
        long though something was sent.

        Keepalive finds those that are gone while nothing is under way; the kernel's own patience
        with unanswered data is a quarter of an hour. A peer that is there and does not read is no
        such case: its kernel answers.
        """
        self._pulse = self._loop.call_later(self._pulse_s, self._look_around)
        self._news.look(self._participants.values())
        for participant in self._participants.values():
            if participant.outbox is not None and participant.wants_events:
                participant.outbox.send_heartbeat_if_due()
            member = participant.member
            if member.unanswered_s() > self._limits.vanish_s * 2 / 3:
                log.info("%s #%d has vanished", member.peer, member.number)
                member.abort()

    def presences(self, viewer: Participant) -> Iterator[Presence]:
        """Give who is here, in the order in which they came.

        Addresses are shown to people at the server's own machine; to others only their own.
        """
        sees_all = viewer.member.is_local
        for participant in self._participants.values():
            if participant.leader is not None or self._is_arriving(participant):
                continue
            member = participant.member
            activity = self._activity(participant, viewer.member.principal)
            yield Presence(
                participant.person,
                member.peer if sees_all or participant is viewer else "",
                participant.since_ns,
                0.0
                if member.operation is not None or activity is not None
                else self._loop.time() - member.began_at,
                participant.is_listening,
                participant is viewer,
                activity,
            )

    def _is_arriving(self, participant: Participant) -> bool:
        """Whether it has only just connected, and its first command may be on its way: perhaps that
        it helps another session.
        """
        return (
            participant.came_at is None
            and self._loop.time() - participant.member.began_at < _ARRIVING_S
        )

    def _activity(self, participant: Participant, viewer: Principal) -> Activity | None:
        operation = participant.member.operation
        if participant.shared is not None and (operation is None or operation.verb == "get"):
            return self._shared_activity(participant, participant.shared, viewer)
        if operation is None or not operation.is_transfer:
            return None
        spent_s = self._loop.time() - operation.began_at
        rate = int(operation.moved / spent_s) if spent_s > 0 else 0
        return Activity(
            operation.verb,
            _shown(operation.name, viewer),
            operation.moved,
            operation.total,
            rate,
        )

    def _shared_activity(
        self, participant: Participant, shared: SharedGet, viewer: Principal
    ) -> Activity | None:
        moved = 0
        for helper in (participant, *participant.helpers):
            operation = helper.member.operation
            if operation is not None and operation.verb == "get":
                shared.note(operation)
                moved += operation.moved
        if not shared.name:
            return None
        # A segment may come twice, over two connections.
        moved = (
            min(moved + shared.moved, shared.size)
            if shared.size is not None
            else moved + shared.moved
        )
        spent_s = self._loop.time() - shared.began_at
        return Activity(
            "get",
            _shown(shared.name, viewer),
            moved,
            shared.size,
            int(moved / spent_s) if spent_s > 0 else 0,
        )

    # Talking.

    def say(self, participant: Participant, text: str) -> tuple[int, int]:
        """Pass a message on to all others who listen; give its number within this session, and how
        many it went to.
        """
        message = self._message(participant, text, is_private=False)
        return message.number, self.tell_all(
            message, lambda other: other.is_listening and other is not participant
        )

    def tell(self, participant: Participant, to: Participant, text: str) -> tuple[int, int]:
        """As say, for one."""
        message = self._message(participant, text, is_private=True)
        return message.number, self.tell_all(
            message, lambda other: other is to and other.is_listening
        )

    def _message(self, participant: Participant, text: str, *, is_private: bool) -> Message:
        participant.spoken += 1
        return Message(participant.person, self._clock_ns(), text, participant.spoken, is_private)

    def find(self, name: str) -> Participant:
        """Give the participant of a name, with or without the "?" that listings set before it, or
        of "#" with a session's number.

        Raises:
            NotFound: Nobody here is called that.
            BadArgument: Several are.
        """
        found = [
            participant
            for participant in self._participants.values()
            if participant.leader is None and participant.is_called(name)
        ]
        if len(found) > 1:
            numbers = ", ".join(f"#{participant.person.session}" for participant in found[:9])
            raise BadArgument(
                f"{escape(name)}: {len(found)} sessions are called that; say which: {numbers}",
                name=name,
            )
        if not found:
            raise NotFound(
                f"nobody here is called {escape(name[:100])}; who lists those who are here",
                name=name[:100],
            )
        return found[0]

    # Events.

    def listen(self, participant: Participant) -> None:
        """Open the session's outbox, if it has none; it stays until the session ends."""
        if participant.outbox is None:
            participant.outbox = Outbox(participant.member.open_event_sink(), self._limits)
        self._listeners[participant.member.number] = participant
        self._news.came(participant)

    def tell_all(self, event: LiveEvent, wants: Callable[[Participant], bool]) -> int:
        """Put an event into the outboxes of all who want it; give how many those are."""
        self.deal_out()
        shared = SharedEvent(event)
        count = 0
        for participant in self._listeners.values():
            if participant.outbox is not None and wants(participant):
                participant.outbox.put(shared.encoded(participant.outbox.format))
                count += 1
        if count:
            self._plan_round()
        return count

    def tell_these(self, event: LiveEvent, participants: Iterable[Participant]) -> None:
        """Put an event into the outboxes of some, if they listen; it costs nothing for the
        others.
        """
        self.deal_out()
        shared = SharedEvent(event)
        for participant in participants:
            if participant.outbox is not None and participant.member.number in self._listeners:
                participant.outbox.put(shared.encoded(participant.outbox.format))
        self._plan_round()

    def tell_change(self, change: Change) -> None:
        """Tell a change to all who watch where it is and may know of it."""
        self._changes.add(change)
        if len(self._changes) >= _ROUND_CHANGES:
            self.deal_out()
        self._plan_round()

    def deal_out(self) -> None:
        """Put the changes that wait for the round into the outboxes.

        To be called before what somebody watches is changed, so that each is told what it watched
        when it happened.
        """
        if not self._changes:
            return
        changes, self._changes = self._changes, ChangeBatch()
        for participant in self._listeners.values():
            if participant.watches and participant.outbox is not None:
                for bundle in changes.bundles(
                    participant.outbox.format,
                    participant.member.principal,
                    participant.watches.values(),
                ):
                    participant.outbox.put(bundle)

    def _plan_round(self) -> None:
        if self._round is None:
            gap_s = min(_LONGEST_ROUND_S, _ROUND_S_PER_LISTENER * len(self._listeners))
            self._round = self._loop.call_at(
                max(self._loop.time(), self._round_at + gap_s), self._start_round
            )

    def _start_round(self) -> None:
        self._round = None
        self._round_at = self._loop.time()
        self.deal_out()
        for participant in self._listeners.values():
            if participant.outbox is not None:
                participant.outbox.wake()


def _shown(argument: str, viewer: Principal) -> str:
    """Give the name of a file that somebody transfers, or "" if the viewer may not know of it."""
    try:
        return argument if viewer.may(Right.LIST, parse_path(argument)) else ""
    except NameRefused:
        return ""


def _check_label(name: str, limits: Limits) -> None:
    if len(name.encode("utf-8", "surrogatepass")) > limits.max_label_bytes:
        raise BadArgument(f"a name of a session has at most {limits.max_label_bytes} bytes")
    if escape(name) != name or name != name.strip() or '"' in name:
        what = "control characters, quotes or backslashes, and no blank at either end"
        raise BadArgument(f"{escape(name)}: the name of a session has no {what}")
    if name.startswith("#"):
        raise BadArgument(
            f"{name}: a # at the beginning stands for the number of a session; choose another name"
        )
