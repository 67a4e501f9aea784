"""A byte stream to one peer, in two forms with one face: SocketLink, which owns a non-blocking socket and can move bytes straight
between it and files; and StreamLink, over asyncio's streams, for event loops and platforms where that cannot be done.

The adapter between the operating system's sockets and the channel: OSError and ssl errors are translated here, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Protocol

from ftransfer import liveness
from ftransfer.errors import Closed, TimedOut

Buffer = bytes | bytearray | memoryview

# Enough to hold any line and most control frames, little enough for a thousand idle sessions.
READ_SIZE = 64 * 1024
# The loop is not woken for less than this while a payload is awaited: below, the wake-ups cost more than the bytes.
_LOW_WATER = 256 * 1024


class Link(Protocol):
    """A byte stream. One task reads at a time, and one writes at a time."""

    peer: str  # "address:port" of the other end, for messages and logs
    peer_host: str
    encrypted: bool

    @property
    def is_local(self) -> bool:
        """Whether the peer is a program on this machine."""

    def keep_alive(self, vanish_s: float) -> None:
        """Have the system ask a silent peer whether it is there, so that one which is gone is noticed within `vanish_s`."""

    def unanswered_s(self) -> float:
        """Give how long the peer's machine has not answered though something was sent to it; 0.0 if nothing waits for an answer."""

    async def read(self, timeout_s: float) -> bytes:
        """Give what has come in, up to READ_SIZE bytes; b"" at the end of the stream. Nothing is lost when cancelled.

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

    @property
    def direct(self) -> SocketLink | None:
        """The link itself if it can move bytes between its socket and files in threads."""

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, hostname: str, timeout_s: float) -> None:
        """Encrypt from here on.

        Raises:
            ssl.SSLError: The handshake failed; the caller knows what that means.
            TimedOut, Closed: As for read.
        """

    @property
    def tls(self) -> ssl.SSLObject | ssl.SSLSocket | None: ...

    async def close(self, timeout_s: float) -> None:
        """Send what is left, wait up to `timeout_s` for the peer to have read it, and close."""

    def abort(self) -> None:
        """Close at once."""


def make_link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, direct: bool = True) -> Link:
    """Take over a fresh connection of asyncio's streams.

    To be called before anything is awaited on it: nothing may have been read yet. With `direct` a SocketLink is made where the
    event loop can watch descriptors.
    """
    if direct and sys.platform != "win32" and isinstance(writer.transport.get_extra_info("socket"), _socket_types()):
        return SocketLink(writer.transport, reader)
    return StreamLink(reader, writer)


async def connect_link(host: str, port: int, *, direct: bool = True) -> Link:
    """Connect and take the connection over before its first byte is read.

    Raises:
        OSError, OverflowError, UnicodeError: As asyncio.open_connection.
    """
    loop = asyncio.get_running_loop()
    links: list[Link] = []

    # The callback runs as the connection is made: a server that speaks at once cannot slip a byte past it.
    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links.append(make_link(reader, writer, direct=direct))

    reader = asyncio.StreamReader(loop=loop)
    await loop.create_connection(lambda: asyncio.StreamReaderProtocol(reader, connected, loop=loop), host, port)
    return links[0]


def _socket_types() -> tuple[type, ...]:
    from asyncio.trsock import TransportSocket

    return (TransportSocket, socket.socket)


class _PeerLink:
    """What both forms know of the peer and its machine."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._kernel_socket: liveness.KernelSocket | None = transport.get_extra_info("socket")
        self.peer, self.peer_host = _peer_of(transport)
        self.encrypted = False

    @property
    def is_local(self) -> bool:
        return liveness.is_loopback(self.peer_host)

    def keep_alive(self, vanish_s: float) -> None:
        if self._kernel_socket is not None:
            liveness.keep_alive(self._kernel_socket, vanish_s)

    def unanswered_s(self) -> float:
        return liveness.unanswered_s(self._kernel_socket) if self._kernel_socket is not None else 0.0


class SocketLink(_PeerLink):
    """A non-blocking socket that is watched by the event loop and used from threads.

    The asyncio transport that made the connection stays its owner, paused; this object works on a duplicate of its descriptor.
    OpenSSL objects must not be used from two threads at once, so every call on an encrypted socket holds a lock; no call blocks.
    """

    def __init__(self, transport: asyncio.BaseTransport, reader: asyncio.StreamReader | None = None) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().__init__(transport)
        transport.pause_reading()
        self._owner = transport
        self._reader = reader  # its finaliser would abort the transport
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._socket.setblocking(False)
        if self._socket.family in (socket.AF_INET, socket.AF_INET6):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._low_water = 1
        self._closed = False
        self._lock: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def direct(self) -> SocketLink | None:
        return self

    @property
    def tls(self) -> ssl.SSLSocket | None:
        return self._socket if isinstance(self._socket, ssl.SSLSocket) else None

    # On the event loop.

    async def read(self, timeout_s: float) -> bytes:
        while True:
            with _translated(self.peer):
                with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError), self._lock:
                    return self._socket.recv(READ_SIZE)
            await self.wait_readable(timeout_s)

    async def write(self, buffers: Sequence[Buffer], timeout_s: float) -> None:
        pending = [memoryview(buffer) for buffer in buffers if len(buffer)]
        if self.encrypted and len(pending) > 1:
            pending = [memoryview(b"".join(pending))]
        while pending:
            sent = self.send(pending)
            while pending and sent is not None and sent >= len(pending[0]):
                sent -= len(pending.pop(0))
            if pending:
                if sent:
                    pending[0] = pending[0][sent:]
                await self.wait_writable(timeout_s)

    async def wait_readable(self, timeout_s: float, expected: int = 1) -> None:
        """Wait until bytes can be taken from the socket; the loop is not woken for much less than `expected` of them."""
        self._set_low_water(1 if self.encrypted else max(1, min(expected, _LOW_WATER)))
        await self._wait(self._loop.add_reader, self._loop.remove_reader, timeout_s, "sent nothing")

    async def wait_writable(self, timeout_s: float) -> None:
        """Wait until the socket takes bytes."""
        await self._wait(self._loop.add_writer, self._loop.remove_writer, timeout_s, "took nothing")

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, hostname: str, timeout_s: float) -> None:
        self._socket = context.wrap_socket(
            self._socket,
            server_side=server_side,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            server_hostname=None if server_side else hostname,
        )
        self._socket.setblocking(False)
        self._lock = threading.Lock()
        self.encrypted = True
        deadline = self._loop.time() + timeout_s
        while True:
            left = deadline - self._loop.time()
            try:
                self._socket.do_handshake()
                return
            except ssl.SSLWantReadError:
                await self.wait_readable(left)
            except ssl.SSLWantWriteError:
                await self.wait_writable(left)
            except ConnectionError as error:
                raise Closed(f"{self.peer} closed the connection during the TLS handshake") from error

    async def close(self, timeout_s: float) -> None:
        if self._closed:
            return
        with contextlib.suppress(OSError, Closed, TimedOut):
            # Half-close, then read to the end: closing with unread input would send a reset, which can overtake the last words.
            if not self.encrypted:
                self._socket.shutdown(socket.SHUT_WR)
                deadline = self._loop.time() + timeout_s
                while (left := deadline - self._loop.time()) > 0 and await self.read(left):
                    pass
            else:
                self._unwrap()
        self.abort()

    def _unwrap(self) -> None:
        with contextlib.suppress(ssl.SSLError, ValueError), self._lock:
            assert isinstance(self._socket, ssl.SSLSocket)
            self._socket.unwrap()

    def abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        for future in self._waiting:
            if not future.done():
                future.set_exception(Closed("the connection was closed"))
        self._socket.close()
        self._owner.abort()

    async def _wait(self, add: Callable[..., Any], remove: Callable[..., Any], timeout_s: float, what: str) -> None:
        if self._closed:
            raise Closed("the connection was closed")
        future: asyncio.Future[None] = self._loop.create_future()
        add(self._socket, _set_done, future)
        timer = self._loop.call_later(max(0.0, timeout_s), _expire, future, f"{self.peer} {what} for {timeout_s:.0f} s")
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
            timer.cancel()
            if not self._closed:
                remove(self._socket)

    def _set_low_water(self, count: int) -> None:
        if count != self._low_water:
            with contextlib.suppress(OSError, AttributeError):  # not on every platform
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._low_water = count

    # In threads. None means that it would block; the caller goes back to the loop to wait.

    def receive_into(self, view: memoryview) -> int | None:
        """Take bytes from the socket; 0 at the end of the stream, None if there are none now. Raises Closed."""
        with _translated(self.peer):
            try:
                with self._lock:
                    return self._socket.recv_into(view)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> int | None:
        """Give bytes to the socket; how many it took, or None if it takes none now. Raises Closed.

        `more` says that others follow at once, so that a header does not travel in a packet of its own.
        """
        with _translated(self.peer):
            try:
                with self._lock:
                    if self.encrypted:
                        return self._socket.send(buffers[0])
                    return self._socket.sendmsg(buffers[:64], [], getattr(socket, "MSG_MORE", 0) if more else 0)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None

    def send_from_file(self, fd: int, offset: int, count: int) -> int | None:
        """Send bytes of a file without copying them through this process; as `send`, and 0 at the end of the file. Not for TLS."""
        with _translated(self.peer, file_errors=True):
            try:
                return os.sendfile(self._socket.fileno(), fd, offset, count)
            except BlockingIOError:
                return None


class StreamLink(_PeerLink):
    """The general form: asyncio's own streams, with their buffers and their TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(writer.transport)
        self._reader = reader
        self._writer = writer

    @property
    def direct(self) -> SocketLink | None:
        return None

    @property
    def tls(self) -> ssl.SSLObject | None:
        found: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        return found

    async def read(self, timeout_s: float) -> bytes:
        async with self._deadline(timeout_s, "sent nothing"):
            return await self._reader.read(READ_SIZE)

    async def write(self, buffers: Sequence[Buffer], timeout_s: float) -> None:
        async with self._deadline(timeout_s, "took nothing"):
            self._writer.writelines(buffers)
            await self._writer.drain()

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, hostname: str, timeout_s: float) -> None:
        async with self._deadline(timeout_s, "did not finish the TLS handshake"):
            await self._writer.start_tls(context, server_hostname=hostname or None, ssl_handshake_timeout=timeout_s)
        self.encrypted = True

    async def close(self, timeout_s: float) -> None:
        with contextlib.suppress(OSError, Closed, TimedOut):
            if self._writer.can_write_eof():
                self._writer.write_eof()
                async with self._deadline(timeout_s, "did not close"):
                    while await self._reader.read(READ_SIZE):
                        pass
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._writer.wait_closed()

    def abort(self) -> None:
        self._writer.transport.abort()

    @contextlib.asynccontextmanager
    async def _deadline(self, timeout_s: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                with _translated(self.peer):
                    yield
        except TimeoutError as error:
            raise TimedOut(f"{self.peer} {what} for {timeout_s:.0f} s") from error


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _expire(future: asyncio.Future[None], message: str) -> None:
    if not future.done():
        future.set_exception(TimedOut(message))


@contextlib.contextmanager
def _translated(peer: str, *, file_errors: bool = False) -> Iterator[None]:
    """Turn what the socket raises into Closed. With `file_errors`, only what cannot have come from the file."""
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


def _peer_of(transport: asyncio.BaseTransport) -> tuple[str, str]:
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple) or len(name) < 2:
        return "peer", "local"
    host = str(name[0])
    return (f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"), host
