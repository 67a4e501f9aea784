"""One connection to a server, from its hello to its end: commands go out, answers come in.

It does not retry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from ftransfer.client.address import Address
from ftransfer.errors import (
    Busy,
    ChannelError,
    Closed,
    FtransferError,
    InternalError,
    LineTooLong,
    ProtocolError,
    RemoteProtocolError,
    RequestError,
    ServerStopping,
    TimedOut,
)
from ftransfer.protocol.commands import Command
from ftransfer.protocol.connection import Event, InputEnded, Payload
from ftransfer.protocol.replies import (
    HEARTBEAT,
    ErrorReply,
    Hello,
    Listing,
    Notice,
    Reply,
    hidden_patterns,
    take_count,
)
from ftransfer.protocol.state import State
from ftransfer.transport.channel import Channel

# After these errors the server sends nothing more in the session.
_ENDINGS = (ChannelError, ProtocolError, LineTooLong, Busy, ServerStopping, InternalError)

# Commands whose answer may take long: the server reads whole files or removes trees, and sends
# heartbeats meanwhile.
_WORKING = frozenset(("checksum", "rm", "put", "part", "mput", "mv"))

OnNotice = Callable[[Notice], None]


class ClientSession:
    """A connected session. Commands run one after the other.

    A ChannelError or ProtocolError ends it. `round_trip_s` is the round trip time in seconds; 0.0
    if the system does not measure it.
    """

    def __init__(
        self, address: Address, channel: Channel, hello: Hello, on_notice: OnNotice | None
    ) -> None:
        self.address = address
        self.channel = channel
        self.connection = channel.connection
        self.hello = hello
        # Measured now, while neither end is busy: later, a server that limits its rate would look
        # like a long path.
        self.round_trip_s = channel.transport.least_round_trip_s
        self.is_over = False
        self._on_notice = on_notice
        self._introducing = False
        self.hidden: tuple[str, ...] | None = None  # patterns of hidden names; None: unknown
        # How long only heartbeats may arrive in place of an answer
        self._quiet_s = channel.limits.quiet_s

    @property
    def is_between_commands(self) -> bool:
        """Return whether another command can be sent: nothing of the last one is on the wire."""
        connection = self.connection
        return not self.is_over and connection.state is State.READY and connection.payload_left == 0

    @property
    def is_in_step(self) -> bool:
        """Return whether the next answer is that of the next command: none was left half read."""
        connection = self.connection
        return (
            not self.is_over
            and connection.payload_left == 0
            and connection.state in (State.READY, State.ANSWERING)
        )

    # Commands.

    async def introduce(self, options: Mapping[str, Any]) -> None:
        """Send who we are, without waiting: the answer is read with that of the first command."""
        await self.channel.send(self.connection.send_command(Command("as", "", options)))
        self._introducing = True

    async def finish_introduction(self) -> None:
        """Read the answer to `introduce`, if it is still unread."""
        if not self._introducing:
            return
        self._introducing = False
        try:
            self.learn_hidden(await self.reply())
        except RequestError:
            return  # the server does not need to know who we are

    def learn_hidden(self, values: Mapping[str, Any]) -> None:
        """Keep the patterns of hidden names from the reply to `as` or `login`."""
        patterns = hidden_patterns(values)
        if patterns is not None:
            self.hidden = patterns

    async def send(
        self, verb: str, argument: str = "", options: Mapping[str, Any] | None = None
    ) -> None:
        """Send a command; then read its answer with `next_event` or `reply`."""
        self.expect_answer(verb)
        await self.channel.send(
            self.connection.send_command(Command(verb, argument, options or {}))
        )

    def expect_answer(self, verb: str) -> None:
        """Set the deadlines for the answer to the command that is sent next."""
        limits = self.channel.limits
        self._quiet_s = limits.work_s if verb in _WORKING else limits.quiet_s
        self.channel.progress.begin()

    async def request(
        self, verb: str, argument: str = "", options: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Send a command that is answered by a reply alone, and return the reply."""
        await self.send(verb, argument, options)
        return await self.reply()

    async def request_or_error(
        self, verb: str, argument: str, options: Mapping[str, Any]
    ) -> Mapping[str, Any] | FtransferError:
        """Send a command as `request` does, but return its error. Raise what ends the session."""
        await self.send(verb, argument, options)
        return await self.result_or_error()

    async def result_or_error(self) -> Mapping[str, Any] | FtransferError:
        """Return the reply to a command, or its error. Raise what ends the session."""
        try:
            return await self.reply()
        except _ENDINGS:
            raise
        except FtransferError as error:
            return error

    # Answers.

    async def next_event(self) -> Event:
        """Return the next event of an answer; dispatch notices, skip empty listings.

        Raises:
            FtransferError: The server's error frame.
            Closed, TimedOut, RemoteProtocolError: The session is over.
        """
        await self.finish_introduction()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._quiet_s
        while True:
            event = self.dispatch(await self.channel.next_event(self.channel.limits.stall_s))
            if event is not None and not (isinstance(event, Listing) and not event.items):
                return event
            if self.connection.is_sending:
                deadline = loop.time() + self._quiet_s
            elif loop.time() >= deadline:
                self.abort()
                raise TimedOut(
                    f"{self.address} has sent nothing but signs of life for {self._quiet_s:.0f} s"
                )

    def dispatch(self, event: Event) -> Event | None:
        """Return an event of an answer; dispatch a notice (None); raise for an error or the end."""
        match event:
            case Notice(what=what):
                if what != HEARTBEAT and self._on_notice is not None:
                    self._on_notice(event)
                return None
            case ErrorReply():
                raise event.to_exception()
            case InputEnded():
                self.is_over = True
                raise Closed(f"{self.address} closed the connection")
            case _:
                return event

    async def reply(self) -> Mapping[str, Any]:
        """Return the values of the reply that ends the answer."""
        event = await self.next_event()
        if not isinstance(event, Reply):
            raise self.unexpected(event)
        return event.values

    def unexpected(self, event: Event) -> RemoteProtocolError:
        """Abort the connection, and return the error for an event that is not allowed."""
        self.abort()
        what = (
            event.kind.name.lower() if isinstance(event, Payload) else type(event).__name__.lower()
        )
        return RemoteProtocolError(f"{self.address} sent {what} out of turn")

    async def listen(self) -> None:
        """Dispatch notices until cancelled or the connection ends. Only between commands."""
        await self.finish_introduction()
        # A server regularly sends a listener something, if only a heartbeat.
        limits = self.channel.limits
        quiet_s = max(limits.stall_s, 3 * self.hello.limits.get("heartbeat_s", limits.heartbeat_s))
        while True:
            event = await self.channel.next_event(quiet_s)
            if self.dispatch(event) is not None:
                raise self.unexpected(event)

    # The end.

    async def close(self) -> None:
        """End the connection. Never raise."""
        if self.is_over:
            return
        try:
            with contextlib.suppress(FtransferError, TimeoutError):
                async with asyncio.timeout(self.channel.limits.close_s):
                    if not self.is_between_commands:
                        await self.request("close")
                    # Ending our output between two commands is the farewell. All commands are
                    # answered, so a socket of our own closes without a wait; an asyncio transport
                    # takes its time.
                    await self.channel.transport.close(
                        0.0 if self.channel.moves_files else self.channel.limits.close_s
                    )
        finally:
            self.abort()  # also after a cancellation
        await asyncio.sleep(0)  # the iteration in which the transport releases the socket

    def abort(self) -> None:
        """Abort the connection at once."""
        self.is_over = True
        self.channel.abort()


def require_count(values: Mapping[str, Any], key: str, came: int) -> None:
    """Compare the number of received items with the number in the reply.

    An answer that does not add up must not be used.

    Raises:
        RemoteProtocolError: The reply has another number, or none.
    """
    announced = take_count(values, key)
    if announced != came:
        raise RemoteProtocolError(
            f'the server announced {announced} as "{key}" and {came} came; run the command again'
        )
