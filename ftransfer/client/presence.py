"""The half of the client that is about others: who is here, a word to them, and what they do."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from ftransfer.client.base import Commands
from ftransfer.client.events import Inbox, Live
from ftransfer.client.paths import RemoteName, share_path
from ftransfer.client.session import ClientSession
from ftransfer.errors import BadArgument, NameTaken, RemoteProtocolError, RequestError, UnknownVerb
from ftransfer.protocol.live import LiveEvent, Person, Presence, presence_from_wire
from ftransfer.protocol.replies import LIVE, Hello, Listing, Reply, take, take_count

OnNameRefused = Callable[[RequestError], None]


class Delivery(NamedTuple):
    """What became of a message: its number within this session, and how many sessions it went
    to.
    """

    number: int
    received: int


class People(Commands):
    """Who we are on the server, and everybody else. Part of the Client."""

    def __init__(self, live: Live, name: str, on_name_refused: OnNameRefused | None) -> None:
        self._live = live
        self._name = name
        self._on_name_refused = on_name_refused
        # With it a new connection takes the place of an old one that the server still believes to
        # be there, and further ones belong to the first. Nobody else can guess it.
        self._token = os.urandom(8).hex()

    async def _take_place(self, session: ClientSession, *, is_first: bool) -> None:
        """Say on a new connection who we are and what we want to be told."""
        if LIVE not in session.hello.features:
            return
        try:
            if self._name:
                values = await session.request("as", self._name, {"token": self._token})
                session.learn_hidden(values)
            else:
                await session.introduce(self._who_we_are())
        except (NameTaken, BadArgument) as error:
            if is_first:
                if self._on_name_refused is None:
                    raise
                self._name = ""
                self._on_name_refused(error)
            await session.introduce(self._who_we_are())
        await self._live.restore(session)

    async def _help(self, helper: ClientSession, leader: Hello) -> None:
        """Say on a further connection that it belongs to a transfer of ours: it is nobody else, for
        whoever looks.
        """
        if LIVE in helper.hello.features:
            await helper.introduce({"of": leader.session, "token": self._token})

    def _who_we_are(self) -> dict[str, str]:
        return {**_user_and_host(), "token": self._token}

    async def introduce(self, name: str) -> Person:
        """Go by a name of our own from now on; "" goes back to user@host.

        Raises:
            NameTaken: Somebody else here is called that; we are called as before.
            BadArgument: No session can be called that.
        """
        values = await self._request(
            "as", name, {"token": self._token} if name else self._who_we_are()
        )
        self._name = name
        return Person(
            take_count(values, "session"),
            take(values, "name", str),
            take(values, "verified", bool, False),
        )

    async def who(self) -> list[Presence]:
        """Give the sessions that are connected now, in the order in which they came.

        Raises:
            UnknownVerb: The server has no live layer.
        """

        async def list_sessions(session: ClientSession) -> list[Presence]:
            found: list[Presence] = []
            await session.send("who")
            while isinstance(event := await session.next_event(), Listing):
                found += [presence_from_wire(item) for item in event.items]
            if not isinstance(event, Reply):
                raise session.unexpected(event)
            return found

        return await self._once(list_sessions)

    async def say(self, text: str) -> Delivery:
        """Say something to all others who listen.

        Raises:
            BadArgument: It is too long, or not one line of text.
            TooFast: We have said too much; wait.
        """
        return _delivery(await self._request("say", text))

    async def tell(self, name: str, text: str) -> Delivery:
        """Say something to one, by name or as "#7"; `received` is 0 if that one is not listening.

        Raises:
            As say; NotFound: Nobody here is called that. BadArgument: Several are.
        """
        return _delivery(await self._request("tell", name, {"text": text}))

    def listening(self) -> AbstractAsyncContextManager[Inbox]:
        """Listen for a while: `async with client.listening() as events`. Nothing is left out from
        the beginning of the block on.
        """
        return self._live.listening()

    def watching(self, path: RemoteName = "") -> AbstractAsyncContextManager[Inbox]:
        """Watch for a while, as listening. Raises as watch."""
        return self._live.watching(share_path(path))

    async def listen(self) -> AsyncGenerator[LiveEvent, None]:
        """Give what others say and who comes and goes, for as long as wanted, across lost
        connections.

        Other commands may be used meanwhile. Close it (contextlib.aclosing) when it is left.

        Raises:
            ChannelError: The server cannot be reached any more, for longer than the rules for
                retries allow.
        """
        async with self.listening() as events:
            while True:
                yield await events.take()

    async def watch(self, path: RemoteName = "") -> AsyncGenerator[LiveEvent, None]:
        """Give each Change below a folder of the share, and a Rescan or Missed where the server
        could not tell them all.

        Otherwise as listen.

        Raises:
            NotFound, NameRefused, UnknownVerb, and ChannelError.
        """
        async with self.watching(path) as events:
            while True:
                yield await events.take()


def _user_and_host() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for the number of the user
        user = ""
    return {"user": user, "host": socket.gethostname()}


def _delivery(values: Mapping[str, Any]) -> Delivery:
    try:
        return Delivery(take_count(values, "message"), take_count(values, "received"))
    except RemoteProtocolError as error:
        raise UnknownVerb("the server does not pass messages on") from error
