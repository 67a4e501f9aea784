"""Sessions as the hub sees them, without any wire: for tests of the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from ftransfer.auth.permissions import ANYONE, Principal
from ftransfer.protocol.live import LiveEvent, event_to_notice
from ftransfer.service.hub import Hub
from ftransfer.service.outbox import EventFormat
from ftransfer.service.participant import Participant


class Lines:
    """Events as lines of JSON; counts how many it has encoded."""

    heartbeat = b'"heartbeat"\n'

    def __init__(self) -> None:
        self.encoded: list[LiveEvent] = []

    def encode(self, event: LiveEvent) -> bytes:
        self.encoded.append(event)
        notice = event_to_notice(event)
        return json.dumps({"event": notice.what, **notice.values}).encode() + b"\n"


class FakeSink:
    """Keeps the events that it is sent; while `is_read` is not set it takes none."""

    def __init__(self, form: EventFormat) -> None:
        self.format = form
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_read = asyncio.Event()
        self.is_read.set()
        self.failure: Exception | None = None
        self.was_aborted = asyncio.Event()

    async def send(self, pieces: Sequence[bytes]) -> None:
        await self.is_read.wait()
        if self.failure is not None:
            raise self.failure
        for piece in pieces:
            self.pieces.put_nowait(piece)

    def abort(self) -> None:
        self.was_aborted.set()

    async def next(self) -> dict[str, object]:
        """Return the next event as a JSON object."""
        async with asyncio.timeout(30):
            value = json.loads(await self.pieces.get())
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class FakeOperation:
    """See RunningOperation."""

    verb: str = "get"
    name: str = "a"
    is_transfer: bool = True
    moved: int = 0
    total: int | None = None
    size: int | None = None
    began_at: float = 0.0


@dataclass(eq=False)
class FakeMember:
    """See Member."""

    number: int
    sink: FakeSink
    principal: Principal = ANYONE
    peer: str = "198.51.100.7:1234"
    is_local: bool = False
    began_at: float = field(default=0.0, init=False)
    operation: FakeOperation | None = field(default=None, init=False)
    silent_s: float = field(default=0.0, init=False)
    was_aborted: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def open_event_sink(self) -> FakeSink:
        return self.sink

    def unanswered_s(self) -> float:
        return self.silent_s

    def abort(self) -> None:
        self.was_aborted.set()


@dataclass(frozen=True)
class Guest:
    """A session in a hub. See service.talk.Sender."""

    hub: Hub
    member: FakeMember
    participant: Participant

    @property
    def sink(self) -> FakeSink:
        return self.member.sink


class Room:
    """A hub, and the sessions that a test lets in: close it at the end."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.format = Lines()
        self.guests: list[Guest] = []

    def enter(
        self,
        name: str = "",
        *,
        principal: Principal = ANYONE,
        listens: bool = False,
        form: EventFormat | None = None,
        token: str = "",
    ) -> Guest:
        """Let a session in, under a name of its own."""
        member = FakeMember(len(self.guests) + 1, FakeSink(form or self.format), principal)
        participant = self.hub.create_participant(member)
        guest = Guest(self.hub, member, participant)
        self.hub.join(participant)
        self.hub.introduce(participant, name, token=token)
        if listens:
            self.hub.listen(participant)
        self.guests.append(guest)
        return guest

    async def close(self) -> None:
        for guest in self.guests:
            await self.hub.leave(guest.participant)
