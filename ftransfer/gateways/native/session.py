"""One native connection, from greeting to end: event -> handler -> reply.

Errors become replies here, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ftransfer.errors import (
    ChannelError,
    Closed,
    FtransferError,
    InternalError,
    NotAuthorised,
    ProtocolError,
    RemoteProtocolError,
    ServerStopping,
    TimedOut,
    TlsRequired,
)
from ftransfer.gateways.native.endpoint import ChannelEndpoint
from ftransfer.gateways.native.handshake import detect_foreign_protocol, encrypt
from ftransfer.gateways.native.reservations import Holding
from ftransfer.protocol.commands import BadLine, Body, Command
from ftransfer.protocol.connection import InputEnded, Payload
from ftransfer.protocol.foreign_protocols import ForeignProtocol
from ftransfer.protocol.replies import Hello
from ftransfer.protocol.state import State
from ftransfer.service.memory_budget import ContentMemory
from ftransfer.service.operation import Operation
from ftransfer.service.penalties import Offence
from ftransfer.service.service import Service
from ftransfer.service.session import Session
from ftransfer.service.session_log import NATIVE
from ftransfer.transport.channel import Channel

if TYPE_CHECKING:
    from ftransfer.tls.contexts import ServerTls

log = logging.getLogger("ftransfer.server")

# Verbs that are accepted before a required login.
_OPEN_VERBS = frozenset(("login", "help", "close"))
# Before a required login: enough for a person who mistypes, not for a program that sends lines
# without end.
_MAX_LINES = 16
_BAD_LINES_FREE = 2  # later ones count as offences of the peer's address

Handler = Callable[["NativeSession", Command], Awaitable[dict[str, Any]]]


class NativeSession:
    """The server's side of one connection: a session as lines and frames.

    Handlers find the client in `session`, and their progress and result in `operation`.
    """

    # Without slots, this many attributes cost a thousand idle sessions over a megabyte more.
    __slots__ = (
        "_bad_lines", "_endpoint", "_handlers", "_lines", "_login_by", "_loop", "_make_hello",
        "_tls", "channel", "connection", "has_left", "holding", "is_stopping", "limits",
        "operation", "session", "__weakref__",
    )  # fmt: skip

    def __init__(
        self,
        service: Service,
        channel: Channel,
        handlers: Mapping[str, Handler],
        make_hello: Callable[[NativeSession], Hello],
        tls: ServerTls | None = None,
    ) -> None:
        self.channel = channel
        self.connection = channel.connection
        self.limits = service.limits
        self._endpoint = ChannelEndpoint(channel)
        self.session = Session(service, self._endpoint, NATIVE)
        self.operation: Operation  # only while a command is answered
        self.holding: Holding  # the memory of that command
        self.has_left = False  # the peer sent close
        self.is_stopping = False  # the server is stopping: no further command is read
        self._login_by = 0.0
        self._lines = self._bad_lines = 0  # received before a required login
        self._handlers = handlers
        self._make_hello = make_hello
        self._tls = tls
        self._loop = asyncio.get_running_loop()

    @property
    def is_busy(self) -> bool:
        return bool(self.session.operations)

    @property
    def memory(self) -> ContentMemory:
        """The memory for content, shared by all sessions."""
        return self.session.service.memory

    async def run(self) -> None:
        """Serve until either side ends the session; always closes the channel."""
        self._endpoint.task = asyncio.current_task()
        self.session.note_start()
        try:
            await self._run()
        finally:
            self._endpoint.task = None
            self.channel.abort()
            await self.session.leave()

    async def _run(self) -> None:
        session = self.session
        try:
            await self._serve()
            # Else the server would wait for a peer that may send nothing for long
            if not self.is_stopping:
                await self.channel.close()
            session.note_end("left")
        except ForeignProtocol as stranger:
            session.note_end("speaks another protocol: %s", stranger.protocol or "unknown")
            await self._answer_stranger(stranger)
        except (ProtocolError, TimedOut, TlsRequired) as error:
            session.note_end("cut: %s", error)
            if isinstance(error, ProtocolError):
                session.slot.penalise(Offence.PROTOCOL)
            elif not session.is_admitted:
                session.slot.penalise(Offence.LATE)
            await self._send_last(error)
        except ChannelError as error:
            session.note_end("lost: %s", error)
        except asyncio.CancelledError:
            await self._end_early()
            raise
        except Exception:
            # The session's edge: any failure here must end this session and no other.
            session.note_end("failed", level=logging.ERROR, exc_info=True)
            await self._send_last(InternalError("internal server error; see the server log"))

    async def _end_early(self) -> None:
        if self.has_left:  # it was only waiting for the peer to close as well
            self.session.note_end("left")
            return
        why = self._why_ended()
        self.session.note_end("cut: %s", why)
        # Idle: it can be sent the error, and no unread input would cause a reset
        if self.connection.state is State.READY:
            with contextlib.suppress(ChannelError):
                await self.channel.send(self.connection.send_last_error(why))

    async def _serve(self) -> None:
        await self._greet()
        self.session.idle_since = self._loop.time()
        while not (self.has_left or self.is_stopping):
            event = await self.channel.next_event(self._patience_s())
            if not self.session.is_admitted and not isinstance(event, InputEnded):
                self._count_line(event)
            match event:
                case Command():
                    await self._answer(event)
                case BadLine(error=error, in_step=in_step):
                    self.session.note("refused a line: %s", error)
                    self.session.record("line", result=error.code)
                    await self.channel.send(self.connection.send_error(error))
                    if not in_step:
                        return
                case InputEnded():
                    return
                case _:
                    raise AssertionError(f"{event} where a command was read")
        if self.has_left:
            return
        with contextlib.suppress(ChannelError):
            await self.channel.send(self.connection.send_last_error(self._why_ended()))

    async def _greet(self) -> None:
        """Encrypt if required, and send hello, unless the peer speaks another protocol."""
        if self._tls is not None:
            try:
                if not await encrypt(self.channel.transport, self._tls, self.limits):
                    self.has_left = True
                    return
            except ForeignProtocol:
                raise
            except (ChannelError, TlsRequired) as failure:
                self.session.slot.penalise(Offence.HANDSHAKE)
                self.session.record("handshake", result=failure.code)
                raise
        self.session.join()
        self._login_by = self._loop.time() + self.limits.login_s
        await detect_foreign_protocol(self.channel, self.limits)
        await self.channel.send(self.connection.send_hello(self._make_hello(self)))

    def _count_line(self, event: object) -> None:
        """Limit the lines before a required login.

        Raises:
            RemoteProtocolError: There were too many.
        """
        self._lines += 1
        if self._lines > _MAX_LINES:
            raise RemoteProtocolError(f"more than {_MAX_LINES} lines before a login")
        if isinstance(event, BadLine):
            self._bad_lines += 1
            if self._bad_lines > _BAD_LINES_FREE:
                self.session.slot.penalise(Offence.PROTOCOL)

    def _patience_s(self) -> float:
        """Return how long to wait for the next line.

        Raises:
            TimedOut: That time is over. Refused lines do not extend it, and lines that have already
                arrived do not hide it.
        """
        if not self.session.is_admitted:
            left_s = self._login_by - self._loop.time()
            what = f"did not log in within {self.limits.login_s:.0f} s"
        elif self.session.participant.wants_events:
            return float("inf")
        else:
            left_s = self.session.idle_since + self.limits.idle_s - self._loop.time()
            what = f"said no command for {self.limits.idle_s:.0f} s"
        if left_s <= 0:
            raise TimedOut(f"{self.session.peer} {what}")
        return left_s

    async def _answer(self, command: Command) -> None:
        if self.channel.progress.pace is None:
            self.channel.progress.pace = self.session.pace
        to = str(command.options["to"]) if command.verb == "mv" else ""
        async with Operation(self.session, command.verb, command.argument, to=to) as operation:
            self.operation = operation
            self.holding = Holding(self.session, self.channel, self.limits.stall_s)
            self.channel.progress.begin()
            self.channel.reserve = self.holding.reserve_frame
            try:
                await self._carry_out(command)
            except (ChannelError, ProtocolError):
                raise
            except FtransferError as error:
                operation.fail(error)
                await self._refuse(command, error)
            finally:
                self.channel.reserve = None
                self.holding.release()
                del self.holding, self.operation  # which refer to the session in turn

    async def _carry_out(self, command: Command) -> None:
        if not self.session.is_admitted and command.verb not in _OPEN_VERBS:
            raise NotAuthorised("this server wants a login first")
        values = await self._handlers[command.verb](self, command)
        await self.channel.send(self.connection.send_reply(values))

    async def _refuse(self, command: Command, error: FtransferError) -> None:
        """Send the error, then drop what the client still sends of this command."""
        if not self.session.is_admitted and command.body is not Body.NONE:
            # Do not read a body of any size for a client that may do nothing
            self.has_left = True
            await self.channel.send(self.connection.send_last_error(error))
            return
        await self.channel.send(self.connection.send_error(error))
        if self.connection.payload_left:
            await self.channel.payload.discard()
        while self.connection.state is State.DISCARDING:
            event = await self.channel.next_data_event()
            if isinstance(event, Payload):
                await self.channel.payload.discard()
            elif isinstance(event, InputEnded):
                raise Closed(f"{self.session.peer} closed the connection in the middle of a file")

    def _why_ended(self) -> FtransferError:
        if self.session.is_withdrawn:
            return NotAuthorised(
                "your login does not hold any more; log in again, or ask the owner of the share"
            )
        return ServerStopping("the server is stopping")

    async def _answer_stranger(self, stranger: ForeignProtocol) -> None:
        with contextlib.suppress(ChannelError):
            await self.channel.send(stranger.answer)
            await self.channel.close()

    async def _send_last(self, error: FtransferError) -> None:
        try:
            await self.channel.send(self.connection.send_last_error(error))
            await self.channel.close()
        except ChannelError:
            log.debug("%s #%d could not be told", self.session.peer, self.session.number)
