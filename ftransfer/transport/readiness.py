"""When a socket can be read or written: awaited on the event loop, or briefly in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket

from ftransfer.errors import Closed, TimedOut
from ftransfer.transport.base import set_done

# The receive buffer holds the system's own records as well as content.
_PART_OF_BUFFER = 8


class Readiness:
    """The readiness of one non-blocking socket, which the owner closes after `close`."""

    __slots__ = ("_is_closed", "_loop", "_low_water", "_peer", "_waiting", "socket")

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.socket = sock  # replaced by its TLS socket; the descriptor stays
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._low_water = 1
        self._is_closed = False
        self._waiting: set[asyncio.Future[None]] = set()

    async def readable(self, timeout_s: float) -> None:
        """Wait until the socket has bytes, or its low-water mark of them.

        Raises:
            TimedOut: It had none for `timeout_s`.
            Closed: It is closed, now or during the wait.
        """
        await self._wait(timeout_s, is_reading=True)

    async def writable(self, timeout_s: float) -> None:
        """Wait until the socket accepts bytes. Raises as readable."""
        await self._wait(timeout_s, is_reading=False)

    async def _wait(self, timeout_s: float, *, is_reading: bool) -> None:
        if self._is_closed:
            raise Closed("the connection was closed")
        loop = self._loop
        # By its number: for a socket that is not watched yet, the loop would format its repr, with
        # all its addresses.
        number = self.socket.fileno()
        future: asyncio.Future[None] = loop.create_future()
        (loop.add_reader if is_reading else loop.add_writer)(number, set_done, future)
        what = "sent" if is_reading else "took"
        timer = loop.call_later(
            max(0.0, timeout_s),
            _expire,
            future,
            f"{self._peer} {what} nothing for {timeout_s:.0f} s",
        )
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
            timer.cancel()
            if not self._is_closed:
                (loop.remove_reader if is_reading else loop.remove_writer)(number)
            # It may hold the exception that holds this frame: the transport would wait for the
            # garbage collector.
            del future

    def poll_readable(self, timeout_s: float) -> bool:
        """Return whether the socket has bytes within `timeout_s`. Blocking."""
        return self._poll(select.POLLIN, timeout_s)

    def poll_writable(self, timeout_s: float) -> bool:
        """Return whether the socket accepts bytes within `timeout_s`. Blocking."""
        return self._poll(select.POLLOUT, timeout_s)

    def _poll(self, event: int, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self.socket, event)
        return bool(poll.poll(timeout_s * 1000))

    def set_low_water(self, count: int, *, is_local: bool = True) -> None:
        """Treat the socket as readable only with about `count` bytes, or at the stream's end."""
        if count > 1 and not is_local:
            # If asked for more than its buffer holds, the kernel enlarges the buffer and fixes the
            # window there: a long path never fills.
            size = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            count = min(count, size // _PART_OF_BUFFER)
        if count != self._low_water:
            with contextlib.suppress(OSError, AttributeError):  # not on every platform
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._low_water = count

    def close(self) -> None:
        """Stop watching the socket, and raise Closed in its waiters."""
        self._is_closed = True
        self._loop.remove_reader(self.socket.fileno())
        self._loop.remove_writer(self.socket.fileno())
        for future in self._waiting:
            if not future.done():
                future.set_exception(Closed("the connection was closed"))


def _expire(future: asyncio.Future[None], message: str) -> None:
    if not future.done():
        future.set_exception(TimedOut(message))
