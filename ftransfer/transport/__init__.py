"""A byte stream to one peer, in two forms with one face: SocketLink, which owns a non-blocking socket and can move bytes straight
between it and files; and StreamLink, over asyncio's streams, for event loops and platforms where that cannot be done.

The adapter between the operating system's sockets and the channel: OSError and ssl errors are translated here, once.
"""

from ftransfer.transport.base import READ_SIZE, Buffer, Link
from ftransfer.transport.dial import connect_link
from ftransfer.transport.sockets import SocketLink
from ftransfer.transport.streams import StreamLink

__all__ = ["READ_SIZE", "Buffer", "Link", "SocketLink", "StreamLink", "connect_link"]
