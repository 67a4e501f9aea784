"""What ends with a task that is stopped, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ftransfer.gateways.native.endpoint import ChannelSink
from ftransfer.limits import Limits
from ftransfer.protocol.connection import Role
from ftransfer.service.outbox import Outbox
from ftransfer.service.quota import QuotaTracker
from ftransfer.storage.memory import MemoryStore
from ftransfer.system.threads import KEPT_BUFFERS, reusable_buffer, stop_task
from ftransfer.transport.channel import Channel
from tests.support.transports import HeldTransport


class Stubborn:
    """A task that takes its time when it is cancelled: until `let_go` is set."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.asked = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.asked.set()
            await self.let_go.wait()


async def of_a_job(task: asyncio.Task[Any]) -> Callable[[], Awaitable[None]]:
    return lambda: stop_task(task)


async def of_an_account(task: asyncio.Task[Any]) -> Callable[[], Awaitable[None]]:
    account = QuotaTracker(MemoryStore())
    account._task = task
    return account.close


async def of_an_outbox(task: asyncio.Task[Any]) -> Callable[[], Awaitable[None]]:
    outbox = Outbox(ChannelSink(Channel(HeldTransport(), Role.SERVER, Limits())), Limits())
    await stop_task(outbox._task)
    outbox._task = task
    return outbox.close


@pytest.mark.parametrize("prepare", [of_a_job, of_an_account, of_an_outbox])
async def test_who_stops_a_task_hears_of_his_own_cancellation(
    prepare: Callable[[asyncio.Task[Any]], Awaitable[Callable[[], Awaitable[None]]]],
) -> None:
    stubborn = Stubborn()
    stop = await prepare(stubborn.task)

    async def work() -> None:
        await stop()

    await asyncio.sleep(0)
    stopping = asyncio.create_task(work())
    await stubborn.asked.wait()
    stopping.cancel()
    await asyncio.wait([stopping], timeout=5)
    assert stopping.cancelled()
    stubborn.let_go.set()
    await stop_task(stubborn.task)


async def test_what_a_stopped_task_raises_is_dropped() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await stop_task(task)


def test_room_is_given_out_again_when_nobody_has_a_view_of_it() -> None:
    first = reusable_buffer(3)
    first[:] = b"abc"
    part = first[1:]
    del first
    held = [reusable_buffer(100_000) for _ in range(2 * KEPT_BUFFERS)]
    for view in held:
        view[:3] = b"xyz"
    assert bytes(part) == b"bc"  # what has been given out is never taken away under its user
    before = {id(view.obj) for view in held}
    del held, view
    again = [reusable_buffer(50_000) for _ in range(2)]
    assert len({id(view.obj) for view in again}) == 2 and {id(view.obj) for view in again} <= before


def test_room_has_the_size_that_is_wanted() -> None:
    assert [len(reusable_buffer(size)) for size in (0, 1, 5 << 20)] == [0, 1, 5 << 20]
