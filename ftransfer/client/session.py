"""One connection to a server, from its hello to its end. The client's commands are spoken over it;
it knows nothing of retries.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import Any

from ftransfer.client.handshake import NO_LOGIN, Address, greet
from ftransfer.client.security import DEFAULT_SECURITY, Security
from ftransfer.errors import (
    Busy,
    CannotConnect,
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
from ftransfer.limits import LEAST_LIMITS, Limits
from ftransfer.protocol.commands import Command
from ftransfer.protocol.connection import Event, InputEnded, Payload
from ftransfer.protocol.replies import (
    HEARTBEAT,
    LIVE,
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

# However short the pauses are that a server wants: it must not make us send without end.
_LEAST_HEARTBEAT_S = 0.1
# Commands that may be on their way at once. At 50 ms to the server and back that is some five
# thousand in a second.
_WINDOW = 256
# After these the server says nothing more in the session.
_ENDINGS = (ChannelError, ProtocolError, LineTooLong, Busy, ServerStopping, InternalError)

# Whose answer may need work that takes long: the server reads whole files, or removes trees, and
# says meanwhile that it is there.
_WORKING = frozenset(("checksum", "rm", "put", "part", "mput", "mv"))

Asked = tuple[str, str, Mapping[str, Any]]  # verb, argument, options
OnNotice = Callable[[Notice], None]


class ClientSession:
    """A connected session. Commands are spoken one after the other; after any ChannelError or
    ProtocolError it is over.

    `path_s` is how long the way to the server and back takes, in seconds; 0.0 if the system does
    not tell.
    """

    def __init__(
        self, address: Address, channel: Channel, hello: Hello, on_notice: OnNotice | None
    ) -> None:
        self.address = address
        self.channel = channel
        self.connection = channel.connection
        self.hello = hello
        # Measured now, before anything keeps either end busy: later a server that bounds its rate
        # looks like a long path.
        self.path_s = channel.transport.least_round_trip_s
        self.is_over = False
        self._on_notice = on_notice
        self._introducing = False
        self._hidden_patterns: tuple[str, ...] | None = None  # None: not told yet
        self._quiet_s = channel.limits.quiet_s  # how long the answer may be nothing but heartbeats

    @classmethod
    async def open(
        cls,
        address: Address,
        limits: Limits,
        *,
        security: Security = DEFAULT_SECURITY,
        on_notice: OnNotice | None = None,
        direct: bool = True,
        only_given: bool = False,
    ) -> ClientSession:
        """Connect, make sure who answers, hear the server's hello, and log in. Takes and raises as
        greet and log_in.
        """
        channel, hello = await greet(address, limits, security, direct=direct)
        try:
            channel.limits = channel.connection.peer_limits = _within(limits, hello)
        except RemoteProtocolError as error:
            channel.abort()
            raise CannotConnect(f"{address} {error}") from error
        session = cls(address, channel, hello, on_notice)
        if hello.auth != NO_LOGIN or security.user:
            from ftransfer.client.login import log_in  # a server that asks nothing costs nothing

            try:
                await log_in(session, security, only_given=only_given)
            except BaseException:
                session.abort()
                raise
        return session

    @property
    def is_between_commands(self) -> bool:
        """Whether another command can be spoken: nothing of the last one is still on the wire."""
        connection = self.connection
        return not self.is_over and connection.state is State.READY and connection.payload_left == 0

    @property
    def is_in_step(self) -> bool:
        """Whether the next thing to come is the answer to the next command: nothing of an answer
        has been left unread.
        """
        connection = self.connection
        return (
            not self.is_over
            and connection.payload_left == 0
            and connection.state in (State.READY, State.ANSWERING)
        )

    # Speaking.

    async def introduce(self, options: Mapping[str, Any]) -> None:
        """Say who we are, without waiting for the answer: it is read together with that of the
        first command.
        """
        await self.channel.send(self.connection.send_command(Command("as", "", options)))
        self._introducing = True

    async def _hear_introduction(self) -> None:
        self._introducing = False
        try:
            self.learn_hidden(await self.reply())
        except RequestError:
            return  # the server does not care who we are

    def learn_hidden(self, values: Mapping[str, Any]) -> None:
        """Keep the patterns of hidden names that the reply to `as` or `login` tells."""
        patterns = hidden_patterns(values)
        if patterns is not None:
            self._hidden_patterns = patterns

    async def hidden_patterns(self) -> tuple[str, ...]:
        """Return the patterns of the names that the server hides: what it does not list may be
        there. Only between commands.

        Raises:
            RemoteProtocolError: It does not tell them, so nothing may be removed for being missing
                there. The errors of `ask`, if it has to be asked.

        Source: docs/protocol.md section 5.
        """
        if self._introducing:
            await self._hear_introduction()
        if self._hidden_patterns is None and LIVE in self.hello.features:
            self.learn_hidden(await self.ask("as", "", {}))
            if self._hidden_patterns is None:
                raise RemoteProtocolError(
                    f"{self.address} does not say which names it hides, so nothing may be removed;"
                    " leave out --delete, or update the server"
                )
        return self._hidden_patterns or ()

    async def say(
        self, verb: str, argument: str = "", options: Mapping[str, Any] | None = None
    ) -> None:
        """Send a command; its answer is then read with `answer` or `reply`."""
        self._expect(verb)
        await self.channel.send(
            self.connection.send_command(Command(verb, argument, options or {}))
        )

    def _expect(self, verb: str) -> None:
        limits = self.channel.limits
        self._quiet_s = limits.work_s if verb in _WORKING else limits.quiet_s
        self.channel.begin_transfer()

    async def ask(
        self, verb: str, argument: str = "", options: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Send a command that is answered by a reply alone, and give the reply."""
        await self.say(verb, argument, options)
        return await self.reply()

    async def ask_many(
        self, commands: Iterable[Asked]
    ) -> AsyncGenerator[Mapping[str, Any] | FtransferError, None]:
        """Send commands that are answered by a reply alone, ahead of their answers; give each one's
        reply, or its error, in order.

        Round trips do not add up: a window of commands is on its way while answers come in. If the
        generator is left before its end (close it with contextlib.aclosing), the connection is
        given up.

        Raises:
            Closed, TimedOut, RemoteProtocolError and what else ends a session: whether the commands
            that have no answer yet were
            carried out is not known.
        """
        room = asyncio.Semaphore(_WINDOW)
        # In order: sent (True), not sent because, no more (False)
        said: asyncio.Queue[LineTooLong | bool] = asyncio.Queue()
        sending = asyncio.create_task(self._say_ahead(iter(commands), room, said))
        sending.add_done_callback(lambda _: said.put_nowait(False))
        answered = 0
        try:
            while (word := await said.get()) is not False:
                yield await self.outcome() if word is True else word
                answered += 1
                if answered == _WINDOW // 2:  # in halves, so that lines travel many to a packet
                    for _ in range(answered):
                        room.release()
                    answered = 0
            await sending
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            if not self.is_between_commands:
                self.abort()

    async def _say_ahead(
        self,
        commands: Iterator[Asked],
        room: asyncio.Semaphore,
        said: asyncio.Queue[LineTooLong | bool],
    ) -> None:
        more = True
        while more:
            await room.acquire()
            lines: list[bytes] = []
            for verb, argument, options in commands:
                self._expect(verb)
                try:
                    lines.append(self.connection.send_command(Command(verb, argument, options)))
                    # Said before it is sent: its answer must be read even while the rest does not
                    # fit into the socket.
                    said.put_nowait(True)
                except LineTooLong as error:
                    said.put_nowait(error)
                if room.locked():
                    break
                await room.acquire()
            else:
                more = False
            if lines:
                await self.channel.send(*lines)

    async def outcome_of(
        self, verb: str, argument: str, options: Mapping[str, Any]
    ) -> Mapping[str, Any] | FtransferError:
        """As `ask`, and give the error if the command fails. Raises what ends the session."""
        await self.say(verb, argument, options)
        return await self.outcome()

    async def outcome(self) -> Mapping[str, Any] | FtransferError:
        """Give the reply to a command, or its error. Raises what ends the session."""
        try:
            return await self.reply()
        except _ENDINGS:
            raise
        except FtransferError as error:
            return error

    # Listening.

    async def answer(self) -> Event:
        """Give the next event that is part of an answer; notices are handed on, and a listing of
        nothing is passed over.

        Raises:
            FtransferError: What the server's error frame says.
            Closed, TimedOut, RemoteProtocolError: The session is over.
        """
        if self._introducing:
            await self._hear_introduction()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._quiet_s
        while True:
            event = self.sort(await self.channel.next_event(self.channel.limits.stall_s))
            if event is not None and not (isinstance(event, Listing) and not event.items):
                return event
            if self.connection.is_sending:
                deadline = loop.time() + self._quiet_s
            elif loop.time() >= deadline:
                self.abort()
                raise TimedOut(
                    f"{self.address} has sent nothing but signs of life for {self._quiet_s:.0f} s"
                )

    def sort(self, event: Event) -> Event | None:
        """Give an event of an answer back, hand a notice on (None), and raise what an error frame
        or the end stands for.
        """
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
        """Give the values of the reply that ends the answer."""
        event = await self.answer()
        if not isinstance(event, Reply):
            raise self.out_of_turn(event)
        return event.values

    def out_of_turn(self, event: Event) -> RemoteProtocolError:
        """End the connection, and give the error to raise for an event that does not belong
        here.
        """
        self.abort()
        what = (
            event.kind.name.lower() if isinstance(event, Payload) else type(event).__name__.lower()
        )
        return RemoteProtocolError(f"{self.address} sent {what} out of turn")

    async def listen(self) -> None:
        """Hand notices on until cancelled or the connection ends; only between commands."""
        if self._introducing:
            await self._hear_introduction()
        # A server has something to say to a listener now and then, if only that it is there.
        limits = self.channel.limits
        quiet_s = max(limits.stall_s, 3 * self.hello.limits.get("heartbeat_s", limits.heartbeat_s))
        while True:
            event = await self.channel.next_event(quiet_s)
            if self.sort(event) is not None:
                raise self.out_of_turn(event)

    # The end.

    async def close(self) -> None:
        """End the connection; never raises."""
        if self.is_over:
            return
        try:
            with contextlib.suppress(FtransferError, TimeoutError):
                async with asyncio.timeout(self.channel.limits.close_s):
                    if not self.is_between_commands:
                        await self.ask("close")
                    # The end of our input between two commands says that we go. All that we asked
                    # is answered, so nothing is waited for where the socket is ours; a transport of
                    # asyncio's takes its time.
                    await self.channel.transport.close(
                        0.0 if self.channel.moves_files else self.channel.limits.close_s
                    )
        finally:
            self.abort()  # also when cancelled meanwhile
        await asyncio.sleep(0)  # the turn of the loop in which the transport lets go of the socket

    def abort(self) -> None:
        """End the connection at once."""
        self.is_over = True
        self.channel.abort()


def require_count(values: Mapping[str, Any], key: str, came: int) -> None:
    """Compare how many things came with the number in the reply: an answer that does not add up
    must not be acted on.

    Raises:
        RemoteProtocolError: Another number was announced, or none.
    """
    announced = take_count(values, key)
    if announced != came:
        raise RemoteProtocolError(
            f'the server announced {announced} as "{key}" and {came} came; run the command again'
        )


def _within(limits: Limits, hello: Hello) -> Limits:
    """Return our limits, narrowed to the sizes that the server takes, and to the pauses that it
    puts up with.

    Raises:
        RemoteProtocolError: It takes less than every server must.
    """

    def least(name: str, own: int) -> int:
        said = int(hello.limits.get(name, own))
        if said < LEAST_LIMITS[name]:
            raise RemoteProtocolError(
                f"announces {name} {said}; every server must take {LEAST_LIMITS[name]}"
            )
        return min(said, own)

    return limits._replace(
        max_line_bytes=least("max_line_bytes", limits.max_line_bytes),
        max_chunk_bytes=least("max_chunk_bytes", limits.max_chunk_bytes),
        max_json_bytes=least("max_json_bytes", limits.max_json_bytes),
        max_items=least("max_items", limits.max_items),
        heartbeat_s=min(
            limits.heartbeat_s,
            max(_LEAST_HEARTBEAT_S, hello.limits.get("heartbeat_s", limits.heartbeat_s)),
        ),
    )
