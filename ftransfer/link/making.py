"""A client's way to a server -> a link, before its first byte is read."""

from __future__ import annotations

import asyncio
import sys

from ftransfer.link.base import Link
from ftransfer.link.sockets import SocketLink
from ftransfer.link.streams import StreamLink


def can_watch() -> bool:
    """Whether the event loop can watch descriptors, as a SocketLink needs it."""
    return sys.platform != "win32"


async def connect_link(host: str, port: int, *, direct: bool = True) -> Link:
    """Connect and take the connection over before its first byte is read: it stays in the socket, where TLS can find it.

    Args:
        direct: Whether the link may be a SocketLink, where the platform can.

    Raises:
        OSError, OverflowError, UnicodeError: As asyncio.open_connection.
    """
    loop = asyncio.get_running_loop()
    links: list[Link] = []

    # The callback runs as the connection is made: a server that speaks at once cannot slip a byte past it.
    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if direct and can_watch():
            links.append(SocketLink(writer.get_extra_info("socket").dup(), writer.get_extra_info("peername")))
            writer.transport.abort()  # which closes its own descriptor of the same connection
        else:
            links.append(StreamLink(reader, writer))

    reader = asyncio.StreamReader(loop=loop)
    try:
        await loop.create_connection(lambda: asyncio.StreamReaderProtocol(reader, connected, loop=loop), host, port)
    except BaseException:  # a time-out that comes just after the connection
        for link in links:
            link.abort()
        raise
    return links[0]
