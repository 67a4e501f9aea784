"""The open port: it takes connections and hands them over as links, of which nothing has been read yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from ftransfer.link.base import Link
from ftransfer.link.making import take_over
from ftransfer.link.pacing import unpace
from ftransfer.loopback import is_loopback

_BACKLOG = 1024
# Taken in one turn of the loop, which is what asyncio means by a backlog: a crowd that comes at once is not all in memory at once.
_TAKEN_AT_ONCE = 16


class Port:
    """A port that is listened on. Made by `open`; whoever opened it closes it."""

    def __init__(self, taken: Callable[[Link], None], *, direct: bool) -> None:
        self.addresses: list[tuple[str, int]] = []
        self._taken = taken
        self._direct = direct
        self._server: asyncio.Server | None = None

    @classmethod
    async def open(cls, host: str, number: int, taken: Callable[[Link], None], *, direct: bool = True) -> Port:
        """Listen on a port.

        Args:
            host: Address or host name; "" for all addresses of the machine.
            number: 0 for any free port; `addresses` says which.
            taken: Called on the loop with each new connection, which it is to close.
            direct: Whether the links may be SocketLinks, where the platform can.

        Raises:
            OSError, OverflowError: The port is taken, or the address is not one of this machine.
        """
        port = cls(taken, direct=direct)
        port._server = server = await asyncio.start_server(port._take, host or None, number, backlog=_TAKEN_AT_ONCE)
        port.addresses = [sock.getsockname()[:2] for sock in server.sockets]
        for shown in server.sockets:
            with shown.dup() as same:
                same.listen(_BACKLOG)
                if is_loopback(str(same.getsockname()[0])):
                    unpace(same)
        return port

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function, not a coroutine: it runs before the first byte is read.
        if self._server is None:  # it was on its way when the port was closed
            writer.transport.abort()
            return
        self._taken(take_over(reader, writer, direct=self._direct))

    async def close(self) -> None:
        """Take no more connections. Closing twice is no error."""
        server, self._server = self._server, None
        if server is None:
            return
        # asyncio forgets a connection that it has accepted but not announced yet when the server closes: let those arrive first.
        loop = asyncio.get_running_loop()
        for listening in server.sockets:
            with contextlib.suppress(NotImplementedError):
                loop.remove_reader(listening)
        await asyncio.sleep(0)
        server.close()
