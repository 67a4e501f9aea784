"""The fast transport: a socket that moves bytes between the network and files in threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ftransfer.errors import Closed, TimedOut
from ftransfer.transport.base import READ_SIZE, Buffer, PeerTransport, set_done, translated

# The loop is not woken for less than this while a payload is awaited: below, the wake-ups cost more
# than the bytes.
_LOW_WATER = 256 * 1024
# Nor, over a network, for more than this part of the receive buffer, which holds the system's own
# books as well.
_PART_OF_BUFFER = 8
# And if they do not come within this time, for whatever is there.
_LOW_WATER_S = 1.0
# Given to the system in one call; IOV_MAX where it is known to be.
_MOST_BUFFERS = 1024
_NO_LOCK = contextlib.nullcontext()


class SocketTransport(PeerTransport):
    """A non-blocking socket that is watched by the event loop and used from threads.

    OpenSSL objects must not be used from two threads at once, so every call on an encrypted socket
    holds a lock; no call blocks.
    """

    def __init__(self, sock: socket.socket, address: object) -> None:
        """Take over a connected socket; `address` is that of the peer, as the system gives it."""
        super().__init__(sock, address)
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):  # some systems refuse it once the peer has gone
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._low_water = 1
        self._closed = False
        self._lock: contextlib.AbstractContextManager[Any] = _NO_LOCK
        self._unsent: Buffer | None = (
            None  # what OpenSSL has begun to send: it must be given the same again
        )
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def direct(self) -> SocketTransport | None:
        return self

    @property
    def tls(self) -> ssl.SSLSocket | None:
        return self._socket if isinstance(self._socket, ssl.SSLSocket) else None

    # On the event loop.

    async def read(self, timeout_s: float) -> bytes:
        while True:
            with translated(self.peer):
                with (
                    contextlib.suppress(
                        BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError
                    ),
                    self._lock,
                ):
                    return self._socket.recv(READ_SIZE)
            await self.wait_readable(timeout_s)

    async def peek(self, timeout_s: float) -> bytes:
        while True:
            with translated(self.peer):
                with contextlib.suppress(BlockingIOError):
                    return self._socket.recv(1, socket.MSG_PEEK)
            await self.wait_readable(timeout_s)

    async def write(self, buffers: Sequence[Buffer], timeout_s: float) -> None:
        pending = [memoryview(buffer) for buffer in buffers if len(buffer)]
        if self.encrypted and len(pending) > 1:
            pending = [memoryview(b"".join(pending))]
        first = 0
        while first < len(pending):
            sent = self.send(pending[first : first + _MOST_BUFFERS])
            if sent is None:
                await self.wait_writable(timeout_s)
                continue
            while first < len(pending) and sent >= len(pending[first]):
                sent -= len(pending[first])
                first += 1
            if sent:
                pending[first] = pending[first][sent:]

    async def wait_readable(self, timeout_s: float, expected: int = 1) -> None:
        """Wait until bytes can be taken from the socket; the loop is not woken for much less than
        `expected` of them.
        """
        if expected > 1 and not self.encrypted:
            patience_s = min(_LOW_WATER_S, timeout_s / 2)
            self._set_low_water(min(expected, _LOW_WATER))
            with contextlib.suppress(TimedOut):
                return await self._wait(
                    self._loop.add_reader, self._loop.remove_reader, patience_s, "sent nothing"
                )
            timeout_s -= patience_s  # the peer is slow, or dead: from now on a single byte tells
        self._set_low_water(1)
        return await self._wait(
            self._loop.add_reader, self._loop.remove_reader, timeout_s, "sent nothing"
        )

    async def wait_writable(self, timeout_s: float) -> None:
        """Wait until the socket takes bytes."""
        await self._wait(self._loop.add_writer, self._loop.remove_writer, timeout_s, "took nothing")

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, hostname: str, timeout_s: float
    ) -> None:
        self._socket = context.wrap_socket(
            self._socket,
            server_side=server_side,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            server_hostname=None if server_side else hostname,
        )
        self._socket.setblocking(False)
        self._kernel_socket = self._socket
        self._lock = threading.Lock()
        self.encrypted = True
        deadline = self._loop.time() + timeout_s
        while True:
            try:
                self._socket.do_handshake()
                return
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as pause:
                wait = (
                    self.wait_readable
                    if isinstance(pause, ssl.SSLWantReadError)
                    else self.wait_writable
                )
            except (ConnectionError, ssl.SSLEOFError) as error:
                raise Closed(
                    f"{self.peer} closed the connection during the TLS handshake"
                ) from error
            except ssl.SSLError:
                raise
            except OSError as error:
                raise Closed(
                    f"the connection to {self.peer} was lost: {error.strerror or error}"
                ) from error
            left_s = deadline - self._loop.time()
            try:
                # Whoever always has another byte ready would not be found out by the wait
                if left_s <= 0:
                    raise TimedOut("")
                await wait(left_s)
            except TimedOut as error:
                raise TimedOut(
                    f"{self.peer} did not finish the TLS handshake within {timeout_s:.0f} s"
                ) from error

    async def close(self, timeout_s: float) -> None:
        if self._closed:
            return
        with contextlib.suppress(OSError, Closed, TimedOut):
            if isinstance(self._socket, ssl.SSLSocket):
                with contextlib.suppress(ssl.SSLError, ValueError), self._lock:
                    # Says that this is the end; what the peer says to it is not waited for
                    self._socket.unwrap()
            # Half-close, then read to the end: closing with unread input would send a reset, which
            # can overtake the last words. An encrypted socket is a plain one from here on, since
            # what still comes is thrown away.
            self._socket.shutdown(socket.SHUT_WR)
            deadline = self._loop.time() + timeout_s
            while (left := deadline - self._loop.time()) > 0:
                if not await self.read(left):
                    break
                await asyncio.sleep(0)  # a peer that sends without pause would keep the loop
        self.abort()

    def abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        for future in self._waiting:
            if not future.done():
                future.set_exception(Closed("the connection was closed"))
        self._socket.close()

    async def _wait(
        self, add: Callable[..., Any], remove: Callable[..., Any], timeout_s: float, what: str
    ) -> None:
        if self._closed:
            raise Closed("the connection was closed")
        future: asyncio.Future[None] = self._loop.create_future()
        # By its number: where a socket is not yet watched, the loop would write down what it is,
        # with all its addresses.
        add(self._socket.fileno(), set_done, future)
        timer = self._loop.call_later(
            max(0.0, timeout_s), _expire, future, f"{self.peer} {what} for {timeout_s:.0f} s"
        )
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
            timer.cancel()
            if not self._closed:
                remove(self._socket.fileno())
            # Which may hold the exception that holds this frame: the transport would wait for the
            # garbage collector
            del future

    def _set_low_water(self, count: int) -> None:
        if count > 1 and not self.is_local:
            # Asked for more than its buffer takes, the kernel enlarges that, and holds the window
            # there: a long path never fills.
            count = min(
                count,
                self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // _PART_OF_BUFFER,
            )
        if count != self._low_water:
            with contextlib.suppress(OSError, AttributeError):  # not on every platform
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._low_water = count

    # In threads. None means that it would block; the caller goes back to the loop to wait.

    def wait_readable_now(self, timeout_s: float, expected: int = 1) -> bool:
        """As wait_readable, in a thread: whether bytes can be taken within the time."""
        if expected > 1 and not self.encrypted:
            self._set_low_water(min(expected, _LOW_WATER))
        return self._poll(select.POLLIN, timeout_s)

    def wait_writable_now(self, timeout_s: float) -> bool:
        """As wait_writable, in a thread: whether the socket takes bytes within the time."""
        return self._poll(select.POLLOUT, timeout_s)

    def _poll(self, event: int, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, event)
        return bool(poll.poll(timeout_s * 1000))

    def receive_into(self, view: memoryview) -> int | None:
        """Take bytes from the socket; 0 at the end of the stream, None if there are none now.
        Raises Closed.
        """
        with translated(self.peer):
            try:
                if isinstance(self._socket, ssl.SSLSocket):
                    return self._receive_records(self._socket, view)
                return self._socket.recv_into(view)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None

    def _receive_records(self, tls: ssl.SSLSocket, view: memoryview) -> int:
        """OpenSSL gives at most one record of 16 KiB a call: take as many as there are."""
        filled = 0
        with self._lock:
            while filled < len(view):
                try:
                    count = tls.read(len(view) - filled, view[filled:])
                except ssl.SSLError:
                    if not filled:
                        raise
                    break  # what came before it counts; if it was more than a pause, it comes again
                if not count:
                    break
                filled += int(count)  # with a buffer to fill it is a number
        return filled

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> int | None:
        """Give bytes to the socket; how many it took, or None if it takes none now. Raises Closed.

        `more` says that others follow at once, so that a header does not travel in a packet of its
        own.
        """
        with translated(self.peer):
            try:
                with self._lock:
                    if self.encrypted:
                        return self._send_encrypted(buffers[0])
                    return self._socket.sendmsg(
                        buffers[:_MOST_BUFFERS], [], getattr(socket, "MSG_MORE", 0) if more else 0
                    )
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None

    def _send_encrypted(self, buffer: Buffer) -> int:
        if self._unsent is not None and self._unsent is not buffer:
            # Who wrote it was cancelled
            raise Closed(f"the connection to {self.peer} was cut in the middle of a message")
        self._unsent = buffer
        sent = self._socket.send(buffer)
        self._unsent = None
        return sent

    def send_from_file(self, fd: int, offset: int, count: int) -> int | None:
        """Send bytes of a file without copying them through this process; as `send`, and 0 at the
        end of the file. Not for TLS.
        """
        with translated(self.peer, file_errors=True):
            try:
                return os.sendfile(self._socket.fileno(), fd, offset, count)
            except BlockingIOError:
                return None


def _expire(future: asyncio.Future[None], message: str) -> None:
    if not future.done():
        future.set_exception(TimedOut(message))
