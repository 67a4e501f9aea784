from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from ftransfer.transport.loop_turn import LoopTurn
from tests.support.virtual_time import in_virtual_time, work

ROUNDS = 60


async def rounds_beside(floods: int, steps: int) -> int:
    """Run connections that never pause for some steps; return the loop rounds of one that waits."""
    done = 0

    async def flood() -> None:
        nonlocal done
        turn = LoopTurn()
        while True:
            await turn.take()
            work(0.0001)
            done += 1

    tasks = [asyncio.create_task(flood()) for _ in range(floods)]
    rounds = 0
    while done < steps:
        await asyncio.sleep(0)
        rounds += 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return rounds


@pytest.mark.parametrize("floods", [1, 3])
@in_virtual_time
async def test_few_are_never_sent_away(floods: int) -> None:
    # Each has done something in each round
    assert await rounds_beside(floods, 600) <= 600 // floods + 2


@in_virtual_time
async def test_crowd_leaves_rounds_to_those_who_wait() -> None:
    # Twice as many as if each had been there in each round
    assert await rounds_beside(20, 1000) > 2 * 1000 // 20


@in_virtual_time
async def test_whoever_waits_each_time_is_not_held_up_by_itself() -> None:
    turn, rounds = LoopTurn(), 0

    async def count() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
        await turn.take()
    assert rounds <= ROUNDS + 1  # asking took no further round
    counting.cancel()


@in_virtual_time
async def test_who_has_used_little_goes_before_who_has_used_much() -> None:
    order: list[str] = []
    is_late = asyncio.Event()

    async def flood(name: str) -> None:
        turn = LoopTurn()
        for _ in range(30):
            await turn.take()
            work(0.002)
            order.append(name)
            if len(order) == 200:
                is_late.set()

    async def come_late() -> None:
        await is_late.wait()
        turn = LoopTurn()
        for _ in range(5):
            await turn.take()
            work(0.0003)
            order.append("late")

    await asyncio.gather(come_late(), *(flood(f"flood {number}") for number in range(20)))
    first = order.index("late")
    last = len(order) - order[::-1].index("late")
    assert last - first < 20  # all five in one cycle of the queue


@in_virtual_time
async def test_queue_goes_on_without_who_was_cancelled() -> None:
    done = [0] * 12
    have_begun = asyncio.Event()

    async def flood(number: int) -> None:
        turn = LoopTurn()
        while done[number] < 20:
            await turn.take()
            work(0.001)
            done[number] += 1
            if sum(done) == 40:
                have_begun.set()

    tasks = [asyncio.create_task(flood(number)) for number in range(len(done))]
    await have_begun.wait()
    for task in tasks[::2]:
        task.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert done[1::2] == [20] * 6


@in_virtual_time
async def test_cpu_time_of_threads_counts() -> None:
    async def flood() -> None:
        turn = LoopTurn()
        while True:
            await turn.take()
            work(0.001)

    floods = [asyncio.create_task(flood()) for _ in range(8)]
    turn, rounds = LoopTurn(), 0
    await turn.take()
    for _ in range(20):
        await asyncio.sleep(0)
    turn.use(1.0)
    taking = asyncio.ensure_future(turn.take())
    while not taking.done():
        await asyncio.sleep(0)
        rounds += 1
    assert rounds > 8  # it waited behind the others
    for task in floods:
        task.cancel()
    await asyncio.gather(*floods, return_exceptions=True)


def test_a_loop_that_has_ended_is_let_go() -> None:
    async def ask() -> weakref.ref[asyncio.AbstractEventLoop]:
        await LoopTurn().take()
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(ask())
    gc.collect()
    assert loop() is None
