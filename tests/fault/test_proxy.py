"""The proxy of the tests does what it says, to the byte; else the tests with it show nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest

from tests.support.proxy import Fault, Faults, Proxy

SAID = os.urandom(300_000)
HEARD = os.urandom(200_000)


class Listener:
    """A peer that says SAID to everybody, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.address = ("", 0)
        self.is_over = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        with contextlib.suppress(ConnectionError):
            writer.write(SAID)
            while data := await reader.read(65536):
                heard += data
            await writer.drain()
        self.heard.append(bytes(heard))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.is_over.set()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    async with await asyncio.start_server(listener.talk, "127.0.0.1", 0) as server:
        listener.address = server.sockets[0].getsockname()
        yield listener
        await listener.is_over.wait()


async def exchange(proxy: Proxy) -> bytes:
    """Send HEARD through the proxy, and return what arrives until the end."""
    reader, writer = await asyncio.open_connection(*proxy.address)
    answer = bytearray()
    with contextlib.suppress(ConnectionError):
        writer.write(HEARD)
        writer.write_eof()
        while data := await reader.read(65536):
            answer += data
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return bytes(answer)


async def test_nothing_changes_without_faults(listener: Listener) -> None:
    async with Proxy(listener.address, records=True) as proxy:
        assert await exchange(proxy) == SAID
        await listener.is_over.wait()
        assert listener.heard == [HEARD]
        [passage] = proxy.passages
        await passage.ended.wait()
        assert (passage.up.passed, passage.down.passed) == (len(HEARD), len(SAID))
        assert (bytes(passage.up.seen), bytes(passage.down.seen)) == (HEARD, SAID)


@pytest.mark.parametrize("count", [0, 1, 65_535, 65_536, 65_537, 199_999])
async def test_cut_delivers_exactly_so_many_bytes(listener: Listener, count: int) -> None:
    async with Proxy(listener.address, [Faults(down=Fault(cut_at=count))]) as proxy:
        assert await exchange(proxy) == SAID[:count]
        assert proxy.passages[0].down.passed == count
    async with Proxy(listener.address, [Faults(up=Fault(cut_at=count))]) as proxy:
        listener.heard.clear()
        listener.is_over.clear()
        await exchange(proxy)
        await listener.is_over.wait()
        assert listener.heard == [HEARD[:count]]


async def test_reset_is_a_reset(listener: Listener) -> None:
    async with Proxy(listener.address, [Faults(down=Fault(cut_at=10, reset=True))]) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        with pytest.raises(ConnectionResetError):
            while await reader.read(10):
                pass
            raise AssertionError("closed, and not reset")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_faults_are_of_one_connection_each(listener: Listener) -> None:
    async with Proxy(
        listener.address, [Faults(down=Fault(cut_at=1)), Faults(down=Fault(cut_at=2))]
    ) as proxy:
        assert [await exchange(proxy) for _ in range(3)] == [SAID[:1], SAID[:2], SAID]


async def test_stall_holds_until_it_is_released(listener: Listener) -> None:
    async with Proxy(listener.address, [Faults(down=Fault(stall_at=1000))]) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        assert await reader.readexactly(1000) == SAID[:1000]
        await proxy.passages[0].down.stalled.wait()
        proxy.release()
        assert await reader.readexactly(len(SAID) - 1000) == SAID[1000:]
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("position", [0, 65_535, 65_536, 299_999])
async def test_one_bit_is_flipped(listener: Listener, position: int) -> None:
    async with Proxy(listener.address, [Faults(down=Fault(flip_at=position, bit=7))]) as proxy:
        answer = await exchange(proxy)
    wanted = bytearray(SAID)
    wanted[position] ^= 0x80
    assert answer == wanted


async def test_pieces_of_one_byte(listener: Listener) -> None:
    async with Proxy(listener.address, [Faults(down=Fault(piece_bytes=1, cut_at=500))]) as proxy:
        assert await exchange(proxy) == SAID[:500]


async def test_cut_from_outside_ends_everything(listener: Listener) -> None:
    async with Proxy(listener.address, [Faults(down=Fault(stall_at=5))]) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        await reader.readexactly(5)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        await proxy.passages[0].ended.wait()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_nobody_behind_it(listener: Listener) -> None:
    listener.is_over.set()
    async with Proxy(("127.0.0.1", 1)) as proxy:
        assert await exchange(proxy) == b""
