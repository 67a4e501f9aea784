"""The live layer of one server: who is here, and what they say to each other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ftransfer.client.client import Client
from ftransfer.errors import BadArgument, NameTaken, NotFound, TooFast
from ftransfer.limits import Limits
from ftransfer.protocol.live import (
    JOINED,
    LEFT,
    NAMED,
    Attendance,
    LiveEvent,
    Message,
    Missed,
    Person,
)
from tests.support.service import RawPeer, Service, serve


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        yield service


class Ear:
    """What one client hears, while it may do other things."""

    def __init__(self, client: Client) -> None:
        self.events: asyncio.Queue[LiveEvent] = asyncio.Queue()
        self._client = client
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Ear:
        begun = asyncio.Event()
        self._task = asyncio.create_task(self._hear(self._client.listen(), begun))
        async with asyncio.timeout(30):
            while not any(
                presence.is_listening and presence.is_you for presence in await self._client.who()
            ):
                pass
        return self

    async def _hear(self, events: AsyncGenerator[LiveEvent, None], begun: asyncio.Event) -> None:
        async with contextlib.aclosing(events):
            async for event in events:
                self.events.put_nowait(event)

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def next(self, wanted: Callable[[LiveEvent], bool] = lambda event: True) -> LiveEvent:
        async with asyncio.timeout(30):
            while not wanted(event := await self.events.get()):
                pass
        return event

    async def message(self) -> Message:
        event = await self.next(lambda event: isinstance(event, Message))
        assert isinstance(event, Message)
        return event


async def test_a_message_reaches_all_others_who_listen(service: Service) -> None:
    async with (
        service.client(name="ann") as ann,
        service.client(name="bob") as bob,
        service.client(name="cleo") as cleo,
    ):
        async with (
            service.client() as deaf,
            Ear(ann) as ann_hears,
            Ear(bob) as bob_hears,
            Ear(cleo) as cleo_hears,
        ):
            first, second = await ann.say("hello"), await ann.say("射频")
            assert (first.number, first.received, second.number, second.received) == (1, 2, 2, 2)
            for ear in (bob_hears, cleo_hears):
                message = await ear.message()
                assert (message.person, message.text, message.number) == (
                    Person(1, "ann"),
                    "hello",
                    1,
                )
                assert (await ear.message()).text == "射频"
            assert (await deaf.say("to three")).received == 3
            assert (await ann_hears.message()).text == "to three"  # and not what she said herself


async def test_tell_reaches_one(service: Service) -> None:
    async with (
        service.client(name="ann") as ann,
        service.client(name="bob") as bob,
        service.client(name="cleo") as cleo,
    ):
        async with Ear(bob) as bob_hears, Ear(cleo) as cleo_hears:
            assert (await ann.tell("bob", "psst")).received == 1
            assert (await ann.tell("#3", "by number")).received == 1
            message = await bob_hears.message()
            assert (message.text, message.is_private) == ("psst", True)
            assert (await cleo_hears.message()).text == "by number"
        assert (await bob.tell("ann", "she does not listen")).received == 0
        with pytest.raises(NotFound, match="nobody here is called dan"):
            await ann.tell("dan", "hello?")


async def test_tell_asks_which_one_if_several_have_the_name(service: Service) -> None:
    async with service.client() as ann, service.client() as bob:
        name = (await bob.who())[0].person.name
        with pytest.raises(BadArgument, match="use a number: #1, #2"):
            await ann.tell(name, "hello")


async def test_who_tells_names_and_places(service: Service) -> None:
    async with service.client(name="ann") as ann, service.client() as other:
        await other.dir()
        one, two = await ann.who()
        assert (one.person, one.is_you, one.is_listening) == (Person(1, "ann", False), True, False)
        assert two.person.session == 2 and "@" in two.person.name and not two.person.verified
        assert two.address.startswith("127.0.0.1:") and two.idle_s < 5 and two.activity is None
        async with Ear(other):
            assert [presence.is_listening for presence in await ann.who()] == [False, True]


async def test_who_tells_what_is_transferred(service: Service) -> None:
    async with service.client(name="ann") as ann, service.peer() as peer:
        await peer.send(b'put "slow.bin" {"size": 400}\n' + b"D\0\0\0\x64" + b"x" * 100)
        async with asyncio.timeout(30):
            while (activity := (await ann.who())[1].activity) is None or not activity.moved:
                pass
        assert (activity.verb, activity.name, activity.moved, activity.total, activity.percent) == (
            "put",
            "slow.bin",
            100,
            400,
            25,
        )


async def test_coming_going_and_new_names_are_told(service: Service) -> None:
    async with service.client(name="ann") as ann, Ear(ann) as ear:
        async with service.client(name="bob") as bob, Ear(bob):
            await bob.introduce("rob")
        seen = [await ear.next() for _ in range(3)]
    assert [
        (event.what, event.person.name, event.old)
        for event in seen
        if isinstance(event, Attendance)
    ] == [
        (JOINED, "bob", ""),
        (NAMED, "rob", "bob"),
        (LEFT, "rob", ""),
    ]


async def test_a_name_that_is_taken_is_refused_and_the_session_goes_on(service: Service) -> None:
    async with service.client(name="ann") as ann:
        with pytest.raises(NameTaken, match="the name Ann is taken; choose another"):
            async with service.client(name="Ann"):
                pass
        async with service.client() as other:
            with pytest.raises(NameTaken):
                await other.introduce("ann")
            assert (await other.introduce("bea")).name == "bea"
            assert [presence.person.name for presence in await ann.who()] == ["ann", "bea"]


async def test_a_client_gets_its_name_back_from_a_connection_that_only_seems_to_live(
    service: Service,
) -> None:
    async with service.client(name="ann") as ann:
        async with service.peer() as ghost:
            token = ann._identity.options("ann")["token"]
            await ann.introduce("")
            await ghost.send(f'as "ann" {json.dumps({"token": token})}\n'.encode())
            assert (await ghost.json())[0] == b"R"
            assert (await ann.introduce("ann")).name == "ann"
            assert {presence.person.name for presence in await ann.who()} == {"ann", ""}


async def test_events_come_while_a_command_runs_and_between(service: Service) -> None:
    (service.root / "large.bin").write_bytes(b"x" * (20 << 20))
    async with (
        service.client(name="ann") as ann,
        service.client(name="bob") as bob,
        Ear(bob) as ear,
    ):
        getting = asyncio.create_task(bob.get("large.bin", service.local))
        await ann.say("now")
        assert (await ear.message()).text == "now"
        assert (await getting).size == 20 << 20
        await ann.say("then")
        assert (await ear.message()).text == "then"


async def test_listening_goes_on_after_the_connection_was_lost(service: Service) -> None:
    async with (
        service.client(name="ann") as ann,
        service.client(name="bob", retry=None) as bob,
        Ear(bob) as ear,
    ):
        session = next(
            session for session in service.server.sessions if session.session.number == 2
        )
        session.channel.abort()
        async with asyncio.timeout(30):
            while not any(
                presence.is_listening for presence in await ann.who() if presence.person.session > 2
            ):
                pass
        await ann.say("are you there?")
        assert (await ear.message()).person.name == "ann"
        assert {presence.person.name for presence in await ann.who()} == {"ann", "bob"}


BAD_LINES: list[tuple[bytes, str]] = [
    (b"say\n", "bad_argument"),
    (b'say " "\n', "bad_argument"),
    (b"say caf\xe9\n", "bad_argument"),
    (b"say a\x1b[31mb\n", "bad_argument"),
    (b'say "two\\nlines"\n', "bad_argument"),
    (b'say "\\udc80"\n', "bad_argument"),
    (b"say " + b"x" * 4097 + b"\n", "bad_argument"),
    (b"tell\n", "bad_argument"),
    (b"tell ann\n", "bad_argument"),
    (b"tell ann hello\n", "not_found"),
    (b'tell "#99" {"text": "hello"}\n', "not_found"),
    (b'tell "ann" {"text": 1}\n', "bad_argument"),
    (b"as " + b"x" * 65 + b"\n", "bad_argument"),
    (b"as #1\n", "bad_argument"),
    (b"as  blank\n", "bad_argument"),
    (b'as "a\\u202eb"\n', "bad_argument"),
    (b'as "\\ud800"\n', "bad_argument"),
]


@pytest.mark.parametrize(
    ("line", "code"), BAD_LINES, ids=[ascii(line[:30]) for line, _ in BAD_LINES]
)
async def test_bad_line_is_answered_and_the_session_goes_on(
    service: Service, line: bytes, code: str
) -> None:
    async with service.peer() as peer:
        await peer.send(line + b"say " + b"y" * 4096 + b"\n")
        assert await peer.error() == code
        assert await peer.json() == (b"R", {"message": 1, "received": 0})


async def test_who_says_too_much_is_slowed_then_refused(tmp_path: Path) -> None:
    limits = Limits(say_burst=3, say_per_s=50.0, say_most=6)
    async with serve(tmp_path, limits=limits) as service, service.client() as client:
        for number in range(1, 7):
            assert (await client.say("again")).number == number
        with pytest.raises(TooFast, match="too many messages"):
            for _ in range(20):
                await client.say("and again")
        assert await client.dir() == []


async def test_who_changes_names_too_often_is_refused_and_words_of_others_are_heard(
    tmp_path: Path,
) -> None:
    limits = Limits(say_burst=3, say_per_s=50.0, say_most=6)
    async with (
        serve(tmp_path, limits=limits) as service,
        service.client() as listener,
        service.client() as speaker,
        Ear(listener) as ear,
    ):
        async with service.peer() as peer:
            await peer.send(
                b"listen\n" + b"".join(b"as name%d\n" % number for number in range(2000))
            )
            answers = [await peer.json() for _ in range(2001)]
            codes = [value["code"] for kind, value in answers if kind == b"X"]
            assert codes == ["too_fast"] * len(codes) and len(codes) > 1000
            await speaker.say("still heard")
            assert (await ear.message()).text == "still heard"
        assert not any(isinstance(event, Missed) for event in drained(ear.events))


def drained(events: asyncio.Queue[LiveEvent]) -> list[LiveEvent]:
    return [events.get_nowait() for _ in range(events.qsize())]


async def test_a_listener_that_does_not_read_is_told_how_many_it_missed(tmp_path: Path) -> None:
    limits = Limits(max_outbox_bytes=1000, say_burst=1 << 20, say_most=1 << 20)
    async with (
        serve(tmp_path, limits=limits) as service,
        service.peer() as deaf,
        service.client() as speaker,
    ):
        await deaf.send(b"listen\n")
        assert (await deaf.json())[0] == b"R"
        sent = 0
        session = next(
            session for session in service.server.sessions if session.session.number == 1
        )
        outbox = session.session.participant.outbox
        assert outbox is not None
        transport: Any = session.channel.transport
        for sock in (deaf.writer.get_extra_info("socket"), transport._kernel_socket):
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, 4096)  # soon full
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio does not declare the reader's side
        while outbox.missed < 5:
            await speaker.say("x" * 4000)
            sent += 1
        deaf.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        assert await count_messages(deaf, sent) >= 5
        await speaker.say("at last")
        assert (await next_event(deaf))["text"] == "at last"


async def count_messages(peer: RawPeer, sent: int) -> int:
    """Read until all sent messages are accounted for in order; return how many were missed."""
    number = missed = 0
    while number < sent:
        event = await next_event(peer)
        if event["event"] == "missed":
            missed += event["count"]
            number += event["count"]
        elif event["event"] == "said":
            number += 1
            assert event["message"] == number
    return missed


async def next_event(peer: RawPeer) -> dict[str, Any]:
    async with asyncio.timeout(30):
        kind, event = await peer.json()
    assert kind == b"V", event
    return dict(event)


async def test_missed_events_of_a_program_that_does_not_take_them_are_counted(
    service: Service,
) -> None:
    from ftransfer.client.events import Inbox

    inbox = Inbox(lambda event: True)
    for number in range(10_003):
        inbox.put(Message(Person(1), 0, "x", number))
    heard = [await inbox.take() for _ in range(10_001)]
    assert heard[-1] == Missed(3)


async def test_the_idle_time_does_not_hold_for_a_listener(tmp_path: Path) -> None:
    limits = Limits(idle_s=1.5, heartbeat_s=0.5)
    async with (
        serve(tmp_path, limits=limits) as service,
        service.peer() as idle,
        service.peer() as listener,
    ):
        await listener.send(b"listen\n")
        assert (await listener.json())[0] == b"R"
        assert await idle.error() == "timed_out"
        for _ in range(4):
            assert await next_event(listener) == {"event": "heartbeat"}
        await listener.send(b"say still here\n")
        assert (await answer(listener))["message"] == 1


async def answer(peer: RawPeer) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (frame := await peer.json())[0] == b"V":
            pass
    assert frame[0] == b"R", frame
    return dict(frame[1])


async def test_the_time_after_which_a_lost_peer_is_noticed_is_announced(service: Service) -> None:
    async with service.client() as client:
        assert client.hello.limits["vanish_s"] == Limits().vanish_s
        assert "live" in client.hello.features
