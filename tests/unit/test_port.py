"""What takes connections: it owns nothing that outlives them, and it waits where the process has no descriptor left."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.link import Link
from ftransfer.link.port import Port
from tests.support.service import raw_peer, serve


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_a_connection_that_ends_leaves_nothing_to_the_garbage_collector(tmp_path: Path, no_collector: None) -> None:
    async with serve(tmp_path) as service:
        async with raw_peer(*service.address) as peer:
            assert (await peer.json())[0] == b"H"
            (session,) = service.server.sessions
            task = service.server.sessions[session]
            left: list[weakref.ref[Any]] = [weakref.ref(session), weakref.ref(session.channel), weakref.ref(session.channel.link)]
            del session
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0)
        assert [ref() for ref in left] == [None, None, None]


async def test_without_a_descriptor_connections_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.01)
    links: list[Link] = []
    came, refused = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda *_: refused.set())

    def taken(link: Link) -> None:
        links.append(link)
        came.set()

    port = await Port.open("127.0.0.1", 0, taken)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as peer:
        lowest = peer.dup()  # one more descriptor could not be had
        limit = lowest.fileno()
        lowest.close()
        peer.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            await asyncio.get_running_loop().sock_connect(peer, port.addresses[0])
            await refused.wait()
            assert not links
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await came.wait()
    links[0].abort()
    await port.close()
    await port.close()
