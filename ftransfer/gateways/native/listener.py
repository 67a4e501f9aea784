"""The open port: it accepts connections, limits their number, and stops gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ftransfer.addresses import format_address
from ftransfer.errors import Busy, CannotListen, ChannelError, TlsRequired
from ftransfer.gateways.native.handlers.table import HANDLERS
from ftransfer.gateways.native.handshake import encrypt
from ftransfer.gateways.native.session import NativeSession
from ftransfer.limits import Limits
from ftransfer.protocol.connection import Role
from ftransfer.protocol.foreign_protocols import ForeignProtocol
from ftransfer.protocol.replies import (
    LIVE,
    MAY_LOG_IN,
    MUST_LOG_IN,
    NO_LOGIN,
    PARTS,
    PROTOCOL,
    SPANS,
    TOKEN_LOGIN,
    USER_LOGIN,
    WATCH,
    Hello,
)
from ftransfer.service.service import DEFAULTS, Service, ServiceOptions
from ftransfer.service.share import Share
from ftransfer.transport import Transport
from ftransfer.transport.channel import Channel
from ftransfer.transport.listener import Listener
from ftransfer.version import VERSION

if TYPE_CHECKING:
    from ftransfer.tls.contexts import ServerTls

log = logging.getLogger("ftransfer.server")

# Sending a refusal takes time and, with TLS, a handshake; connections beyond this number are closed
# without one.
_MAX_REFUSALS = 64


class Server:
    """The native gateway: a service on a port.

    Created by `start` or `listen`; its creator stops it, and then closes the share.
    """

    def __init__(self, service: Service, *, welcome: str, tls: ServerTls | None) -> None:
        self.service = service
        self.addresses: list[tuple[str, int]] = []
        self._welcome = welcome
        self._tls = tls
        self._announced = (service.limits, _announced(service.limits))
        self._sessions: dict[NativeSession, asyncio.Task[None]] = {}
        self._refusing: set[asyncio.Task[None]] = set()
        self._port: Listener | None = None
        self._owns_service = False

    @classmethod
    async def start(
        cls,
        share: Share,
        *,
        host: str = "127.0.0.1",
        port: int = 9021,
        welcome: str = "",
        tls: ServerTls | None = None,
        direct: bool = True,
        options: ServiceOptions = DEFAULTS,
    ) -> Server:
        """Serve a share on this port only. Takes and raises as `listen`.

        Args:
            options: How the share is served. The service is created here, and ends with the server.
        """
        service = Service(share, options)
        try:
            server = await cls.listen(
                service, host=host, port=port, welcome=welcome, tls=tls, direct=direct
            )
        except BaseException:
            await service.stop()
            raise
        server._owns_service = True
        return server

    @classmethod
    async def listen(
        cls,
        service: Service,
        *,
        host: str = "127.0.0.1",
        port: int = 9021,
        welcome: str = "",
        tls: ServerTls | None = None,
        direct: bool = True,
    ) -> Server:
        """Open the port and accept connections.

        The creator of the service stops it after the server.

        Args:
            host: Address or host name; "" or "::" for all addresses of the machine, including IPv4.
            port: 0 for any free port; `addresses` says which.
            tls: The server's certificate and what it requires of clients; without it the port is
                unencrypted.
            direct: Whether threads may move bytes between sockets and files, where the platform
                can.

        Raises:
            CannotListen: The port is taken, or the address is not one of this machine.
        """
        server = cls(service, welcome=welcome, tls=tls)
        try:
            server._port = await Listener.open(host, port, server._accept, direct=direct)
        except (OSError, OverflowError) as error:
            raise CannotListen(_why_not(error, host, port)) from error
        server.addresses = server._port.addresses
        return server

    @property
    def sessions(self) -> Mapping[NativeSession, asyncio.Task[None]]:
        """The sessions that are connected now."""
        return self._sessions

    def _accept(self, transport: Transport) -> None:
        service = self.service
        channel = Channel(transport, Role.SERVER, service.limits)
        refusal = service.limiter.refusal(transport.peer_host)
        if refusal is not None:
            self._turn_away(channel, transport, refusal)
            return
        native = NativeSession(service, channel, HANDLERS, self._hello, self._tls)
        task = asyncio.get_running_loop().create_task(native.run())
        self._sessions[native] = task

        def ended(_: asyncio.Task[None]) -> None:
            # A task that is cancelled before its first step does neither
            channel.abort()
            service.remove(native.session)
            self._sessions.pop(native, None)

        task.add_done_callback(ended)

    def _turn_away(self, channel: Channel, transport: Transport, refusal: Busy) -> None:
        self.service.note_refusal(transport.peer, transport.peer_host, refusal)
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
                channel.transport, self._tls, self.service.limits
            ):
                return
            await channel.send(channel.connection.send_last_error(refusal))
            await channel.close()

    def _hello(self, native: NativeSession) -> Hello:
        service, admission = self.service, self.service.admission
        if self._announced[0] is not native.limits:
            self._announced = (native.limits, _announced(native.limits))
        logins = (TOKEN_LOGIN,) * admission.has_token + (USER_LOGIN,) * admission.has_users
        watch = (WATCH,) if service.changes.is_possible else ()
        return Hello(
            protocol=PROTOCOL,
            server=f"ftransfer/{VERSION}",
            session=native.session.number,
            welcome=self._welcome,
            durable=service.share.durable,
            auth=MUST_LOG_IN if admission.requires_login else MAY_LOG_IN if logins else NO_LOGIN,
            logins=logins,
            features=(LIVE, *watch, SPANS, PARTS),
            limits=self._announced[1],
        )

    async def stop(self, grace_s: float | None = None) -> None:
        """Stop accepting, end idle sessions, and give running operations `grace_s` to finish.

        The default is limits.grace_s. Then the remaining sessions are closed.
        """
        assert self._port is not None
        await self._port.close()
        for session, task in list(self._sessions.items()):
            session.is_stopping = True
            if not session.is_busy:
                task.cancel()
        tasks = list(self._sessions.values())
        if tasks:
            grace_s = self.service.limits.grace_s if grace_s is None else grace_s
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        for task in self._refusing:
            task.cancel()
        await asyncio.gather(*tasks, *self._refusing, return_exceptions=True)
        if self._owns_service:
            await self.service.stop()


def _why_not(error: Exception, host: str, port: int) -> str:
    where = format_address(host or "*", port)
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
    """Return the limits that hello announces. All sessions share the value."""
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
