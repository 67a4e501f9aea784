"""An open listing is closed when its session ends, not by the garbage collector."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from ftransfer.gateways.native.listener import Server
from ftransfer.names import SafeName
from ftransfer.service.share import Share
from ftransfer.storage.base import FILE, Entry
from ftransfer.storage.memory import MemoryStore
from tests.support.service import raw_peer


class Endless(MemoryStore):
    """A folder of files without end; `is_open` while somebody reads of it."""

    is_open = False

    async def scan(self, folder: SafeName, **_: Any) -> AsyncGenerator[Sequence[Entry], None]:
        self.is_open = True
        try:
            for number in itertools.count():
                await asyncio.sleep(0)  # as a real one, which waits for its thread
                yield [Entry(f"{number:08}", FILE, 1, 1, 0o644)] * 100
        finally:
            for _turn in range(100):
                await asyncio.sleep(0)
            self.is_open = False

    async def lines(self, folder: SafeName, **_: Any) -> AsyncGenerator[Sequence[str], None]:
        async with aclosing(self.scan(folder)) as batches:
            async for batch in batches:
                yield [f"{entry.name}\0" for entry in batch]


@pytest.mark.parametrize(
    "line", [b"dir\n", b'dir "" {"recursive":true}\n', b'dir "" {"recursive":true,"spans":true}\n']
)
@pytest.mark.parametrize("end", ["peer", "server"])
async def test_open_listing_ends_with_its_session(line: bytes, end: str) -> None:
    store = Endless()
    server = await Server.start(Share(store), port=0)
    try:
        async with raw_peer(*server.addresses[0]) as peer:
            await peer.frame()
            await peer.send(line)
            await peer.frame()
            assert store.is_open
            if end == "peer":
                peer.writer.transport.abort()
                await asyncio.wait(server.sessions.values())
            else:
                await server.stop(grace_s=0)
            assert not store.is_open
    finally:
        await server.stop(grace_s=0)
        await store.close()
