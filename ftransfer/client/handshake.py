"""From an address to a channel: the connection, plain or encrypted, and the server's hello."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

from ftransfer.client.address import Address
from ftransfer.client.security import Security
from ftransfer.errors import CannotConnect, Closed, NotTrusted, ProtocolError, TimedOut, TlsRequired
from ftransfer.limits import Limits
from ftransfer.names import escape
from ftransfer.protocol.connection import Role
from ftransfer.protocol.replies import MUST_LOG_IN, NO_LOGIN, PROTOCOL, ErrorReply, Hello
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transport import Transport, dial
from ftransfer.transport.channel import Channel

# On the same machine, a plain server has sent its hello within this time; a TLS server waits for
# the client to begin.
_PLAIN_ANSWER_S = 0.3
# A network takes longer. After this time a probe finds out whether the server waits for TLS; its
# hello may still arrive.
_PLAIN_ANSWER_FAR_S = 1.5
_PROBE_S = 3.0


def is_login_due(hello: Hello, security: Security) -> bool:
    """Return whether a secret will be sent to the server, or asked for."""
    return hello.auth == MUST_LOG_IN or (
        hello.auth != NO_LOGIN and bool(security.user or security.secret)
    )


class ClosedEarly(CannotConnect):
    """The server closed the connection before its hello; `reason` is the socket's error."""

    def __init__(
        self, address: Address, transport: Transport, reason: BaseException | None = None
    ) -> None:
        hint = "; perhaps it wants a client certificate (--cert)" if transport.encrypted else ""
        super().__init__(f"{address} closed the connection before its greeting{hint}")
        self.reason = reason


async def open_channel(
    address: Address, limits: Limits, security: Security, *, direct: bool = True
) -> tuple[Channel, Hello]:
    """Connect, encrypt unless plain is allowed, verify the server, and receive its hello.

    Raises:
        CannotConnect: Nothing answers there, or it is not an ftransfer server.
        NotTrusted, TlsRequired, NotAuthorised: It is not the expected server, or one side does not
            encrypt.
        Busy: The server accepts no more sessions.
    """
    handshake = _Handshake(address, limits, security, direct=direct)
    channel, hello = await handshake.open()
    with _aborted_on_error(channel.transport):
        await handshake.keep_key(hello)
    return channel, hello


class _Handshake:
    """One attempt to reach a server, over one or two connections."""

    def __init__(
        self, address: Address, limits: Limits, security: Security, *, direct: bool
    ) -> None:
        self._address = address
        self._limits = limits
        self._security = security
        self._direct = direct
        self._new_key = ""  # the key of a server that is seen for the first time

    async def open(self) -> tuple[Channel, Hello]:
        """Connect in plain or with TLS, as the rules require, and receive the hello."""
        transport, security = await self.connect(), self._security
        if security.wants_tls or not (transport.is_local or security.tls == "off"):
            return await self.open_tls(transport)
        with _aborted_on_error(transport):
            is_known = await run_job(io_pool(), lambda: self._speaks_tls(transport))
            if is_known and security.tls == "off":
                raise NotTrusted(
                    f"{self._address} is known by its key, and is not spoken to in plain; leave out"
                    " --plain"
                )
        if is_known:
            return await self.open_tls(transport)
        return await (
            self.open_plain(transport) if security.tls == "off" else self.open_auto(transport)
        )

    def _speaks_tls(self, transport: Transport) -> bool:
        """Return whether this address is known to use TLS. Blocking."""
        from ftransfer.client.known_servers import expects_tls

        return expects_tls(transport, self._address, self._security)

    async def keep_key(self, hello: Hello) -> None:
        """Pin a new key. If a login follows, the login does it."""
        if not self._new_key or is_login_due(hello, self._security):
            return
        from ftransfer.client.known_servers import keep_first

        await run_job(io_pool(), lambda: keep_first(self._address, self._new_key, self._security))
        if self._security.on_new_server is not None:
            self._security.on_new_server(str(self._address), self._new_key)

    async def connect(self) -> Transport:
        address, limits = self._address, self._limits
        try:
            async with asyncio.timeout(limits.connect_s):
                return await dial(address.host, address.port, direct=self._direct)
        except TimeoutError as error:
            raise CannotConnect(
                f"{address} does not answer within {limits.connect_s:.0f} s"
            ) from error
        except (OSError, OverflowError, UnicodeError) as error:
            raise CannotConnect(_why_not(error, address)) from error

    async def open_tls(self, transport: Transport) -> tuple[Channel, Hello]:
        """Encrypt, decide whether to trust the server, and receive the hello."""
        # Not imported for plain connections
        from ftransfer.client.trust import (
            certificate_refused,
            start_trusted_tls,
        )

        with _aborted_on_error(transport):
            self._new_key = await start_trusted_tls(
                transport, self._address, self._security, self._limits.connect_s
            )
            try:
                return await self._open_on(transport)
            except ClosedEarly as error:
                # A client learns only after the handshake that its certificate was refused.
                raise certificate_refused(error.reason, str(self._address)) or error from error

    async def open_plain(self, transport: Transport) -> tuple[Channel, Hello]:
        """Receive the hello in plain. If it is late, probe whether the server waits for TLS."""
        with _aborted_on_error(transport):
            try:
                if (
                    not await self._has_answered(transport, _PLAIN_ANSWER_FAR_S)
                    and await self._waits_for_tls()
                ):
                    raise TlsRequired("the port speaks TLS only")
                return await self._open_on(transport)
            except TlsRequired as error:
                raise TlsRequired(f"{self._address} speaks TLS only; leave out --plain") from error

    async def open_auto(self, transport: Transport) -> tuple[Channel, Hello]:
        """Receive the hello in plain or, if it is late, with TLS over a second connection.

        Upgrading to TLS is always safe.
        """
        with _aborted_on_error(transport):
            try:
                if await self._has_answered(transport, _PLAIN_ANSWER_S):
                    return await self._open_on(transport)
            except TlsRequired:
                transport.abort()
                return await self.open_tls(await self.connect())
            return await self._open_first(transport)

    async def _open_first(self, transport: Transport) -> tuple[Channel, Hello]:
        """Return the first hello to arrive: a late one in plain, or one over TLS."""

        async def open_second() -> tuple[Channel, Hello]:
            return await self.open_tls(await self.connect())

        plain = asyncio.create_task(self._open_on(transport))
        encrypted = asyncio.create_task(open_second())
        opened: tuple[Channel, Hello] | None = None
        try:
            await asyncio.wait([plain, encrypted], return_when=asyncio.FIRST_COMPLETED)
            # If one of the two fails to connect, the other may still succeed. A failure of trust is
            # final.
            if plain.done():
                opened = await (encrypted if isinstance(plain.exception(), TlsRequired) else plain)
            else:
                opened = await (plain if _is_no_answer(encrypted.exception()) else encrypted)
            return opened
        finally:
            for task in (plain, encrypted):
                task.cancel()
            await asyncio.wait([plain, encrypted])
            for task in (plain, encrypted):
                if (
                    not task.cancelled()
                    and task.exception() is None
                    and task.result() is not opened
                ):
                    task.result()[0].abort()
            if opened is None or opened[0].transport is not transport:
                transport.abort()

    async def _has_answered(self, transport: Transport, patience_s: float) -> bool:
        try:
            await transport.peek(min(patience_s, self._limits.connect_s))
        except TimedOut:
            return False
        except Closed as error:
            raise ClosedEarly(self._address, transport) from error
        return True

    async def _waits_for_tls(self) -> bool:
        """Return whether a TLS handshake succeeds with any certificate; send nothing else."""
        from ftransfer.client.trust import handshake_succeeds

        try:
            transport = await self.connect()
        except CannotConnect:
            return False
        try:
            return await handshake_succeeds(
                transport, self._address.host, min(_PROBE_S, self._limits.connect_s)
            )
        finally:
            transport.abort()

    async def _open_on(self, transport: Transport) -> tuple[Channel, Hello]:
        channel = Channel(transport, Role.CLIENT, self._limits)
        return channel, await _receive_hello(channel, self._address, self._limits)


@contextlib.contextmanager
def _aborted_on_error(transport: Transport) -> Iterator[None]:
    try:
        yield
    except BaseException:
        transport.abort()
        raise


def _is_no_answer(error: BaseException | None) -> bool:
    from ftransfer.client.trust import SpeaksNoTls

    return isinstance(error, (SpeaksNoTls, CannotConnect))


async def _receive_hello(channel: Channel, address: Address, limits: Limits) -> Hello:
    try:
        first = await channel.transport.read(limits.connect_s)
    except TimedOut as error:
        why = f"{address} accepts connections but does not greet; is it an ftransfer server?"
        raise CannotConnect(why) from error
    except Closed as error:
        raise ClosedEarly(address, channel.transport, error.__cause__) from error
    if not first:
        raise ClosedEarly(address, channel.transport)
    channel.connection.receive_bytes(first)
    try:
        event = await channel.next_event(limits.connect_s)
    except ProtocolError as error:
        text = escape(first.split(b"\n", 1)[0][:60].decode("utf-8", "replace").strip())
        raise CannotConnect(f"{address} is not an ftransfer server; it says: {text}") from error
    if isinstance(event, ErrorReply):
        raise event.to_exception()
    if not isinstance(event, Hello):
        raise CannotConnect(f"{address} did not greet as an ftransfer server does")
    if event.protocol != PROTOCOL:
        raise CannotConnect(
            f"{address} speaks protocol {event.protocol}; this client speaks {PROTOCOL}; update the"
            " older of the two"
        )
    return event


def _why_not(error: Exception, address: Address) -> str:
    import socket

    if isinstance(error, socket.gaierror):
        return f"no host is named {escape(address.host)}"
    if isinstance(error, ConnectionRefusedError):
        return f"{address} refuses connections; is the server running, and is it that port?"
    if isinstance(error, OverflowError):
        return f"{address.port} is not a port; ports are 1 to 65535"
    number = getattr(error, "errno", None)
    return (
        f"cannot connect to {address}:"
        f" {os.strerror(number) if isinstance(number, int) and number > 0 else error}"
    )
