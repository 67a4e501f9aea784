"""Commands about other users: who is online, messages to them, and their changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from ftransfer.client.base import ClientBase
from ftransfer.client.events import Inbox
from ftransfer.client.paths import RemoteName, share_path
from ftransfer.errors import RemoteProtocolError, UnknownVerb
from ftransfer.protocol.live import LiveEvent, Person, Presence, presence_from_wire
from ftransfer.protocol.replies import Listing, Reply, take, take_count


class Delivery(NamedTuple):
    """A sent message: its number in this session, and how many sessions received it."""

    number: int
    received: int


class PresenceCommands(ClientBase):
    """The commands of a Client on presence, messages and changes."""

    async def introduce(self, name: str) -> Person:
        """Take a name from now on; "" restores user@host.

        Raises:
            NameTaken: Another session has that name; ours is unchanged.
            BadArgument: No session can have that name.
        """
        values = await self._request("as", name, self._identity.options(name))
        self._identity.name = name
        return Person(
            take_count(values, "session"),
            take(values, "name", str),
            take(values, "verified", bool, False),
        )

    async def who(self) -> list[Presence]:
        """Return the connected sessions, in the order in which they arrived.

        Raises:
            UnknownVerb: The server has no live layer.
        """

        found: list[Presence] = []
        async with self.exclusive_session() as session:
            await session.send("who")
            while isinstance(event := await session.next_event(), Listing):
                found += [presence_from_wire(item) for item in event.items]
            if not isinstance(event, Reply):
                raise session.unexpected(event)
        return found

    async def say(self, text: str) -> Delivery:
        """Send a message to all other listeners.

        Raises:
            BadArgument: It is too long, or not one line of text.
            TooFast: Too many messages; wait.
        """
        return _delivery(await self._request("say", text))

    async def tell(self, name: str, text: str) -> Delivery:
        """Send a message to one session, by name or as "#7"; `received` is 0 if it does not listen.

        Raises:
            As say; NotFound: No session has that name. BadArgument: Several have.
        """
        return _delivery(await self._request("tell", name, {"text": text}))

    def listening(self) -> AbstractAsyncContextManager[Inbox]:
        """Listen during a block: `async with client.listening() as events`.

        No event after the start of the block is missed.
        """
        return self._live.listening()

    def watching(self, path: RemoteName = "") -> AbstractAsyncContextManager[Inbox]:
        """Watch a folder during a block, as `listening` does. Raises as watch."""
        return self._live.watching(share_path(path))

    async def listen(self) -> AsyncGenerator[LiveEvent, None]:
        """Yield messages, and who joins and leaves, across lost connections.

        Other commands may run meanwhile. Close it (contextlib.aclosing) when leaving it.

        Raises:
            ChannelError: The server stays unreachable for longer than the retry rules allow.
        """
        async with self.listening() as events:
            while True:
                yield await events.take()

    async def watch(self, path: RemoteName = "") -> AsyncGenerator[LiveEvent, None]:
        """Yield each Change below a folder, and a Rescan or Missed where events were lost.

        Otherwise the same as listen.

        Raises:
            NotFound, NameRefused, UnknownVerb, and ChannelError.
        """
        async with self.watching(path) as events:
            while True:
                yield await events.take()


def _delivery(values: Mapping[str, Any]) -> Delivery:
    try:
        return Delivery(take_count(values, "message"), take_count(values, "received"))
    except RemoteProtocolError as error:
        raise UnknownVerb("the server does not pass messages on") from error
