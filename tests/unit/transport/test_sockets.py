"""The fast transport: what it asks of its socket."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ftransfer.errors import TimedOut
from ftransfer.transport import Transport, dial
from ftransfer.transport.listener import Listener
from ftransfer.transport.sockets import SocketTransport


def buffer_of(direct: socket.socket) -> int:
    return direct.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


async def test_waiting_for_much_leaves_the_window_of_a_long_path_to_the_kernel() -> None:
    """A low-water mark above the buffer's size grows the buffer: 256 KiB are 42 Mbit/s at 50 ms."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = await dial(*listener.getsockname())
        direct = transport.direct
        assert isinstance(direct, SocketTransport)
        direct.peer_host = "192.0.2.1"
        before = buffer_of(direct._socket)
        with pytest.raises(TimedOut):
            await direct.wait_readable(0.0, 1 << 20)
        direct.wait_readable_now(0.0, 1 << 20)
        assert buffer_of(direct._socket) == before
        assert 1 < direct._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) < before
        transport.abort()
        await asyncio.sleep(0)


@pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="the system has one way only")
async def test_nothing_is_paced_within_the_machine() -> None:
    """Pacing that has begun does not end: it must be off before the connection is made."""
    taken: asyncio.Queue[Transport] = asyncio.Queue()
    port = await Listener.open("127.0.0.1", 0, taken.put_nowait)
    transport = await dial(*port.addresses[0])
    for end in (transport, await taken.get()):
        assert isinstance(end, SocketTransport)
        chosen = end._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert chosen.rstrip(b"\0") == b"reno"
        end.abort()
    await port.close()


async def test_more_buffers_than_one_call_takes_arrive_in_order() -> None:
    taken: asyncio.Queue[Transport] = asyncio.Queue()
    port = await Listener.open("127.0.0.1", 0, taken.put_nowait)
    transport = await dial(*port.addresses[0])
    other = await taken.get()
    buffers = [bytes([number % 251]) * (number % 4000) for number in range(3000)]
    writing = asyncio.create_task(transport.write(buffers, 5))
    received = bytearray()
    while len(received) < sum(map(len, buffers)):
        received += await other.read(5)
    await writing
    assert received == b"".join(buffers)
    for end in (transport, other):
        end.abort()
    await port.close()
