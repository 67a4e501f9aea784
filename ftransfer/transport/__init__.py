"""A byte stream to one peer, in two forms with one interface.

SocketTransport owns a non-blocking socket and moves bytes directly between it and files;
StreamTransport uses asyncio's streams, for event loops and platforms where that is impossible.

The adapter between the operating system's sockets and the channel: OSError and ssl errors are
translated here, once.
"""

from ftransfer.transport.base import READ_SIZE, Buffer, Transport
from ftransfer.transport.dial import dial
from ftransfer.transport.sockets import SocketTransport
from ftransfer.transport.streams import StreamTransport

__all__ = ["READ_SIZE", "Buffer", "Transport", "SocketTransport", "StreamTransport", "dial"]
