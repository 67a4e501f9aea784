"""The fast transport: a socket that moves bytes between the network and files in threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from ftransfer.errors import Closed, TimedOut
from ftransfer.transport.base import READ_SIZE, Buffer, PeerTransport, translated
from ftransfer.transport.readiness import Readiness

# While a payload is awaited, the loop is not woken for less than this: smaller wake-ups cost more
# than the bytes.
_LOW_WATER = 256 * 1024
# After this time it is woken for any bytes.
_LOW_WATER_S = 1.0
# Buffers per system call; IOV_MAX where it is known.
_MOST_BUFFERS = 1024
_NO_LOCK = contextlib.nullcontext()


class SocketTransport(PeerTransport):
    """A non-blocking socket, watched by the event loop and used from threads.

    OpenSSL objects must not be used from two threads at once, so every call on a TLS socket holds a
    lock; no call blocks.
    """

    def __init__(self, sock: socket.socket, address: object) -> None:
        """Take over a connected socket; `address` is the peer's, as the system gives it."""
        super().__init__(sock, address)
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):  # some systems refuse it after a disconnect
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._readiness = Readiness(sock, self.peer)
        self._closed = False
        self._lock: contextlib.AbstractContextManager[Any] = _NO_LOCK
        # What OpenSSL has begun to send: it must be given the same data again
        self._unsent: Buffer | None = None

    @property
    def direct(self) -> SocketTransport:
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
        """Wait until the socket has bytes.

        The loop is not woken for much less than `expected` of them.
        """
        if expected > 1 and not self.encrypted:
            patience_s = min(_LOW_WATER_S, timeout_s / 2)
            self._readiness.set_low_water(min(expected, _LOW_WATER), is_local=self.is_local)
            with contextlib.suppress(TimedOut):
                return await self._readiness.readable(patience_s)
            timeout_s -= patience_s  # the peer is slow or dead: from now on wake for a single byte
        self._readiness.set_low_water(1)
        return await self._readiness.readable(timeout_s)

    async def wait_writable(self, timeout_s: float) -> None:
        """Wait until the socket accepts bytes."""
        await self._readiness.writable(timeout_s)

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
        self._kernel_socket = self._readiness.socket = self._socket
        self._lock = threading.Lock()
        self.encrypted = True
        deadline = self._loop.time() + timeout_s
        while (is_reading := _shake_hands(self._socket, self.peer)) is not None:
            left_s = deadline - self._loop.time()
            try:
                # The wait alone would not stop a peer that always has another byte ready
                if left_s <= 0:
                    raise TimedOut("")
                await (self.wait_readable if is_reading else self.wait_writable)(left_s)
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
                    # Sends close_notify; does not wait for the peer's answer
                    self._socket.unwrap()
            # Half-close, then read to the end: closing with unread input would send a reset, which
            # can overtake the last bytes. A TLS socket is used as a plain one from here on, since
            # its remaining input is discarded.
            self._socket.shutdown(socket.SHUT_WR)
            deadline = self._loop.time() + timeout_s
            while (left := deadline - self._loop.time()) > 0:
                if not await self.read(left):
                    break
                await asyncio.sleep(0)  # a peer that sends without pause would hold the loop
        self.abort()

    def abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._readiness.close()
        self._socket.close()

    # In threads. None means that the call would block; the caller returns to the loop to wait.

    def wait_readable_now(self, timeout_s: float, expected: int = 1) -> bool:
        """Wait in a thread, as wait_readable; return whether bytes came in time."""
        if expected > 1 and not self.encrypted:
            self._readiness.set_low_water(min(expected, _LOW_WATER), is_local=self.is_local)
        return self._readiness.poll_readable(timeout_s)

    def wait_writable_now(self, timeout_s: float) -> bool:
        """Wait in a thread, as wait_writable; return whether the socket accepts bytes in time."""
        return self._readiness.poll_writable(timeout_s)

    def receive_into(self, view: memoryview) -> int | None:
        """Receive bytes from the socket; 0 at the end of the stream, None if there are none now.

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
        """Receive all available records; OpenSSL returns at most one of 16 KiB per call."""
        filled = 0
        with self._lock:
            while filled < len(view):
                try:
                    count = tls.read(len(view) - filled, view[filled:])
                except ssl.SSLError:
                    if not filled:
                        raise
                    break  # return what came before it; a real error comes again
                if not count:
                    break
                filled += int(count)  # a number, since a buffer was given
        return filled

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> int | None:
        """Send bytes; return how many the socket accepted, None if none now. Raises Closed.

        `more` says that others follow at once, so that a header does not travel in a separate
        packet.
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
            # Its sender was cancelled
            raise Closed(f"the connection to {self.peer} was cut in the middle of a message")
        self._unsent = buffer
        sent = self._socket.send(buffer)
        self._unsent = None
        return sent

    def send_from_file(self, fd: int, offset: int, count: int) -> int | None:
        """Send bytes of a file without copying them through this process; as `send`.

        0 at the end of the file. Not for TLS.
        """
        with translated(self.peer, file_errors=True):
            try:
                return os.sendfile(self._socket.fileno(), fd, offset, count)
            except BlockingIOError:
                return None


def _shake_hands(tls: ssl.SSLSocket, peer: str) -> bool | None:
    """Continue a handshake; return None when it is complete. Raises as Transport.start_tls.

    Otherwise return whether it waits to read (True) or to write (False).
    """
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLWantWriteError:
        return False
    except (ConnectionError, ssl.SSLEOFError) as error:
        raise Closed(f"{peer} closed the connection during the TLS handshake") from error
    except ssl.SSLError:
        raise
    except OSError as error:
        raise Closed(f"the connection to {peer} was lost: {error.strerror or error}") from error
    return None
