"""Who is online, and what they say to each other: one hub per server.

A session joins when it connects and leaves when it ends. The hub keeps its name, announces it to
those who listen, and passes messages on; the broadcaster delivers them.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Iterator

from ftransfer.auth.permissions import Right
from ftransfer.errors import BadArgument, NameTaken, NotFound
from ftransfer.limits import Limits
from ftransfer.names import escape
from ftransfer.protocol.live import Attendance, Message, Person, Presence
from ftransfer.service.attendance import AttendanceAnnouncer
from ftransfer.service.broadcaster import Broadcaster
from ftransfer.service.message_rate import MessageRateLimit
from ftransfer.service.participant import Member, Participant
from ftransfer.service.presence import presences

log = logging.getLogger("ftransfer.server")


class Hub:
    """All participants of a server. Methods run on the event loop; none but `leave` waits."""

    def __init__(self, limits: Limits, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.limits = limits
        self.broadcaster = Broadcaster(limits)
        self._clock_ns = clock_ns
        self._loop = asyncio.get_running_loop()
        self._participants: dict[int, Participant] = {}
        self._heartbeat_timer: asyncio.TimerHandle | None = None
        self._heartbeat_s = min(limits.vanish_s / 6, limits.heartbeat_s / 2)
        self._attendance = AttendanceAnnouncer(self._loop, self._announce)

    # Joining and leaving.

    def create_participant(self, member: Member) -> Participant:
        """Return a participant for a session; `join` adds it."""
        return Participant(member, Person(member.number), self._clock_ns())

    def join(self, participant: Participant) -> None:
        """Add a session.

        It is announced if it listens, or stays after its first command (AttendanceAnnouncer).
        """
        self._participants[participant.number] = participant
        if self._heartbeat_timer is None:
            self._plan_heartbeat()

    async def leave(self, participant: Participant) -> None:
        """Remove a session; unsent events are dropped."""
        self._participants.pop(participant.number, None)
        self.broadcaster.remove(participant)
        participant.is_listening = False
        participant.watches.clear()
        participant.leave_group()
        self._attendance.note_end(participant)
        if not self._participants and self._heartbeat_timer is not None:
            self._heartbeat_timer.cancel()
            self._heartbeat_timer = None
        if participant.outbox is not None:
            await participant.outbox.close()

    def note_command(self, participant: Participant) -> None:
        """Note that a session is active: it has sent a command."""
        self._attendance.note_activity(participant)

    def listen(self, participant: Participant) -> None:
        """From now on, send a session what others say, and who joins and leaves."""
        participant.is_listening = True
        self.open_outbox(participant)

    def open_outbox(self, participant: Participant) -> None:
        """Send a session the events that it wants (`is_listening`, `watches`), until it leaves."""
        self.broadcaster.add(participant)
        self._attendance.note_activity(participant)

    def unlisten(self, participant: Participant) -> None:
        """Stop what `listen` began."""
        participant.is_listening = False

    def presences(self, viewer: Participant) -> Iterator[Presence]:
        """Yield who is online, as one session may see it, in order of arrival.

        Without the right to watch, a session sees only itself.
        """
        visible = self._participants.values() if viewer.may(Right.WATCH) else (viewer,)
        return presences(visible, viewer, self._loop.time())

    def _plan_heartbeat(self) -> None:
        self._heartbeat_timer = self._loop.call_later(self._heartbeat_s, self._check_liveness)

    def _check_liveness(self) -> None:
        """Send heartbeats to listeners, and close sessions whose machine no longer answers.

        Such a machine has not acknowledged sent data for a long time. Keepalive finds dead peers
        only on idle connections; with unanswered data the kernel waits a quarter of an hour. A peer
        that is alive and does not read is not affected: its kernel answers.
        """
        self._plan_heartbeat()
        self._attendance.announce_who_stayed(self._participants.values())
        for participant in self._participants.values():
            if participant.outbox is not None and participant.wants_events:
                participant.outbox.send_heartbeat_if_due()
            member = participant.member
            if member.unanswered_s() > self.limits.vanish_s * 2 / 3:
                log.info("%s #%d has vanished", member.peer, member.number)
                member.abort()

    def _announce(self, what: str, person: Person, old: str) -> None:
        event = Attendance(what, person, self._clock_ns(), old)
        self.broadcaster.publish(
            event,
            lambda other: (
                other.is_listening
                and other.person.session != person.session
                and other.may(Right.WATCH)
            ),
        )

    # Names.

    def introduce(
        self, participant: Participant, name: str, *, token: str = "", is_unique: bool = True
    ) -> None:
        """Set the name of a session.

        Args:
            token: A secret of this client: a session that brings it takes the name over from an
                older one, which is the same client's and may already be dead.
            is_unique: Refuse a name that somebody else has. A session that is logged in always has
                the name of its login.

        Raises:
            BadArgument: The name is too long, or cannot be printed or typed.
            NameTaken.
        """
        if user := participant.user:
            if is_unique and name != user:
                raise BadArgument(f"this session is logged in as {escape(user)}, which is its name")
            name, is_unique = user, False
        _check_label(name, self.limits)
        if is_unique and name:
            self._claim_name(participant, name, token)
        participant.token = token
        old = (
            self._attendance.take_over(participant, self._participants.values())
            if token
            else participant.person.name
        )
        participant.person = participant.person._replace(name=name, verified=bool(user))
        self._attendance.note_activity(participant)
        self._attendance.note_name(participant, old)

    def _claim_name(self, participant: Participant, name: str, token: str) -> None:
        for other in self._participants.values():
            if other is not participant and other.person.name.casefold() == name.casefold():
                if not (token and other.token == token):
                    raise NameTaken(f"the name {name} is taken; choose another one", name=name)
                other.person = other.person._replace(name="")

    def find(self, name: str) -> Participant:
        """Return the participant with a name, or with "#" and a session's number.

        The name may have the "?" that listings put before it.

        Raises:
            NotFound: Nobody has that name.
            BadArgument: Several have it.
        """
        found = [
            participant
            for participant in self._participants.values()
            if participant.leader is None and participant.answers_to(name)
        ]
        if len(found) > 1:
            numbers = ", ".join(f"#{participant.person.session}" for participant in found[:9])
            raise BadArgument.about(
                name, f"{len(found)} sessions have this name; use a number: {numbers}"
            )
        if not found:
            raise NotFound(
                f"nobody here is called {escape(name[:100])}; who lists who is here",
                name=name[:100],
            )
        return found[0]

    def join_group(self, participant: Participant, number: int, token: str) -> None:
        """Make a session a helper of another session of the same client, for one transfer.

        Raises:
            BadArgument: No session has that number and token; the error does not say which of the
                two is wrong.
        """
        leader = self._participants.get(number)
        if (
            leader is None
            or leader is participant
            or leader.leader is not None
            or leader.user != participant.user
            or not _is_same_token(leader.token, token)
        ):
            raise BadArgument("this client has no such session to help")
        participant.join_group(leader)

    # Messages.

    def message_rate(self, participant: Participant) -> MessageRateLimit:
        """Return the limit on how fast a session may send messages."""
        if participant.message_rate is None:
            participant.message_rate = MessageRateLimit(self.limits, self._loop.time)
        return participant.message_rate

    def send_message(
        self, participant: Participant, text: str, to: Participant | None = None
    ) -> tuple[int, int]:
        """Send a message to all others who listen, or to one of them.

        Returns:
            Its number within the session, and the number of recipients.
        """
        participant.message_count += 1
        number, person = participant.message_count, participant.person
        message = Message(person, self._clock_ns(), text, number, is_private=to is not None)
        return number, self.broadcaster.publish(
            message,
            lambda other: (
                other.is_listening and (other is not participant if to is None else other is to)
            ),
        )


def _is_same_token(token: str, given: str) -> bool:
    return bool(token) and hmac.compare_digest(
        token.encode("utf-8", "surrogatepass"), given.encode("utf-8", "surrogatepass")
    )


def _check_label(name: str, limits: Limits) -> None:
    if len(name.encode("utf-8", "surrogatepass")) > limits.max_label_bytes:
        raise BadArgument(f"session name too long; the limit is {limits.max_label_bytes} bytes")
    if escape(name) != name or name != name.strip() or '"' in name:
        raise BadArgument(
            f"{escape(name)}: a session name cannot contain control characters, quotes or"
            " backslashes, nor begin or end with a space"
        )
    if name.startswith("#"):
        raise BadArgument(
            f"{name}: a session name cannot begin with #, which marks the number of a session"
        )
