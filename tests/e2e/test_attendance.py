"""Who is told of: people, not scripts, not the connections of one transfer, and never oneself."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.client import Client
from ftransfer.client.transfers.segments import SEGMENT_BYTES
from ftransfer.protocol.live import JOINED, LEFT, Attendance, Message
from ftransfer.service import attendance
from tests.e2e.test_people import Ear
from tests.support.service import RawPeer, Service, serve


@pytest.fixture(name="service")
async def make_service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


async def heard_until_said(ear: Ear, speaker: Client, text: str = "now") -> list[tuple[str, str]]:
    """Return whose coming and going is sent before the speaker's message."""
    await speaker.say(text)
    seen: list[tuple[str, str]] = []
    while not isinstance(event := await ear.next(), Message):
        assert isinstance(event, Attendance)
        seen.append((event.what, event.person.name))
    return seen


async def test_script_that_says_a_few_commands_is_no_news(service: Service) -> None:
    (service.root / "a").write_bytes(b"a")
    async with (
        service.client(name="ann") as ann,
        Ear(ann) as ear,
        service.client(name="speaker") as speaker,
    ):
        for number in range(3):
            async with service.client(name=f"script {number}") as script:
                await script.get("a", service.local)
                await script.introduce("another")
        assert await heard_until_said(ear, speaker) == []


async def test_who_listens_is_told_of_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "STAY_S", 3600.0)
    async with (
        service.client(name="ann") as ann,
        Ear(ann) as ear,
        service.client(name="speaker") as speaker,
    ):
        async with service.client(name="bob") as bob, Ear(bob):
            assert await heard_until_said(ear, speaker) == [(JOINED, "bob")]
        event = await ear.next()
        assert isinstance(event, Attendance) and (event.what, event.person.name) == (LEFT, "bob")


async def test_who_stays_is_told_of_in_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "STAY_S", 0.0)
    async with (
        service.client(name="ann") as ann,
        Ear(ann) as ear,
        service.client(name="bob") as bob,
    ):
        await bob.dir()
        event = await ear.next(
            lambda event: isinstance(event, Attendance) and event.person.name == "bob"
        )
        assert isinstance(event, Attendance) and event.what == JOINED


async def test_connection_that_is_lost_and_made_again_is_no_news(service: Service) -> None:
    async with (
        service.client(name="ann") as ann,
        Ear(ann) as ear,
        service.client(retry=None) as bob,
        Ear(bob) as own,
    ):
        before = bob.hello.session
        await ear.next(lambda event: isinstance(event, Attendance) and event.what == JOINED)
        next(
            session for session in service.server.sessions if session.session.number == before
        ).channel.abort()
        async with asyncio.timeout(30):
            while not any(
                presence.is_listening
                for presence in await ann.who()
                if presence.person.session > before
            ):
                pass
        assert bob.hello.session != before
        async with service.client(name="speaker") as speaker:
            assert await heard_until_said(ear, speaker) == []
            assert (await ann.tell(f"#{before}", "by the number of before")).received == 1
            assert not isinstance(
                await own.next(lambda event: isinstance(event, (Attendance, Message))), Attendance
            )


async def test_name_can_be_typed_as_it_is_shown(service: Service) -> None:
    async with service.client() as ann, service.client(name="bob") as bob, Ear(ann) as ear:
        shown = f"?{(await bob.who())[0].person.name}"
        assert (await bob.tell(shown, "psst")).received == 1
        assert (await ear.message()).text == "psst"


# The connections of one transfer.


async def test_connections_of_one_transfer_are_one_session(service: Service) -> None:
    size = 40 * SEGMENT_BYTES
    (service.local / "big").write_bytes(os.urandom(size))
    async with (
        service.client(name="ann") as ann,
        Ear(ann) as ear,
        service.client(name="bob") as bob,
    ):
        seen: list[tuple[int, int]] = []
        most, moved_on, is_over = 0, asyncio.Event(), False

        async def look() -> None:
            nonlocal most
            while not is_over:
                await moved_on.wait()
                moved_on.clear()
                most = max(most, len(service.server.sessions))
                for presence in await ann.who():
                    if presence.activity is not None:
                        assert presence.person.name == "bob"
                        assert presence.activity.name in ("big", "back")
                        seen.append((presence.activity.moved, presence.activity.total or 0))
                assert len(await ann.who()) == 2

        looking = asyncio.create_task(look())
        await bob.put(service.local / "big", streams=6, progress=lambda _: moved_on.set())
        await bob.rename("big", "back")
        await bob.get("back", service.local, streams=6, progress=lambda _: moved_on.set())
        # A command that is cancelled costs the connection, and with it what is told meanwhile
        is_over = True
        moved_on.set()
        await looking
        assert most > 4  # the connections were there
        # Each looks like one transfer of the whole, but for a moment at either end: its size is not
        # known yet, or nobody helps.
        assert all(total in (0, size) or total <= SEGMENT_BYTES for _, total in seen)
        assert max(total for _, total in seen) == size
        assert max(moved for moved, _ in seen) <= size
        # If the machine is slow enough
        assert set(await heard_until_said(ear, bob)) <= {(JOINED, "bob")}


@pytest.mark.parametrize(("of", "token"), [(1, "wrong"), (1, ""), (99, "secret"), (2, "secret")])
async def test_nobody_helps_a_session_without_its_word(
    service: Service, of: int, token: str
) -> None:
    async with service.peer() as leader, service.peer() as stranger:
        assert await asked(leader, b'as "" {"user":"ann","host":"here","token":"secret"}') == "R"
        line = f'as "" {json.dumps({"of": of, "token": token})}'.encode()
        assert await asked(stranger, line) == "bad_argument"
        async with service.client() as viewer:
            assert len(await viewer.who()) == 3


async def test_helper_whose_leader_has_gone_is_a_session_like_others(service: Service) -> None:
    async with service.peer() as helper:
        async with service.peer() as leader:
            assert (
                await asked(leader, b'as "" {"user":"ann","host":"here","token":"secret"}') == "R"
            )
            assert await asked(helper, b'as "" {"of":2,"token":"secret"}') == "R"
            async with service.client() as viewer:
                assert [presence.person.session for presence in await viewer.who()] == [2, 3]
        async with service.client() as viewer, asyncio.timeout(30):
            while [presence.person.session for presence in await viewer.who()][:1] != [1]:
                pass


async def asked(peer: RawPeer, line: bytes) -> str:
    """Send a line; return "R", or the code of the error."""
    await peer.send(line + b"\n")
    kind, value = await peer.json()
    return str(value["code"]) if kind == b"X" else kind.decode()
