"""What a transport is, and what its two forms share."""

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

# Enough to hold any line and most control frames, little enough for a thousand idle sessions.
READ_SIZE = 64 * 1024


class KernelSocket(tcp_info.TcpSocket, NamedSocket, Protocol):
    """A socket, or what asyncio shows of one."""


class Transport(Protocol):
    """A byte stream. One task reads at a time, and one writes at a time."""

    peer: str  # "address:port" of the other end, for messages and logs
    peer_host: str
    encrypted: bool

    @property
    def is_local(self) -> bool:
        """Whether the peer is a program on this machine."""

    @property
    def own_host(self) -> str:
        """The address of our own end, or "" if it has none."""

    def peer_user(self) -> int | None:
        """Return the user whose process on this machine is at the other end, or None if that cannot
        be told.
        """

    def keep_alive(self, vanish_s: float) -> None:
        """Have the system ask a silent peer whether it is there, so that one which is gone is
        noticed within `vanish_s`.
        """

    def unanswered_s(self) -> float:
        """Return for how long sent data has waited for the peer's machine to answer, else 0.0."""

    @property
    def round_trip_s(self) -> float:
        """The time to the peer and back, in seconds, as the system has measured it; 0.0 if it does
        not tell.
        """

    @property
    def least_round_trip_s(self) -> float:
        """The shortest that it was: that of the path, without what waits in queues or for a busy or
        slowed-down peer.
        """

    @property
    def bytes_transferred(self) -> int:
        """How many bytes have got through so far, both ways together, as the system has counted
        them; 0 if it does not tell.
        """

    async def read(self, timeout_s: float) -> bytes:
        """Return what has come in, up to READ_SIZE bytes; b"" at the end of the stream.

        Nothing is lost when cancelled.

        Raises:
            TimedOut: Nothing came within `timeout_s`.
            Closed: The connection broke.
        """

    async def write(self, buffers: Sequence[Buffer], timeout_s: float) -> None:
        """Hand buffers over to be sent, in order; returns when there is room for more.

        Raises:
            TimedOut: The peer took nothing for `timeout_s`.
            Closed: The connection broke.
        """

    async def peek(self, timeout_s: float) -> bytes:
        """Return the next byte without consuming it. Raises as read.

        b"" at the end of the stream, or if this transport cannot look.
        """

    @property
    def direct(self) -> DirectTransport | None:
        """The transport itself if it can move bytes between its socket and files in threads."""

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, hostname: str, timeout_s: float
    ) -> None:
        """Encrypt from here on. Nothing may have been read yet, unless the peer spoke first in
        plain.

        Raises:
            ssl.SSLError: The handshake failed; the caller knows what that means. Nothing more can
            be said over this transport.
            TimedOut: It took longer than `timeout_s` in all.
            Closed: The connection broke.
        """

    @property
    def tls(self) -> ssl.SSLObject | ssl.SSLSocket | None: ...

    async def close(self, timeout_s: float) -> None:
        """Send what is left, wait up to `timeout_s` for the peer to have read it, and close."""

    def abort(self) -> None:
        """Close at once."""


class DirectTransport(Transport, Protocol):
    """A transport whose socket may be used from threads.

    Where a call would block it returns None, and the caller goes back to the loop to wait.
    """

    async def wait_readable(self, timeout_s: float, expected: int = 1) -> None:
        """Wait until bytes can be taken from the socket; the loop is not woken for much less than
        `expected` of them.

        Raises:
            TimedOut: The peer sent nothing for `timeout_s`.
            Closed: The connection was closed.
        """

    async def wait_writable(self, timeout_s: float) -> None:
        """Wait until the socket takes bytes; raises as wait_readable."""

    def wait_readable_now(self, timeout_s: float, expected: int = 1) -> bool:
        """As wait_readable, in a thread: whether bytes can be taken within the time."""

    def wait_writable_now(self, timeout_s: float) -> bool:
        """As wait_writable, in a thread: whether the socket takes bytes within the time."""

    def receive_into(self, view: memoryview) -> int | None:
        """Take bytes from the socket; 0 at the end of the stream. Raises Closed."""

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> int | None:
        """Pass bytes to the socket; return how many it took. Raises Closed.

        `more` says that others follow at once, so that a header does not travel in a packet of its
        own.
        """

    def send_from_file(self, fd: int, offset: int, count: int) -> int | None:
        """Send bytes of a file without copying them through this process; 0 at the end of the
        file. Not for TLS.

        Raises:
            Closed: The connection broke. OSError: The file cannot be sent that way.
        """


class PeerTransport:
    """What both forms know of the peer and its machine."""

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
        except OSError:  # it is closed
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
    """Turn what the socket raises into Closed. With `file_errors`, only what cannot have come from
    the file.
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
        return "peer", "unknown"  # it was gone before it could be asked for
    host = str(address[0])
    if "." in host:
        host = host.removeprefix("::ffff:")  # one of IPv4, at a socket of IPv6
    return format_address(host, address[1]), host
