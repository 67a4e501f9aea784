"""The rights `say` and `watch`: who may send messages, see who is here, and follow changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ftransfer.auth.admission import Admission
from ftransfer.auth.permissions import Grant, Principal, parse_rights
from ftransfer.client.client import Client
from ftransfer.client.security import Security
from ftransfer.errors import Forbidden
from ftransfer.names import ROOT, parse_name
from ftransfer.protocol.live import Change, Message
from tests.e2e.test_people import Ear
from tests.support.service import Service, serve

TOKEN = "a-token-that-nobody-knows"

Guest = Callable[..., Any]


@contextlib.asynccontextmanager
async def guests_may(
    tmp_path: Path, words: str, **by_folder: str
) -> AsyncIterator[tuple[Service, Client, Guest]]:
    """Serve a folder to guests with some rights.

    Yields the server, a client of its owner, who may do everything, and what makes a guest.
    """
    grants = {ROOT: words} | {parse_name(folder): each for folder, each in by_folder.items()}
    guests = tuple(Grant(prefix, parse_rights(each)) for prefix, each in grants.items())
    admission = Admission(token=TOKEN, anonymous=Principal("", guests, is_anonymous=True))
    async with serve(tmp_path, admission=admission) as service:
        owner = Security(state=tmp_path / "owner", secret=TOKEN)
        stranger = Security(state=tmp_path / "guest")
        async with service.client(name="owner", security=owner) as client:
            yield (
                service,
                client,
                lambda name, **options: service.client(name=name, security=stranger, **options),
            )


async def test_messages_need_the_right_to_say(tmp_path: Path) -> None:
    async with guests_may(tmp_path, "read,watch") as (_, owner, guest), Ear(owner):
        async with guest("ann") as ann:
            for sending in (
                ann.say("hello"),
                ann.tell("owner", "psst"),
                ann.tell("nobody", "psst"),
            ):
                with pytest.raises(Forbidden, match="may not send messages"):
                    await sending
            async with Ear(ann) as ann_hears:  # receiving needs no right
                assert (await owner.say("to all")).received == 1
                assert (await ann_hears.message()).text == "to all"


async def test_whoever_may_say_need_not_watch(tmp_path: Path) -> None:
    async with guests_may(tmp_path, "read,say") as (_, owner, guest), Ear(owner) as ear:
        async with guest("ann") as ann:
            assert (await ann.say("hello")).received == 1
            assert (await ear.message()).text == "hello"
            assert (await ann.tell("owner", "psst")).received == 1
            assert (await ear.message()).is_private


async def test_without_the_right_to_watch_one_sees_only_oneself(tmp_path: Path) -> None:
    async with guests_may(tmp_path, "read,say") as (_, owner, guest):
        async with guest("ann") as ann, ann.listening() as events:
            assert [presence.person.name for presence in await ann.who()] == ["ann"]
            async with guest("bob") as bob, Ear(bob), Ear(owner):  # which is announced to others
                assert {"ann", "bob"} <= {found.person.name for found in await owner.who()}
                await owner.say("now")
            await owner.say("later")
            async with asyncio.timeout(30):
                first, second = await events.take(), await events.take()
            assert isinstance(first, Message) and isinstance(second, Message)
            assert (first.text, second.text) == ("now", "later")


async def test_changes_need_the_right_to_watch(tmp_path: Path) -> None:
    async with guests_may(tmp_path, "read,say") as (_, _, guest), guest("ann") as ann:
        with pytest.raises(Forbidden, match="may not watch"):
            async with ann.watching():
                pass


async def test_changes_come_from_where_one_may_watch(tmp_path: Path) -> None:
    async with guests_may(tmp_path, "read", open="read,watch", blind="watch") as all_three:
        service, owner, guest = all_three
        for folder in ("open", "blind", "shut"):
            (service.root / folder).mkdir()
        source = tmp_path / "a"
        source.write_bytes(b"a")
        async with guest("ann") as ann, ann.watching() as events:
            for name in ("a", "blind/a", "open/a"):
                await owner.put(source, name)
            async with asyncio.timeout(30):
                change = await events.take()
            assert isinstance(change, Change) and change.name == "open/a"
            with pytest.raises(Forbidden):
                async with ann.watching("shut"):
                    pass


async def test_a_right_that_was_taken_back_ends_the_watch_and_nothing_else(tmp_path: Path) -> None:
    async with guests_may(tmp_path, "read,watch") as (service, _, guest):
        (service.root / "a").write_bytes(b"a")
        async with guest("ann", retry=None) as ann, ann.watching() as events:
            service.server.service.admission.anonymous = Principal(
                "", (Grant(ROOT, parse_rights("read")),), is_anonymous=True
            )
            for session in service.server.sessions:
                session.channel.abort()
            with pytest.raises(Forbidden):
                async with asyncio.timeout(30):
                    while True:
                        await events.take()
            assert [entry.name for entry in await ann.dir()] == ["a"]
