"""A fresh connection -> a link, before its first byte is read."""

from __future__ import annotations

import asyncio
import socket
import sys

from ftransfer.link.base import Link
from ftransfer.link.sockets import SocketLink
from ftransfer.link.streams import StreamLink


def make_link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, direct: bool = True) -> Link:
    """Take over a fresh connection of asyncio's streams.

    To be called before anything is awaited on it: nothing may have been read yet. With `direct` a SocketLink is made where the
    event loop can watch descriptors. A link that is not read yet leaves the bytes in the socket, where TLS can find them.
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
    try:
        await loop.create_connection(lambda: asyncio.StreamReaderProtocol(reader, connected, loop=loop), host, port)
    except BaseException:  # a time-out that comes just after the connection
        for link in links:
            link.abort()
        raise
    return links[0]


def _socket_types() -> tuple[type, ...]:
    from asyncio.trsock import TransportSocket

    return (TransportSocket, socket.socket)
