"""The meter counts what the server does, and only that."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from tests.support.meter import Meter, metered, traced


def work(cpu_s: float) -> None:
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        pass


async def test_turns_of_the_server_are_counted_and_those_of_the_test_are_not(
    tmp_path: Path,
) -> None:
    async with metered(tmp_path) as (service, meter):
        work(0.2)
        async with service.peer() as peer:
            assert 0 < meter.longest_s < 0.2
            (session,) = service.server.sessions
            session._handlers = {"help": _slow}
            await peer.send(b"help\n")
            assert (await peer.json())[0] == b"R"
        assert meter.longest_s >= 0.2 and "Session.run" in meter.longest


async def _slow(*_: object) -> dict[str, object]:
    work(0.2)
    return {}


async def test_threads_that_work_at_once_are_counted_by_their_pool() -> None:
    meter = Meter()
    together = Barrier(3)
    with meter.installed(), ThreadPoolExecutor(4, thread_name_prefix="four") as pool:
        await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(pool, together.wait, 30) for _ in range(3))
        )
        assert meter.most_threads == {"four": 3}
        meter.reset()
        await asyncio.get_running_loop().run_in_executor(pool, work, 0)
        assert meter.most_threads["four"] == 1


def test_memory_that_was_given_back_counts_too() -> None:
    with traced() as held:
        bytes(1 << 20)
        assert 1 << 20 <= held() < 2 << 20
