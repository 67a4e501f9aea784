"""Make a transport from a new connection before its first byte is read.

The byte stays in the socket, where TLS can find it.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import sys

from ftransfer.addresses import is_loopback
from ftransfer.transport.base import Transport
from ftransfer.transport.congestion import disable_pacing
from ftransfer.transport.sockets import SocketTransport
from ftransfer.transport.streams import StreamTransport


def take_over(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, direct: bool
) -> Transport:
    """Make a transport from a connection, in asyncio's connection callback.

    Args:
        direct: Whether the transport may be a SocketTransport, if the platform supports it.
    """
    if not direct or sys.platform == "win32":
        return StreamTransport(reader, writer)
    try:
        sock = writer.get_extra_info("socket").dup()
    except OSError:  # no free descriptor: use the existing one
        return StreamTransport(reader, writer)
    writer.transport.abort()  # it has another descriptor of the connection, and buffers
    return SocketTransport(sock, writer.get_extra_info("peername"))


async def dial(host: str, port: int, *, direct: bool = True) -> Transport:
    """Connect, and make a transport from the connection.

    Raises:
        OSError, OverflowError, UnicodeError: As asyncio.open_connection.
    """
    loop = asyncio.get_running_loop()
    transports: list[Transport] = []

    # The callback runs as the connection is made, so it misses no byte of a server that speaks at
    # once.
    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transports.append(take_over(reader, writer, direct=direct))

    reader = asyncio.StreamReader(loop=loop)
    try:
        factory = functools.partial(asyncio.StreamReaderProtocol, reader, connected, loop=loop)
        if is_loopback(host):
            await loop.create_connection(factory, sock=await _connect_within(host, port))
        else:
            await loop.create_connection(factory, host, port)
    except BaseException:  # such as a time-out just after the connection
        for transport in transports:
            transport.abort()
        raise
    return transports[0]


async def _connect_within(host: str, port: int) -> socket.socket:
    """Connect to an address of this machine."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        disable_pacing(sock)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock
