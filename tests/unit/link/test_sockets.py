"""The fast link: what it asks of its socket."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ftransfer.errors import TimedOut
from ftransfer.link import connect_link


def buffer_of(direct: socket.socket) -> int:
    return direct.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


async def test_waiting_for_much_leaves_the_window_of_a_long_path_to_the_kernel() -> None:
    """A low-water mark above what the buffer takes makes it larger, and holds it there: 256 KiB are 42 Mbit/s at 50 ms."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = await connect_link(*listener.getsockname())
        direct = link.direct
        assert direct is not None
        direct.peer_host = "192.0.2.1"
        before = buffer_of(direct._socket)
        with pytest.raises(TimedOut):
            await direct.wait_readable(0.0, 1 << 20)
        direct.wait_readable_now(0.0, 1 << 20)
        assert buffer_of(direct._socket) == before
        assert 1 < direct._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) < before
        link.abort()
        await asyncio.sleep(0)
