"""The open port: it takes connections and hands them over as links, of which nothing has been read yet.

As with links there are two forms. Where descriptors can be watched, a connection is taken straight from the listening socket: to
let asyncio make transport and streams first takes two descriptors for each, several times the memory, and leaves cycles behind that
wait for the garbage collector.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from ftransfer.link.base import Link
from ftransfer.link.making import can_watch
from ftransfer.link.sockets import SocketLink
from ftransfer.link.streams import StreamLink

log = logging.getLogger("ftransfer.server")

_BACKLOG = 1024
# Taken in one turn of the loop: a crowd that comes at once is not all in memory at once.
_TAKEN_AT_ONCE = 16
# Who cannot be let in for want of a descriptor waits in the backlog for so long before it is tried again.
_PAUSE_S = 1.0

Taken = Callable[[Link], None]  # called on the loop with each new connection; it is to close it


class Port(Protocol):
    """A port that is listened on. Whoever opened it closes it."""

    addresses: list[tuple[str, int]]

    async def close(self) -> None:
        """Take no more connections. Closing twice is no error."""


async def open_port(host: str, number: int, taken: Taken, *, direct: bool = True) -> Port:
    """Listen on a port.

    Args:
        host: Address or host name; "" for all addresses of the machine.
        number: 0 for any free port; `addresses` says which.
        direct: Whether the links may be SocketLinks, where the platform can.

    Raises:
        OSError, OverflowError: The port is taken, or the address is not one of this machine.
    """
    if direct and can_watch():
        return await _SocketPort.open(host, number, taken)
    return await _StreamPort.open(host, number, taken)


class _SocketPort:
    def __init__(self, sockets: list[socket.socket], taken: Taken) -> None:
        self.addresses = [sock.getsockname()[:2] for sock in sockets]
        self._sockets = sockets
        self._taken = taken
        self._loop = asyncio.get_running_loop()
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        for sock in sockets:
            self._loop.add_reader(sock, self._take, sock)

    @classmethod
    async def open(cls, host: str, number: int, taken: Taken) -> _SocketPort:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host or None, number, start_serving=False)
        with contextlib.ExitStack() as on_failure:
            sockets = [on_failure.enter_context(shown.dup()) for shown in server.sockets]
            server.close()  # it has bound them, and that is all
            for sock in sockets:
                sock.listen(_BACKLOG)
            on_failure.pop_all()
        return cls(sockets, taken)

    def _take(self, listening: socket.socket) -> None:
        for _ in range(_TAKEN_AT_ONCE):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("nobody can be let in for %.0f s: %s", _PAUSE_S, error.strerror)
                self._loop.remove_reader(listening)
                self._pauses[listening] = self._loop.call_later(_PAUSE_S, self._go_on, listening)
                return
            self._taken(SocketLink(sock, address))

    def _go_on(self, listening: socket.socket) -> None:
        del self._pauses[listening]
        self._loop.add_reader(listening, self._take, listening)

    async def close(self) -> None:
        for pause in self._pauses.values():
            pause.cancel()
        while self._sockets:
            sock = self._sockets.pop()
            self._loop.remove_reader(sock)
            sock.close()


class _StreamPort:
    def __init__(self, taken: Taken) -> None:
        self.addresses: list[tuple[str, int]] = []
        self._taken = taken
        self._server: asyncio.Server | None = None
        self._is_closed = False

    @classmethod
    async def open(cls, host: str, number: int, taken: Taken) -> _StreamPort:
        port = cls(taken)
        port._server = await asyncio.start_server(port._take, host or None, number, backlog=_TAKEN_AT_ONCE)
        port.addresses = [sock.getsockname()[:2] for sock in port._server.sockets]
        for shown in port._server.sockets:
            with shown.dup() as same:
                same.listen(_BACKLOG)  # what asyncio calls a backlog is also what it takes at once
        return port

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function, not a coroutine: it runs before the first byte is read.
        if self._is_closed:  # it was on its way when the port was closed
            writer.transport.abort()
            return
        self._taken(StreamLink(reader, writer))

    async def close(self) -> None:
        assert self._server is not None
        self._is_closed = True
        # asyncio forgets a connection that it has accepted but not announced yet when the server closes: let those arrive first.
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            with contextlib.suppress(NotImplementedError):
                loop.remove_reader(listening)
        await asyncio.sleep(0)
        self._server.close()
