"""One peer, from its greeting to its end: event -> handler -> reply. Errors become replies here,
once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ftransfer.auth.admission import NOBODY, Login
from ftransfer.auth.permissions import Principal
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
from ftransfer.gateways.native.events import ChannelSink
from ftransfer.gateways.native.handlers.login import check_may_say
from ftransfer.gateways.native.handshake import encrypt, hear_first_words
from ftransfer.gateways.native.reservations import Holding
from ftransfer.names import escape
from ftransfer.protocol.commands import BadLine, Body, Command
from ftransfer.protocol.connection import InputEnded, Payload
from ftransfer.protocol.foreign import ForeignProtocol
from ftransfer.protocol.replies import Hello
from ftransfer.protocol.state import State
from ftransfer.service.bandwidth import owner_of
from ftransfer.service.connection_limiter import Slot
from ftransfer.service.journal import Journal
from ftransfer.service.outbox import EventSink
from ftransfer.service.penalties import Offence, source_of
from ftransfer.service.service import Service
from ftransfer.transport.channel import Channel

if TYPE_CHECKING:
    from ftransfer.tls.contexts import ServerTls

log = logging.getLogger("ftransfer.server")

# Before a login that must be: a person who mistypes has enough, a program that sends lines without
# end has not.
_MOST_LINES = 16
_BAD_LINES_FREE = 2  # those from the third on are held against the peer's address

# What stands in the owner's record also when it was done as asked. The files of mget and mput stand
# there one by one.
_RECORDED = frozenset(("login", "get", "put", "mkdir", "mv", "rm", "setstat"))
# What becomes of a part in the course of things: the put that it belongs to stands there.
_USUAL_FOR_PARTS = frozenset(("ok", "bad_offset", "superseded", "aborted"))

Handler = Callable[["Session", Command], Awaitable[dict[str, Any]]]


class _Running(NamedTuple):
    """See RunningOperation."""

    verb: str
    name: str
    is_transfer: bool
    moved: int
    total: int | None
    size: int | None
    began_at: float


class Session:
    """The server's side of one connection.

    `principal` is whom it acts for; a login sets another. `share` is the share as that principal
    may use it. `moved` counts the bytes of content that the current command has moved, of `total`
    if that is known.
    """

    # So many attributes cost a thousand idle sessions more than a megabyte without.
    __slots__ = (
        "_bad_lines", "_handlers", "_hello", "_journal", "_lines", "_login", "_login_by", "_loop",
        "_principal", "_tls", "began_at", "changes", "channel", "command", "connection", "digest",
        "digests", "failed_logins", "has_left", "holding", "hub", "is_admitted", "is_stopping",
        "is_withdrawn", "limits", "memory", "moved", "number", "participant", "service", "share",
        "size", "slot", "total", "__weakref__",
    )  # fmt: skip

    def __init__(
        self,
        service: Service,
        number: int,
        channel: Channel,
        handlers: Mapping[str, Handler],
        hello: Hello,
        tls: ServerTls | None = None,
    ) -> None:
        self.number = number
        self.channel = channel
        self.connection = channel.connection
        self.service = service
        self.limits = service.limits
        # Whether commands are carried out without a login, or after one
        self.is_admitted = service.admission.anonymous is not None
        self.failed_logins = 0
        self._login: Login | None = None
        self._login_by = 0.0
        self._lines = self._bad_lines = 0  # that were said before a login that must be
        self._principal = service.admission.anonymous or NOBODY
        self.share = service.share.view(self._principal, source_of(channel.transport.peer_host))
        self.slot: Slot | None = None  # its place at the gate
        self.memory = service.memory  # for content, which all sessions share
        self.holding: Holding  # what it holds of that, while a command is answered
        self._journal: Journal | None = None
        self.moved = 0
        self.total: int | None = None
        self.size: int | None = None  # of the whole file that the current command gives a part of
        self.command: Command | None = None  # the one that is being answered
        self.digest = ""  # of the content that the current command has moved
        self.has_left = False  # the peer said close
        self.is_stopping = False  # the server stops: no further command is read
        self.is_withdrawn = False  # the login does not hold any more: the session is being ended
        self._handlers = handlers
        self._hello = hello
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self.digests = service.digests
        self.began_at = self._loop.time()  # when the present command, or idleness, began
        self.hub = service.hub
        self.changes = service.changes
        self.participant = service.hub.create_participant(self)

    @property
    def is_busy(self) -> bool:
        return self.command is not None

    @property
    def principal(self) -> Principal:
        """Whom it acts for, with the rights that the share leaves."""
        return self.share.principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        # Earlier changes go by the earlier rights.
        self.hub.broadcaster.flush_changes()
        self._principal = principal
        self.share = self.service.share.view(principal, source_of(self.channel.transport.peer_host))
        if self.slot is not None:
            self.slot.prove()
        self._set_pace()

    @property
    def hidden_patterns(self) -> list[str]:
        """What the server hides, for a client that is admitted (docs/protocol.md section 5)."""
        return list(self.service.share.hidden_patterns)

    @property
    def owner(self) -> str:
        """For whom shares of the server's bandwidth and memory are counted: a user, or else an
        address.
        """
        return owner_of(self._principal, source_of(self.channel.transport.peer_host))

    def _set_pace(self) -> None:
        """Bound the session by the bandwidth of its user."""
        self.channel.pace = self.service.rates.throttle(
            self._principal, source_of(self.channel.transport.peer_host)
        )

    @property
    def journal(self) -> Journal:
        """What bounds the lines that this session may have written; made when there is something to
        write.
        """
        if self._journal is None:
            self._journal = Journal(f"{self.peer} #{self.number}", self.service.audit)
        return self._journal

    def note(self, text: str, *arguments: object, level: int = logging.INFO) -> None:
        """Write a line about this session into the log, or count it if there are too many."""
        self.journal.note(f"%s #%d {text}", self.peer, self.number, *arguments, level=level)

    def record(
        self,
        event: str,
        name: str = "",
        *,
        to: str = "",
        size: int | None = None,
        digest: str = "",
        result: str = "ok",
    ) -> None:
        """Write what was done into the owner's record, if one is kept; refusals are counted if
        there are too many.
        """
        if self.service.audit is not None:
            self.journal.record(
                event,
                user=self._principal.name or None,
                peer=self.peer,
                session=self.number,
                name=name or None,
                to=to or None,
                bytes=size,
                digest=digest or None,
                result=result,
            )

    def penalise(self, offence: Offence) -> None:
        """Hold something against the peer's address."""
        if self.slot is not None:
            self.slot.penalise(offence)

    def admit(self, login: Login) -> None:
        """Let the session act for whom a login stands, from the next command on."""
        self._login = login
        self.renew()
        if not self.is_admitted:
            self.is_admitted = True
            self.hub.join(self.participant)

    def renew(self) -> None:
        """Take up what the owner has changed: other rights hold from now on; without its user the
        session is to be ended.
        """
        if self._login is None:
            return
        principal = self.service.admission.renew(self._login)
        if principal is None:
            self.is_withdrawn = True
        elif principal is not self._principal:
            self.principal = principal

    # What the hub sees of it (service/hub.py Member).

    @property
    def peer(self) -> str:
        return self.channel.transport.peer

    @property
    def is_local(self) -> bool:
        return self.channel.transport.is_local

    @property
    def operation(self) -> _Running | None:
        command = self.command
        if command is None:
            return None
        is_transfer = command.verb == "get" or command.body is not Body.NONE
        counts = self.moved, self.total, self.size
        return _Running(command.verb, command.argument, is_transfer, *counts, self.began_at)

    def open_event_sink(self) -> EventSink:
        return ChannelSink(self.channel)

    def unanswered_s(self) -> float:
        return self.channel.transport.unanswered_s()

    def abort(self) -> None:
        self.channel.abort()

    async def run(self) -> None:
        """Serve until either side ends the session; closes the channel in any case."""
        self._note_coming()
        try:
            await self._serve()
            # Else the peer may have nothing to say for long, and the server would wait for it
            if not self.is_stopping:
                await self.channel.close()
            self._note_going("left")
        except ForeignProtocol as stranger:
            self._note_going("speaks another protocol: %s", stranger.protocol or "unknown")
            await self._answer_stranger(stranger)
        except (ProtocolError, TimedOut, TlsRequired) as error:
            self._note_going("cut: %s", error)
            if isinstance(error, ProtocolError):
                self.penalise(Offence.PROTOCOL)
            elif not self.is_admitted:
                self.penalise(Offence.LATE)
            await self._say_last(error)
        except ChannelError as error:
            self._note_going("lost: %s", error)
        except asyncio.CancelledError:
            if self.has_left:  # it only waited for the peer to close as well
                self._note_going("left")
                raise
            why = self._why_cut()
            self._note_going("cut: %s", why)
            # Idle: it can be told, and there is no unread input that would make a reset
            if self.connection.state is State.READY:
                with contextlib.suppress(ChannelError):
                    await self.channel.send(self.connection.send_last_error(why))
            raise
        except Exception:
            # The session's edge: whatever went wrong here must end this session and no other.
            self._note_going("failed", level=logging.ERROR, exc_info=True)
            await self._say_last(
                InternalError("the server met a fault of its own; its log says more")
            )
        finally:
            self.channel.abort()
            if self._journal is not None and self._journal.about != self._source:
                self._journal.flush()
            await self.hub.leave(self.participant)
            await self.changes.leave(self.participant)
            # Which refers to the session in turn: thousands would wait for the garbage collector
            del self.participant

    @property
    def _source(self) -> str:
        return source_of(self.channel.transport.peer_host)

    def _note_coming(self) -> None:
        journal = self.service.journals.of(self._source)
        if not journal.note("%s #%d connected", self.peer, self.number):
            self._journal = (
                journal  # of a source that comes and comes not each session has lines of its own
            )

    def _note_going(
        self, text: str, *arguments: object, level: int = logging.INFO, exc_info: bool = False
    ) -> None:
        journal = self.service.journals.of(self._source)
        journal.note(
            f"%s #%d {text}", self.peer, self.number, *arguments, level=level, exc_info=exc_info
        )

    async def _serve(self) -> None:
        await self._greet()
        self.began_at = self._loop.time()
        while not (self.has_left or self.is_stopping):
            event = await self.channel.next_event(self._patience_s())
            if not self.is_admitted and not isinstance(event, InputEnded):
                self._count_line(event)
            match event:
                case Command():
                    await self._answer(event)
                case BadLine(error=error, in_step=in_step):
                    self.note("refused a line: %s", error)
                    self.record("line", result=error.code)
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
            await self.channel.send(self.connection.send_last_error(self._why_cut()))

    async def _greet(self) -> None:
        """Encrypt, where that must be, and say hello, unless the peer's first words show that it
        would not understand it.
        """
        if self._tls is not None:
            try:
                if not await encrypt(self.channel.transport, self._tls, self.limits):
                    self.has_left = True
                    return
            except ForeignProtocol:
                raise
            except (ChannelError, TlsRequired) as failure:
                self.penalise(Offence.HANDSHAKE)
                self.record("handshake", result=failure.code)
                raise
        if self.is_admitted:
            self.hub.join(self.participant)
        self._login_by = self._loop.time() + self.limits.login_s
        await hear_first_words(self.channel, self.limits)
        await self.channel.send(self.connection.send_hello(self._hello))

    def _count_line(self, event: object) -> None:
        """Bound what may be said before a login that must be.

        Raises:
            RemoteProtocolError: It was too much.
        """
        self._lines += 1
        if self._lines > _MOST_LINES:
            raise RemoteProtocolError(f"more than {_MOST_LINES} lines before a login")
        if isinstance(event, BadLine):
            self._bad_lines += 1
            if self._bad_lines > _BAD_LINES_FREE:
                self.penalise(Offence.PROTOCOL)

    def _patience_s(self) -> float:
        """Give how long to wait for the next line.

        Raises:
            TimedOut: That is over. Lines that are refused do not put it off, and lines that are
                there already do not hide it.
        """
        if not self.is_admitted:
            left_s, what = (
                self._login_by - self._loop.time(),
                f"did not log in within {self.limits.login_s:.0f} s",
            )
        elif self.participant.wants_events:
            return float("inf")
        else:
            left_s, what = (
                self.began_at + self.limits.idle_s - self._loop.time(),
                f"said no command for {self.limits.idle_s:.0f} s",
            )
        if left_s <= 0:
            raise TimedOut(f"{self.peer} {what}")
        return left_s

    async def _answer(self, command: Command) -> None:
        self.command = command
        self.moved, self.total, self.size = 0, None, None
        self.began_at = began = self._loop.time()
        if self.is_admitted and command.verb not in ("as", "login"):  # which say who has come
            self.hub.note_command(self.participant)
        self.digest = ""
        if self.channel.pace is None:
            self._set_pace()
        if self.slot is not None:
            self.slot.begin()
            if self.is_admitted:
                self.slot.prove()
        self.channel.begin_transfer()
        self.holding = Holding(self)
        self.channel.reserve = self.holding.reserve_frame
        result = "ok"
        try:
            check_may_say(self, command)
            values = await self._handlers[command.verb](self, command)
            self.digest = self.digest or str(values.get("digest", ""))
            await self.channel.send(self.connection.send_reply(values))
        except (ChannelError, ProtocolError) as error:
            result = error.code
            raise
        except FtransferError as error:
            result = error.code
            if command.verb == "login" and isinstance(error, NotAuthorised):
                self.penalise(Offence.LOGIN)
            await self._refuse(error)
        except BaseException:
            result = "failed"
            raise
        finally:
            if self.participant.group_download is not None and self.operation is not None:
                self.participant.group_download.finish(self.operation)
            self.command = None
            self.channel.reserve = None
            self.holding.release()
            del self.holding  # which refers to the session in turn
            if self.slot is not None:
                self.slot.end()
            if self.is_admitted:
                self.hub.note_command(self.participant)
            self.began_at = self._loop.time()
            self._record_command(command, result)
            self.note(
                "%s %s %d bytes %.3f s %s",
                command.verb,
                escape(command.argument) or "-",
                self.moved,
                self._loop.time() - began,
                result,
            )

    def _record_command(self, command: Command, result: str) -> None:
        """Write transfers, changes, logins and refusals down; not who looked at what is theirs to
        see.
        """
        if (result == "ok" and command.verb not in _RECORDED) or (
            command.verb == "part" and result in _USUAL_FOR_PARTS
        ):
            return
        moves = command.verb in ("get", "put")
        size, digest = (self.moved, self.digest) if moves else (None, "")
        to = str(command.options["to"]) if command.verb == "mv" else ""
        self.record(command.verb, command.argument, to=to, size=size, digest=digest, result=result)

    async def _refuse(self, error: FtransferError) -> None:
        """Say why, then drop what the client still sends of this command."""
        if not self.is_admitted and self.command is not None and self.command.body is not Body.NONE:
            # To whoever may do nothing the server does not listen until a file of any size has
            # ended
            self.has_left = True
            await self.channel.send(self.connection.send_last_error(error))
            return
        await self.channel.send(self.connection.send_error(error))
        if self.connection.payload_left:
            await self.channel.discard_payload()
        while self.connection.state is State.DISCARDING:
            event = await self.channel.next_data_event()
            if isinstance(event, Payload):
                await self.channel.discard_payload()
            elif isinstance(event, InputEnded):
                raise Closed(f"{self.peer} closed the connection in the middle of a file")

    def _why_cut(self) -> FtransferError:
        if self.is_withdrawn:
            return NotAuthorised(
                "your login does not hold any more; log in again, or ask the owner of the share"
            )
        return ServerStopping("the server is stopping")

    async def _answer_stranger(self, stranger: ForeignProtocol) -> None:
        with contextlib.suppress(ChannelError):
            await self.channel.send(stranger.answer)
            await self.channel.close()

    async def _say_last(self, error: FtransferError) -> None:
        try:
            await self.channel.send(self.connection.send_last_error(error))
            await self.channel.close()
        except ChannelError:
            log.debug("%s #%d could not be told", self.peer, self.number)
