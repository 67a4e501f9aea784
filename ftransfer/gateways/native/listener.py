"""The open port: it accepts connections, caps their number, and stops gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from ftransfer.auth.admission import OPEN, Admission
from ftransfer.errors import Busy, CannotListen, ChannelError, TlsRequired
from ftransfer.gateways.native.handlers.table import HANDLERS
from ftransfer.gateways.native.handshake import encrypt
from ftransfer.gateways.native.session import Session
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.protocol.connection import Role
from ftransfer.protocol.foreign import ForeignProtocol
from ftransfer.protocol.replies import PARTS, Hello
from ftransfer.service.audit import Audit
from ftransfer.service.bandwidth import RateBounds, Rates
from ftransfer.service.changes import Changes, Watcher
from ftransfer.service.connection_limiter import ConnectionLimiter
from ftransfer.service.digests import DigestService
from ftransfer.service.expiry import expire_partials
from ftransfer.service.hub import Hub
from ftransfer.service.journal import Journals
from ftransfer.service.login_queue import LoginQueue
from ftransfer.service.memory_budget import ContentMemory
from ftransfer.service.networks import Networks
from ftransfer.service.penalties import source_of
from ftransfer.service.share import Share
from ftransfer.storage.base import KEEP_PARTIALS_S
from ftransfer.system.heap import HeapTrimmer
from ftransfer.transfer.spans import FEATURE as SPANS
from ftransfer.transport import Transport
from ftransfer.transport.channel import Channel
from ftransfer.transport.listener import Listener
from ftransfer.version import VERSION

if TYPE_CHECKING:
    from ftransfer.tls.contexts import ServerTls

log = logging.getLogger("ftransfer.server")

PROTOCOL = 1
# To refuse with a word takes time and, with TLS, a handshake; whoever comes beyond so many is
# refused without.
_MAX_REFUSALS = 64


class Server:
    """A share on a port. Made by `start`; whoever starts it stops it, and closes the share after
    that.
    """

    def __init__(
        self,
        share: Share,
        limits: Limits,
        welcome: str,
        watcher: Watcher | None,
        *,
        tls: ServerTls | None,
        admission: Admission,
        rates: RateBounds | None,
        audit: Audit | None,
        trusted: Networks | None,
    ) -> None:
        self.addresses: list[tuple[str, int]] = []
        self.session_count = 0  # sessions so far; the number of the latest one
        self._share = share
        self._limits = limits
        self._announced = _announced(limits)
        self._welcome = welcome
        self.limiter = ConnectionLimiter(limits, asyncio.get_running_loop().time, trusted)
        self._logins = LoginQueue()
        self.rates = Rates(rates)
        self._audit = audit
        self._journals = Journals(audit)
        self.digests = DigestService(limits)
        self.memory = ContentMemory(limits.max_content_bytes)
        self._hub = Hub(limits)
        self._tls = tls
        self._changes = Changes(self._hub, limits, watcher, hiding=share.hiding)
        self._admission = admission
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._heap_trimmer = HeapTrimmer()
        self._refusing: set[asyncio.Task[None]] = set()
        self._port: Listener | None = None
        self._expiring: asyncio.Task[NoReturn] | None = None

    @classmethod
    async def start(
        cls,
        share: Share,
        *,
        host: str = "127.0.0.1",
        port: int = 9021,
        limits: Limits = DEFAULT_LIMITS,
        welcome: str = "",
        watcher: Watcher | None = None,
        direct: bool = True,
        tls: ServerTls | None = None,
        keep_partials_s: float = KEEP_PARTIALS_S,
        admission: Admission = OPEN,
        rates: RateBounds | None = None,
        audit: Audit | None = None,
        trusted: Networks | None = None,
    ) -> Server:
        """Open the port and accept connections.

        Args:
            host: Address or host name; "" or "::" for all addresses of the machine, those of IPv4
                too.
            port: 0 for any free port; `addresses` says which.
            watcher: What finds changes in the folder (watch.watcher.FolderWatcher); without one,
                nobody can watch.
            direct: Whether bytes may be moved between sockets and files in threads, where the
                platform can.
            tls: What to show to clients and to ask of them; without it the port speaks in plain.
            keep_partials_s: How long uploads that were cut off may be gone on with; then they are
                removed.
            admission: Who must log in, and with what; by default nobody.
            rates: The bandwidth; `rates.change` sets another.
            audit: The owner's record of who did what; whoever opened it closes it.
            trusted: Networks without a cap of their own and without penalties; `gate.trusted` can
                be set anew.

        Raises:
            CannotListen: The port is taken, or the address is not one of this machine.
        """
        server = cls(
            share,
            limits,
            welcome,
            watcher,
            tls=tls,
            admission=admission,
            rates=rates,
            audit=audit,
            trusted=trusted,
        )
        try:
            server._port = await Listener.open(host, port, server._accept, direct=direct)
        except (OSError, OverflowError) as error:
            raise CannotListen(_why_not(error, host, port)) from error
        server.addresses = server._port.addresses
        if admission is not OPEN:  # which is shared, and never changes
            call_soon = asyncio.get_running_loop().call_soon_threadsafe
            admission.changed = functools.partial(call_soon, server.renew_logins)
        if not share.read_only:
            expiring = expire_partials(share.store, keep_partials_s, now_ns=share.now_ns)
            server._expiring = asyncio.create_task(expiring)
        return server

    @property
    def sessions(self) -> Mapping[Session, asyncio.Task[None]]:
        """The sessions that are connected now."""
        return self._sessions

    def _accept(self, transport: Transport) -> None:
        channel = Channel(transport, Role.SERVER, self._limits)
        refusal = self.limiter.refusal(transport.peer_host)
        if refusal is not None:
            self._turn_away(channel, transport, refusal)
            return
        self.session_count += 1
        hello = self._hello(self.session_count)
        live = (self.digests, self._hub, self._changes, self.memory)
        guard = (self._tls, self._admission)
        session = Session(
            self.session_count, channel, self._share, self._limits, HANDLERS, hello, *live, *guard
        )
        session.slot = slot = self.limiter.enter(transport.peer_host, channel.abort)
        session.logins, session.rates = self._logins, self.rates
        session.audit, session.journals = self._audit, self._journals
        task = asyncio.get_running_loop().create_task(session.run())
        self._sessions[session] = task
        self._heap_trimmer.note(len(self._sessions))

        def ended(_: asyncio.Task[None]) -> None:
            channel.abort()  # a task that is cancelled before its first step does not come to it
            self._sessions.pop(session, None)
            slot.leave()
            self._heap_trimmer.note(len(self._sessions))

        task.add_done_callback(ended)

    def set_limits(self, limits: Limits) -> None:
        """Set other limits, for the sessions that come from now on."""
        self._limits = self.limiter.limits = limits
        self._announced = _announced(limits)

    def renew_logins(self) -> None:
        """Hold each session against the users and the token as they are now: rights change, and who
        is gone is cut, at once.
        """
        for session, task in list(self._sessions.items()):
            session.renew()
            if session.is_withdrawn:
                task.cancel()

    def _turn_away(self, channel: Channel, transport: Transport, refusal: Busy) -> None:
        journal = self._journals.of(source_of(transport.peer_host))
        journal.note("%s refused: %s", transport.peer, refusal)
        journal.record("connect", peer=transport.peer, result=refusal.code)
        if len(self._refusing) >= _MAX_REFUSALS:
            channel.abort()
            return
        task = asyncio.get_running_loop().create_task(self._refuse(channel, refusal))
        self._refusing.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            channel.abort()  # as for a session
            self._refusing.discard(task)

        task.add_done_callback(ended)

    async def _refuse(self, channel: Channel, refusal: Busy) -> None:
        with contextlib.suppress(ChannelError, TlsRequired, ForeignProtocol):
            if self._tls is not None and not await encrypt(
                channel.transport, self._tls, self._limits
            ):
                return
            await channel.send(channel.connection.send_last_error(refusal))
            await channel.close()

    def _hello(self, number: int) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            server=f"ftransfer/{VERSION}",
            session=number,
            welcome=self._welcome,
            durable=self._share.durable,
            auth=self._admission.wants,
            logins=self._admission.logins,
            features=(
                ("live", "watch", SPANS, PARTS)
                if self._changes.is_possible
                else ("live", SPANS, PARTS)
            ),
            limits=self._announced,
        )

    async def stop(self, grace_s: float | None = None) -> None:
        """Stop accepting, end idle sessions, let what runs finish for `grace_s` (default:
        limits.grace_s), then cut the rest.
        """
        assert self._port is not None
        await self._port.close()
        if self._expiring is not None:
            self._expiring.cancel()
        for session, task in list(self._sessions.items()):
            session.is_stopping = True
            if not session.is_busy:
                task.cancel()
        tasks = list(self._sessions.values())
        if tasks:
            await asyncio.wait(tasks, timeout=self._limits.grace_s if grace_s is None else grace_s)
        for task in tasks:
            task.cancel()
        for task in self._refusing:
            task.cancel()
        expiring = [self._expiring] if self._expiring is not None else []
        await asyncio.gather(*tasks, *self._refusing, *expiring, return_exceptions=True)
        self._logins.close()
        self._heap_trimmer.stop()
        self._journals.stop()
        await self._changes.stop()


def _why_not(error: Exception, host: str, port: int) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            f"cannot listen on {where}: the port is in use; choose another with --port, or 0 for"
            " any free one"
        )
    if number == errno.EACCES:
        return f"cannot listen on {where}: not allowed; choose a port from 1024 on"
    if number == errno.EADDRNOTAVAIL:
        return f"cannot listen on {where}: this machine does not have that address"
    reason = os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
    return f"cannot listen on {where}: {reason}"


def _announced(limits: Limits) -> dict[str, float]:
    """Give the limits that clients are told. All sessions share the value."""
    return {
        "max_line_bytes": limits.max_line_bytes,
        "max_chunk_bytes": limits.max_chunk_bytes,
        "max_json_bytes": limits.max_json_bytes,
        "max_items": limits.max_items,
        "max_sessions": limits.max_sessions,
        "login_s": limits.login_s,
        "idle_s": limits.idle_s,
        "stall_s": limits.stall_s,
        "heartbeat_s": limits.heartbeat_s,
        "vanish_s": limits.vanish_s,
        "max_text_bytes": limits.max_text_bytes,
    }
