"""One session in the hub: how others see it, and which events it wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ftransfer.auth.permissions import Principal, Right
from ftransfer.names import SafeName
from ftransfer.protocol.live import Person
from ftransfer.service.message_rate import MessageRateLimit
from ftransfer.service.outbox import EventSink, Outbox
from ftransfer.service.transfer_group import GroupDownload, RunningOperation


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
        """Return the sink for its events from now on, in the form of its gateway."""

    def unanswered_s(self) -> float:
        """Return for how long its machine has not acknowledged what was sent to it."""

    def abort(self) -> None:
        """Close its connection at once."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Participant:
    """A session as the hub keeps it, from connection to end.

    A client that moves one file over several connections has a leader, the first of them, and
    helpers: others see these as one session.
    """

    member: Member
    person: Person
    since_ns: int
    message_rate: MessageRateLimit | None = field(default=None, init=False)
    token: str = field(default="", init=False)
    active_since: float | None = field(default=None, init=False)  # its first command
    was_announced: bool = field(default=False, init=False)
    is_silent: bool = field(default=False, init=False)  # joins and leaves unannounced
    # Session numbers of the same client before it lost its connection
    earlier: tuple[int, ...] = field(default=(), init=False)
    leader: Participant | None = field(default=None, init=False)
    helpers: list[Participant] = field(default_factory=list, init=False)
    # The file that it gets together with its helpers
    group_download: GroupDownload | None = field(default=None, init=False)
    is_listening: bool = field(default=False, init=False)
    watches: dict[str, SafeName] = field(default_factory=dict, init=False)
    outbox: Outbox | None = field(default=None, init=False)
    message_count: int = field(default=0, init=False)

    @property
    def number(self) -> int:
        """The number of its session."""
        return self.member.number

    @property
    def user(self) -> str:
        """The name of its login; "" without one."""
        principal = self.member.principal
        return "" if principal.is_anonymous else principal.name

    @property
    def wants_events(self) -> bool:
        return self.is_listening or bool(self.watches)

    def may(self, right: Right) -> bool:
        """Return whether it has a right at any name."""
        return self.member.principal.may_somewhere(right)

    def answers_to(self, name: str) -> bool:
        """Return whether a name means it: its `who` name, or "#" and a current or past number."""
        if name in (f"#{number}" for number in (self.person.session, *self.earlier)):
            return True
        return bool(self.person.name) and name in (self.person.name, f"?{self.person.name}")

    def join_group(self, leader: Participant) -> None:
        """Become a helper of another session of the same client."""
        self.leader, self.is_silent = leader, True
        self.active_since = leader.active_since
        self.person = leader.person._replace(session=self.number)
        leader.helpers.append(self)
        leader.group_download = leader.group_download or GroupDownload()
        self.group_download = leader.group_download

    def leave_group(self) -> None:
        """Separate it from its leader or its helpers, if it has any."""
        if self.leader is not None:
            self.leader.helpers.remove(self)
            if not self.leader.helpers:
                self.leader.group_download = None
            self.leader = None
        for helper in self.helpers:
            helper.leader = helper.group_download = None
        self.helpers = []
