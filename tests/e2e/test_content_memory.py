"""Content in memory is bounded over all sessions: latecomers wait unread, the slow are cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ftransfer.client.trees.options import TreeOptions
from ftransfer.limits import Limits
from ftransfer.transfer.packs import PACK_BYTES
from tests.e2e.test_packs import pack
from tests.support.service import Service, frame, serve

CAP = 4 << 20
LIMITS = Limits(max_content_bytes=8 * CAP, max_chunk_bytes=CAP)
LARGE = pack("a", content=bytes(100_000))
HALF_PACK = b"mput\n" + frame(b"P", bytes(CAP))[: CAP // 2]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110  # a count of the server's, without an event
            await asyncio.sleep(0)


async def half_packs(
    service: Service, stack: contextlib.AsyncExitStack, count: int
) -> list[asyncio.Task[None]]:
    """Have so many sessions send half a pack each; return the tasks that send."""
    peers = [await stack.enter_async_context(service.peer()) for _ in range(count)]
    return [asyncio.create_task(peer.send(HALF_PACK)) for peer in peers]


@pytest.mark.parametrize("direct", [True, False], ids=["sockets", "streams"])
async def test_half_packs_of_many_hold_no_more_than_the_budget(
    tmp_path: Path, direct: bool
) -> None:
    async with (
        serve(tmp_path, limits=LIMITS, direct=direct) as service,
        contextlib.AsyncExitStack() as stack,
    ):
        tasks = await half_packs(service, stack, 30)
        memory = service.server.service.memory
        await until(lambda: memory.packs.held >= CAP)
        await asyncio.wait(tasks, timeout=1)
        assert (
            CAP <= memory.held <= memory.packs.most + memory.names.most <= LIMITS.max_content_bytes
        )
        for task in tasks:
            task.cancel()
    assert memory.held == 0


async def test_others_are_served_while_halves_of_packs_hold_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftransfer.service.memory_budget._PATIENCE_S", 1.0)
    async with serve(tmp_path, limits=LIMITS) as service, contextlib.AsyncExitStack() as stack:
        (service.local / "tree").mkdir()
        (service.root / "a").write_bytes(b"a" * 300_000)
        for number in range(20):
            (service.local / "tree" / f"{number}").write_bytes(os.urandom(1 << 18))
        tasks = await half_packs(service, stack, 2)
        await until(lambda: service.server.service.memory.packs.held >= CAP)
        # Of the same address: it waits for its turn, and for those who do not move
        async with service.client() as client:
            await client.get("a", service.local / "b")
            assert (await client.put_tree(service.local / "tree", "tree")).copied == 20
            report = await client.get_tree("tree", service.local / "back", options=TreeOptions())
            assert (report.copied, report.failed) == (20, 0)
        for task in tasks:
            task.cancel()


async def test_memory_that_does_not_come_is_an_error_in_time(tmp_path: Path) -> None:
    async with (
        serve(tmp_path, limits=LIMITS._replace(stall_s=1.0)) as service,
        service.peer() as peer,
    ):
        held = await service.server.service.memory.packs.reserve(
            "somebody", service.server.service.memory.packs.total
        )
        await peer.send(b"mput\n" + LARGE)
        kind, value = await peer.json()
        while kind == b"V":
            kind, value = await peer.json()
        assert (kind, value["code"]) == (b"X", "busy")
        held.release()
        await peer.send(frame(b"F") + b"mput\n" + LARGE + frame(b"F"))
        assert (await peer.json())[0] == b"O"


async def test_readers_that_do_not_read_hold_no_more_than_the_budget(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=LIMITS) as service, contextlib.AsyncExitStack() as stack:
        (service.root / "tree").mkdir()
        for number in range(60):
            (service.root / "tree" / f"{number}").write_bytes(bytes(1 << 18))
        for _ in range(10):
            peer = await stack.enter_async_context(service.peer())
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a ReadTransport in truth
            await peer.send(b'mget "tree" {"recursive":true}\n' + frame(b"F"))
        memory = service.server.service.memory
        await until(lambda: memory.packs.most >= PACK_BYTES and len(service.server.sessions) == 10)
        assert 0 < memory.packs.held <= memory.packs.most <= memory.packs.total


async def test_large_lists_of_names_wait_for_memory(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=LIMITS) as service, contextlib.AsyncExitStack() as stack:
        names = b'["' + b"a" * 1_000_000
        for _ in range(10):
            peer = await stack.enter_async_context(service.peer())
            await peer.send(b"mget\n" + frame(b"L", names + b'"]')[: len(names)])
        memory = service.server.service.memory
        await until(lambda: memory.names.held >= 900_000)
        async with service.client() as client:
            assert await client.dir() == []
        assert memory.names.most <= memory.names.total


async def test_names_where_none_are_asked_for_are_refused(tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        (service.root / "tree").mkdir()
        async with service.peer() as peer:
            await peer.send(b'mget "tree" {"recursive":true}\n' + frame(b"L", b'["a"]'))
            kind, value = await peer.json()
            while kind != b"X":
                kind, value = await peer.json()
            assert value["code"] == "protocol"
        await service.all_gone()
