"""Slow is not dead: whoever gives a byte or a sign of life now and then is waited for."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import TimedOut
from ftransfer.limits import Limits
from ftransfer.transport.base import Transport
from ftransfer.transport.dial import dial
from ftransfer.transport.sockets import SocketTransport
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import Service, serve

HASTY = Limits(stall_s=1.5, heartbeat_s=0.1)


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, limits=HASTY, direct=request.param) as service:
        yield service


class SlowSource:
    """A pipe that delivers a little, three times, each after half of the peer's time limit."""

    def __init__(self) -> None:
        self.pieces = [b"a" * 100, b"b" * 100, b"c" * 100]
        self.given = b""

    def read(self, size: int = -1) -> bytes:
        threading.Event().wait(HASTY.stall_s / 2)
        piece = self.pieces.pop(0) if self.pieces else b""
        self.given += piece
        return piece


async def test_put_may_take_longer_than_a_peer_is_waited_for(service: Service) -> None:
    source = SlowSource()
    async with service.client(limits=HASTY) as client:
        receipt = await client.put_from(source, "a")  # type: ignore[arg-type]  # as much of a file as a pipe is
    assert receipt.digest == digest_of(source.given)
    assert (service.root / "a").read_bytes() == source.given


@pytest.mark.parametrize("direct", [True, False])
async def test_client_gives_signs_of_life_as_often_as_the_server_asks(
    tmp_path: Path, direct: bool
) -> None:
    limits = Limits(stall_s=2, heartbeat_s=0.2)

    class Paused:
        pieces = [b"a", b"b", b""]

        def read(self, size: int = -1) -> bytes:
            if len(self.pieces) == 2:
                threading.Event().wait(limits.stall_s * 1.5)
            return self.pieces.pop(0)

    async with (
        serve(tmp_path, limits=limits, direct=direct) as service,
        service.client(limits=Limits()) as client,
    ):
        await client.put_from(Paused(), "a")  # type: ignore[arg-type]  # as much of a file as a pipe is
        assert (service.root / "a").read_bytes() == b"ab"


async def test_pieces_of_one_byte_both_ways(service: Service) -> None:
    content = os.urandom(1500)
    (service.local / "a").write_bytes(content)
    slow = Faults(up=Fault(piece_bytes=1), down=Fault(piece_bytes=1))
    async with Proxy(service.address, [slow]) as proxy, service.client_at(proxy.address) as client:
        await client.put(service.local / "a", "b")
        await client.get("b", service.local)
    assert (service.local / "b").read_bytes() == content


@pytest.fixture
async def link_and_writer() -> AsyncIterator[tuple[Transport, asyncio.StreamWriter]]:
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(writer)
        await reader.read()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
        link = await dial(*server.sockets[0].getsockname()[:2])
        writer = await accepted.get()
        yield link, writer
        link.abort()
        writer.close()
        await writer.wait_closed()


async def test_one_byte_is_progress_though_many_are_awaited(
    link_and_writer: tuple[Transport, asyncio.StreamWriter],
) -> None:
    link, writer = link_and_writer
    assert isinstance(link, SocketTransport)
    writer.write(b"x")
    await writer.drain()
    await link.wait_readable(0.2, expected=1 << 20)
    assert link.receive_into(memoryview(bytearray(10))) == 1
    with pytest.raises(TimedOut):
        await link.wait_readable(0.1, expected=1 << 20)
