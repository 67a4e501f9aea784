"""The listening port: it accepts connections and hands each over as a transport from which nothing
has been read yet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from ftransfer.addresses import is_loopback
from ftransfer.transport.accept import listen
from ftransfer.transport.base import Transport
from ftransfer.transport.congestion import disable_pacing
from ftransfer.transport.dial import take_over

_BACKLOG = 1024
# Taken in one turn of the loop, which is what asyncio means by a backlog: a crowd that comes at
# once is not all in memory at once.
_TAKEN_AT_ONCE = 16


class Listener:
    """A port that is listened on. Made by `open`; whoever opened it closes it."""

    def __init__(self, taken: Callable[[Transport], None], *, direct: bool) -> None:
        self.addresses: list[tuple[str, int]] = []
        self._taken = taken
        self._direct = direct
        self._servers: list[asyncio.Server] = []

    @classmethod
    async def open(
        cls, host: str, number: int, taken: Callable[[Transport], None], *, direct: bool = True
    ) -> Listener:
        """Listen on a port.

        Args:
            host: Address or host name; "" or "::" for all addresses of the machine, those of IPv4
                too.
            number: 0 for any free port, the same at all addresses; `addresses` says which.
            taken: Called on the loop with each new connection, which it is to close.
            direct: Whether the transports may be SocketTransports, where the platform can.

        Raises:
            OSError, OverflowError: The port is taken, or the address is not one of this machine.
        """
        port = cls(taken, direct=direct)
        for sock in await listen(host, number, _BACKLOG):
            port.addresses.append(sock.getsockname()[:2])
            if is_loopback(port.addresses[-1][0]):
                disable_pacing(sock)
            with sock.dup() as same:  # asyncio listens with a backlog of its own
                port._servers.append(
                    await asyncio.start_server(port._take, sock=sock, backlog=_TAKEN_AT_ONCE)
                )
                same.listen(_BACKLOG)
        return port

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function, not a coroutine: it runs before the first byte is read.
        if not self._servers:  # it was on its way when the port was closed
            writer.transport.abort()
            return
        self._taken(take_over(reader, writer, direct=self._direct))

    async def close(self) -> None:
        """Take no more connections. Closing twice is no error."""
        servers, self._servers = self._servers, []
        if not servers:
            return
        # asyncio forgets a connection that it has accepted but not announced yet when the server
        # closes: let those arrive first.
        loop = asyncio.get_running_loop()
        for server in servers:
            for listening in server.sockets:
                with contextlib.suppress(NotImplementedError):
                    loop.remove_reader(listening)
        await asyncio.sleep(0)
        for server in servers:
            server.close()
