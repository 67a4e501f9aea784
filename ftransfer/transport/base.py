"""The transport interface, and what its two forms share."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator, Sequence
from typing import Protocol

from ftransfer.addresses import format_address, is_loopback
from ftransfer.errors import Closed
from ftransfer.transport import tcp_info
from ftransfer.transport.peer_user import NamedSocket, user_of_peer

Buffer = bytes | bytearray | memoryview

# Holds any line and most control frames, and is small enough for a thousand idle sessions.
READ_SIZE = 64 * 1024


class KernelSocket(tcp_info.TcpSocket, NamedSocket, Protocol):
    """A socket, or asyncio's view of one."""


class Transport(Protocol):
    """A byte stream. At most one task reads and one writes at a time."""

    peer: str  # "address:port" of the other end, for messages and logs
    peer_host: str
    encrypted: bool

    @property
    def is_local(self) -> bool:
        """Return whether the peer is a program on this machine."""

    @property
    def own_host(self) -> str:
        """Return the address of our own end, or "" if it has none."""

    def peer_user(self) -> int | None:
        """Return the user whose process on this machine is the peer, or None if unknown."""

    def keep_alive(self, vanish_s: float) -> None:
        """Have the system probe a silent peer, so that a lost one is noticed within `vanish_s`."""

    def unanswered_s(self) -> float:
        """Return how long sent data has waited for an answer from the peer's machine, else 0.0."""

    @property
    def round_trip_s(self) -> float:
        """Return the round-trip time in seconds as the system measured it; 0.0 if unknown."""

    @property
    def least_round_trip_s(self) -> float:
        """Return the shortest round-trip time, in seconds.

        It is that of the path, without queues or a busy or throttled peer.
        """

    @property
    def bytes_transferred(self) -> int:
        """Return the bytes transferred in both directions, as the system counts them.

        0 if unknown.
        """

    async def read(self, timeout_s: float) -> bytes:
        """Return received bytes, up to READ_SIZE; b"" at the end of the stream.

        Cancellation loses nothing.

        Raises:
            TimedOut: Nothing came within `timeout_s`.
            Closed: The connection broke.
        """

    async def write(self, buffers: Sequence[Buffer], timeout_s: float) -> None:
        """Send buffers in order; return when there is space for more.

        Raises:
            TimedOut: The peer took nothing for `timeout_s`.
            Closed: The connection broke.
        """

    async def peek(self, timeout_s: float) -> bytes:
        """Return the next byte without consuming it. Raises as read.

        b"" at the end of the stream, or if this transport cannot peek.
        """

    @property
    def direct(self) -> DirectTransport | None:
        """Return the transport itself if it can copy between socket and file in threads."""

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, hostname: str, timeout_s: float
    ) -> None:
        """Encrypt from here on. Nothing may have been read, unless the peer began in plaintext.

        Raises:
            ssl.SSLError: The handshake failed; the caller knows what that means. The transport is
                no longer usable.
            TimedOut: It took longer than `timeout_s` in all.
            Closed: The connection broke.
        """

    @property
    def tls(self) -> ssl.SSLObject | ssl.SSLSocket | None: ...

    async def close(self, timeout_s: float) -> None:
        """Send what is left, wait up to `timeout_s` for the peer to read it, and close."""

    def abort(self) -> None:
        """Close at once."""


class DirectTransport(Transport, Protocol):
    """A transport whose socket may be used from threads.

    Where a call would block it returns None, and the caller returns to the loop to wait.
    """

    async def wait_readable(self, timeout_s: float, expected: int = 1) -> None:
        """Wait until the socket has bytes.

        The loop is not woken for much less than `expected` of them.

        Raises:
            TimedOut: The peer sent nothing for `timeout_s`.
            Closed: The connection was closed.
        """

    async def wait_writable(self, timeout_s: float) -> None:
        """Wait until the socket accepts bytes. Raises as wait_readable."""

    def wait_readable_now(self, timeout_s: float, expected: int = 1) -> bool:
        """Wait in a thread, as wait_readable; return whether bytes came in time."""

    def wait_writable_now(self, timeout_s: float) -> bool:
        """Wait in a thread, as wait_writable; return whether the socket accepts bytes in time."""

    def receive_into(self, view: memoryview) -> int | None:
        """Receive bytes from the socket; 0 at the end of the stream. Raises Closed."""

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> int | None:
        """Send bytes; return how many the socket accepted. Raises Closed.

        `more` says that others follow at once, so that a header does not travel in a separate
        packet.
        """

    def send_from_file(self, fd: int, offset: int, count: int) -> int | None:
        """Send bytes of a file without copying them; 0 at its end. Not for TLS.

        Raises:
            Closed: The connection broke. OSError: The file cannot be sent like this.
        """


class PeerTransport:
    """What both forms know about the peer and its machine."""

    def __init__(self, kernel_socket: KernelSocket | None, address: object) -> None:
        self._kernel_socket = kernel_socket
        self.peer, self.peer_host = _peer_at(address)
        self.encrypted = False

    @property
    def is_local(self) -> bool:
        return is_loopback(self.peer_host)

    @property
    def own_host(self) -> str:
        try:
            name = self._kernel_socket.getsockname() if self._kernel_socket is not None else None
        except OSError:  # the socket is closed
            return ""
        return str(name[0]) if isinstance(name, tuple) else ""

    def peer_user(self) -> int | None:
        return user_of_peer(self._kernel_socket) if self._kernel_socket is not None else None

    def keep_alive(self, vanish_s: float) -> None:
        if self._kernel_socket is not None:
            tcp_info.keep_alive(self._kernel_socket, vanish_s)

    def unanswered_s(self) -> float:
        return (
            tcp_info.unanswered_s(self._kernel_socket) if self._kernel_socket is not None else 0.0
        )

    @property
    def round_trip_s(self) -> float:
        return (
            tcp_info.round_trip_s(self._kernel_socket) if self._kernel_socket is not None else 0.0
        )

    @property
    def least_round_trip_s(self) -> float:
        return (
            tcp_info.least_round_trip_s(self._kernel_socket)
            if self._kernel_socket is not None
            else 0.0
        )

    @property
    def bytes_transferred(self) -> int:
        return (
            tcp_info.bytes_transferred(self._kernel_socket)
            if self._kernel_socket is not None
            else 0
        )


def set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@contextlib.contextmanager
def translated(peer: str, *, file_errors: bool = False) -> Iterator[None]:
    """Turn errors of the socket into Closed.

    With `file_errors`, only those that cannot come from the file.
    """
    try:
        yield
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, TimeoutError):
        raise
    except (ConnectionError, ssl.SSLError) as error:
        raise Closed(f"the connection to {peer} was lost") from error
    except OSError as error:
        if file_errors and not isinstance(error, TimeoutError):
            raise
        raise Closed(f"the connection to {peer} was lost: {error.strerror or error}") from error


def _peer_at(address: object) -> tuple[str, str]:
    if not isinstance(address, tuple) or len(address) < 2:
        return "peer", "unknown"  # it disconnected before this call
    host = str(address[0])
    if "." in host:
        host = host.removeprefix("::ffff:")  # an IPv4 address at an IPv6 socket
    return format_address(host, address[1]), host
