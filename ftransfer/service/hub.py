"""Who is here, and what they say to each other: one hub for each server.

Sessions take a seat when they connect and leave it when they end. Whoever listens gets an outbox; an event is encoded once and put
into each outbox that wants it, which never waits. Changes of files may be many: they are put there in rounds.
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
from ftransfer.protocol.commands import Body, Command
from ftransfer.protocol.live import (
    Activity,
    Attendance,
    Change,
    LiveEvent,
    Message,
    Person,
    Presence,
    event_to_notice,
)
from ftransfer.protocol.replies import encode_notice
from ftransfer.service.attendance import AttendanceNews
from ftransfer.service.helpers import SharedGet, join_leader, leave_leader
from ftransfer.service.message_rate import Pace
from ftransfer.service.outbox import Bundle, Outbox
from ftransfer.service.subscriptions import Round
from ftransfer.transport.channel import Channel

log = logging.getLogger("ftransfer.server")

# Outboxes are emptied in rounds, at least so many seconds for each listener apart: a flood of events then costs each listener one
# write a round, and a twentieth of a core in all. A single event goes out at once.
_ROUND_S_PER_LISTENER = 0.001
_LONGEST_ROUND_S = 0.2
# A session that has said nothing yet is shown to others when it is so old.
_ARRIVING_S = 1.0
# When so many changes wait, they are put into the outboxes before the round is due: what is bounded are the outboxes.
_ROUND_CHANGES = 64


class Member(Protocol):
    """What the hub sees of a session (server/session.py)."""

    number: int
    channel: Channel
    command: Command | None  # the one that is being answered
    moved: int  # bytes of content that it has moved
    total: int | None  # of how many, if that is known
    size: int | None  # of the whole file that it gives a part of
    principal: Principal  # whom it acts for
    began_at: float  # when it, or the last one before, began or ended; on the clock of the event loop


@dataclass(eq=False)
class Seat:
    """One session's place in the hub."""

    member: Member
    person: Person
    since_ns: int
    pace: Pace | None = None  # of what it says, once it says something
    token: str = ""
    came_at: float | None = None  # when it said its first command
    was_announced: bool = False
    is_quiet: bool = False  # its coming and going is no news
    earlier: tuple[int, ...] = ()  # numbers that the same client had before it lost its connection
    leader: Seat | None = None  # whose transfer it helps with
    helpers: list[Seat] = field(default_factory=list)
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
        """Whether it is meant by a name as `who` shows it, or by the number of this session or of an earlier one."""
        if name in (f"#{number}" for number in (self.person.session, *self.earlier)):
            return True
        return bool(self.person.name) and name in (self.person.name, f"?{self.person.name}")

    @property
    def wants_events(self) -> bool:
        return self.is_listening or bool(self.watches)


class Hub:
    """All seats of a server. Methods run on the event loop; none but `leave` waits."""

    def __init__(self, limits: Limits, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._limits = limits
        self._clock_ns = clock_ns
        self._loop = asyncio.get_running_loop()
        self._seats: dict[int, Seat] = {}
        self._listeners: dict[int, Seat] = {}
        self._changes = Round()
        self._round_at = 0.0
        self._round: asyncio.TimerHandle | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._pulse_s = min(limits.vanish_s / 6, limits.heartbeat_s / 2)
        self._news = AttendanceNews(self._loop, self._tell_attendance)

    # Coming and going.

    def make_seat(self, member: Member) -> Seat:
        """Give a session a seat, to be taken with `join`."""
        return Seat(member, Person(member.number), self._clock_ns())

    def pace_of(self, seat: Seat) -> Pace:
        """Give how fast a session may speak, which it remembers from its first word on."""
        if seat.pace is None:
            seat.pace = Pace(self._limits, self._loop.time)
        return seat.pace

    def join(self, seat: Seat) -> None:
        """Take a seat. The others hear of it if the session listens, or stays after its first command (AttendanceNews)."""
        self._seats[seat.member.number] = seat
        if self._pulse is None:
            self._pulse = self._loop.call_later(self._pulse_s, self._look_around)

    async def leave(self, seat: Seat) -> None:
        """Take a seat back; what its listener has not been sent is dropped."""
        self._seats.pop(seat.member.number, None)
        self._listeners.pop(seat.member.number, None)
        seat.is_listening = False
        seat.watches.clear()
        leave_leader(seat)
        self._news.left(seat)
        if not self._seats and self._pulse is not None:
            self._pulse.cancel()
            self._pulse = None
        if seat.outbox is not None:
            await seat.outbox.close()

    def came(self, seat: Seat) -> None:
        """Hear that a session has said a command."""
        self._news.came(seat)

    def help(self, seat: Seat, number: int, token: str) -> None:
        """Let a session belong to another one of the same client, with which it shares a transfer. Raises as join_leader."""
        join_leader(seat, number, token, self._seats)

    def introduce(self, seat: Seat, name: str, *, token: str = "", is_unique: bool = True) -> None:
        """Set what a session is called.

        Args:
            token: A word that only this client knows: a session that brings it takes the name over from an older one, which is the
                same client's and perhaps only not noticed to be dead.
            is_unique: Refuse a name that somebody else has. A session that is logged in goes by the name of its login in any case.

        Raises:
            BadArgument: The name is too long, or could not be printed or typed.
            NameTaken.
        """
        if user := seat.user:
            if is_unique and name != user:
                raise BadArgument(f"this session is logged in, and goes by the name {escape(user)}")
            name, is_unique = user, False
        _check_label(name, self._limits)
        if is_unique and name:
            for other in self._seats.values():
                if other is not seat and other.person.name.casefold() == name.casefold():
                    if not (token and other.token == token):
                        raise NameTaken(f"somebody here is called {name} already; choose another name", name=name)
                    other.person = other.person._replace(name="")
        seat.token = token
        old = self._news.take_over(seat, self._seats.values()) if token else seat.person.name
        seat.person = seat.person._replace(name=name, verified=bool(user))
        self._news.came(seat)
        self._news.named(seat, old)

    def _tell_attendance(self, what: str, person: Person, old: str) -> None:
        event = Attendance(what, person, self._clock_ns(), old)
        self.tell_all(event, lambda other: other.is_listening and other.person.session != person.session)

    def _look_around(self) -> None:
        """Send heartbeats to listeners, and cut the sessions whose machine has not answered for long though something was sent.

        Keepalive finds those that are gone while nothing is under way; the kernel's own patience with unanswered data is a quarter
        of an hour. A peer that is there and does not read is no such case: its kernel answers.
        """
        self._pulse = self._loop.call_later(self._pulse_s, self._look_around)
        self._news.look(self._seats.values())
        for seat in self._seats.values():
            if seat.outbox is not None and seat.wants_events:
                seat.outbox.beat()
            link = seat.member.channel.link
            if link.unanswered_s() > self._limits.vanish_s * 2 / 3:
                log.info("%s #%d has vanished", link.peer, seat.member.number)
                link.abort()

    def presences(self, viewer: Seat) -> Iterator[Presence]:
        """Give who is here, in the order in which they came.

        Addresses are shown to people at the server's own machine; to others only their own.
        """
        sees_all = viewer.member.channel.link.is_local
        for seat in self._seats.values():
            if seat.leader is not None or self._is_arriving(seat):
                continue
            member = seat.member
            activity = self._activity(seat, viewer.member.principal)
            yield Presence(
                seat.person,
                member.channel.link.peer if sees_all or seat is viewer else "",
                seat.since_ns,
                0.0 if member.command is not None or activity is not None else self._loop.time() - member.began_at,
                seat.is_listening,
                seat is viewer,
                activity,
            )

    def _is_arriving(self, seat: Seat) -> bool:
        """Whether it has only just connected, and its first command may be on its way: perhaps that it helps another session."""
        return seat.came_at is None and self._loop.time() - seat.member.began_at < _ARRIVING_S

    def _activity(self, seat: Seat, viewer: Principal) -> Activity | None:
        member, command = seat.member, seat.member.command
        if seat.shared is not None and (command is None or command.verb == "get"):
            return self._shared_activity(seat, seat.shared, viewer)
        if command is None or (command.verb != "get" and command.body is Body.NONE):
            return None
        spent_s = self._loop.time() - member.began_at
        rate = int(member.moved / spent_s) if spent_s > 0 else 0
        return Activity(command.verb, _shown(command.argument, viewer), member.moved, member.total, rate)

    def _shared_activity(self, seat: Seat, shared: SharedGet, viewer: Principal) -> Activity | None:
        moved = 0
        for member in (helper.member for helper in (seat, *seat.helpers)):
            if member.command is not None and member.command.verb == "get":
                shared.note(member.command, member.began_at, 0, member.size)
                moved += member.moved
        if not shared.name:
            return None
        # A segment may come twice, over two connections.
        moved = min(moved + shared.moved, shared.size) if shared.size is not None else moved + shared.moved
        spent_s = self._loop.time() - shared.began_at
        return Activity("get", _shown(shared.name, viewer), moved, shared.size, int(moved / spent_s) if spent_s > 0 else 0)

    # Talking.

    def say(self, seat: Seat, text: str) -> tuple[int, int]:
        """Pass a message on to all others who listen; give its number within this session, and how many it went to."""
        message = self._message(seat, text, is_private=False)
        return message.number, self.tell_all(message, lambda other: other.is_listening and other is not seat)

    def tell(self, seat: Seat, to: Seat, text: str) -> tuple[int, int]:
        """As say, for one."""
        message = self._message(seat, text, is_private=True)
        return message.number, self.tell_all(message, lambda other: other is to and other.is_listening)

    def _message(self, seat: Seat, text: str, *, is_private: bool) -> Message:
        seat.spoken += 1
        return Message(seat.person, self._clock_ns(), text, seat.spoken, is_private)

    def find(self, name: str) -> Seat:
        """Give the seat of a name, with or without the "?" that listings set before it, or of "#" with a session's number.

        Raises:
            NotFound: Nobody here is called that.
            BadArgument: Several are.
        """
        found = [seat for seat in self._seats.values() if seat.leader is None and seat.is_called(name)]
        if len(found) > 1:
            numbers = ", ".join(f"#{seat.person.session}" for seat in found[:9])
            raise BadArgument(f"{escape(name)}: {len(found)} sessions are called that; say which: {numbers}", name=name)
        if not found:
            raise NotFound(f"nobody here is called {escape(name[:100])}; who lists those who are here", name=name[:100])
        return found[0]

    # Events.

    def listen(self, seat: Seat) -> None:
        """Open the session's outbox, if it has none; it stays until the session ends."""
        if seat.outbox is None:
            seat.outbox = Outbox(seat.member.channel, self._limits)
        self._listeners[seat.member.number] = seat
        self._news.came(seat)

    def tell_all(self, event: LiveEvent, wants: Callable[[Seat], bool]) -> int:
        """Put an event into the outboxes of all who want it; give how many those are."""
        self.deal_out()
        bundle: Bundle | None = None
        count = 0
        for seat in self._listeners.values():
            if seat.outbox is not None and wants(seat):
                bundle = bundle or Bundle(encode_notice(event_to_notice(event)))
                seat.outbox.put(bundle)
                count += 1
        if count:
            self._plan_round()
        return count

    def tell_these(self, event: LiveEvent, seats: Iterable[Seat]) -> None:
        """Put an event into the outboxes of some, if they listen; it costs nothing for the others."""
        self.deal_out()
        bundle = Bundle(encode_notice(event_to_notice(event)))
        for seat in seats:
            if seat.outbox is not None and seat.member.number in self._listeners:
                seat.outbox.put(bundle)
        self._plan_round()

    def tell_change(self, change: Change) -> None:
        """Tell a change to all who watch where it is and may know of it."""
        self._changes.add(change)
        if len(self._changes) >= _ROUND_CHANGES:
            self.deal_out()
        self._plan_round()

    def deal_out(self) -> None:
        """Put the changes that wait for the round into the outboxes.

        To be called before what somebody watches is changed, so that each is told what it watched when it happened.
        """
        if not self._changes:
            return
        changes, self._changes = self._changes, Round()
        for seat in self._listeners.values():
            if seat.watches and seat.outbox is not None:
                for bundle in changes.bundles(seat.member.principal, seat.watches.values()):
                    seat.outbox.put(bundle)

    def _plan_round(self) -> None:
        if self._round is None:
            gap_s = min(_LONGEST_ROUND_S, _ROUND_S_PER_LISTENER * len(self._listeners))
            self._round = self._loop.call_at(max(self._loop.time(), self._round_at + gap_s), self._start_round)

    def _start_round(self) -> None:
        self._round = None
        self._round_at = self._loop.time()
        self.deal_out()
        for seat in self._listeners.values():
            if seat.outbox is not None:
                seat.outbox.wake()


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
        raise BadArgument(f"{name}: a # at the beginning stands for the number of a session; choose another name")
