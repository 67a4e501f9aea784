"""Who gets the one connection of a client: commands first, a reader of events in between."""

from __future__ import annotations

import asyncio

import pytest

from ftransfer.client.command_lock import CommandLock


async def step() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_commands_run_one_after_the_other_in_their_order() -> None:
    lock, done = CommandLock(), list[int]()

    async def command(number: int) -> None:
        async with lock:
            await asyncio.sleep(0)
            done.append(number)

    await asyncio.gather(*map(command, range(4)))
    assert done == [0, 1, 2, 3]
    assert not lock.wanted.is_set()


async def test_reader_learns_that_a_command_waits_and_gets_the_lock_again_after_it() -> None:
    lock, order = CommandLock(), list[str]()

    async def reader() -> None:
        for _ in range(2):
            async with lock.idle():
                order.append("reader")
                await lock.wanted.wait()

    async def command() -> None:
        async with lock:
            order.append("command")

    reading = asyncio.create_task(reader())
    await step()
    assert order == ["reader"] and not lock.wanted.is_set()
    await command()
    await step()
    assert order == ["reader", "command", "reader"]
    await command()
    await reading


async def test_reader_waits_while_commands_queue() -> None:
    lock, order = CommandLock(), list[str]()
    first_may_end = asyncio.Event()

    async def command(name: str, may_end: asyncio.Event | None = None) -> None:
        async with lock:
            if may_end is not None:
                await may_end.wait()
            order.append(name)

    async def reader() -> None:
        async with lock.idle():
            order.append("reader")

    first = asyncio.create_task(command("first", first_may_end))
    await step()
    reading = asyncio.create_task(reader())
    await step()
    second = asyncio.create_task(command("second"))
    await step()
    first_may_end.set()
    await asyncio.gather(first, reading, second)
    assert order == ["first", "second", "reader"]


async def test_command_that_is_cancelled_while_it_waits_is_forgotten() -> None:
    lock = CommandLock()
    async with lock.idle():
        waiting = asyncio.create_task(lock.__aenter__())
        await step()
        assert lock.wanted.is_set()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not lock.wanted.is_set()
    async with lock.idle():
        pass
