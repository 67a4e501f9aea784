"""The listening port: it accepts connections and returns each as an unread transport."""

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
# Connections accepted in one turn of the loop, which is what asyncio means by a backlog: a crowd is
# not all in memory at once.
_TAKEN_AT_ONCE = 16


class Listener:
    """A listening port. Made by `open`; the caller of `open` closes it."""

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
            host: Address or host name; "" or "::" for all addresses of the machine, including IPv4.
            number: 0 for any free port, the same at all addresses; `addresses` shows which.
            taken: Called on the loop with each new connection, which it must close.
            direct: Whether the transports may be SocketTransports, if the platform supports it.

        Raises:
            OSError, OverflowError: The port is taken, or the address is not one of this machine.
        """
        port = cls(taken, direct=direct)
        for sock in await listen(host, number, _BACKLOG):
            port.addresses.append(sock.getsockname()[:2])
            if is_loopback(port.addresses[-1][0]):
                disable_pacing(sock)
            with sock.dup() as same:  # asyncio calls listen with its own backlog
                port._servers.append(
                    await asyncio.start_server(port._take, sock=sock, backlog=_TAKEN_AT_ONCE)
                )
                same.listen(_BACKLOG)
        return port

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function, not a coroutine: it runs before the first byte is read.
        if not self._servers:  # it arrived while the port was being closed
            writer.transport.abort()
            return
        self._taken(take_over(reader, writer, direct=self._direct))

    async def close(self) -> None:
        """Stop accepting connections. Closing twice is no error."""
        servers, self._servers = self._servers, []
        if not servers:
            return
        # When the server closes, asyncio forgets connections that it has accepted but not yet
        # announced: let those arrive first.
        loop = asyncio.get_running_loop()
        for server in servers:
            for listening in server.sockets:
                with contextlib.suppress(NotImplementedError):
                    loop.remove_reader(listening)
        await asyncio.sleep(0)
        for server in servers:
            server.close()
