"""The budget of memory: who gets it, who waits, and who is cut."""

from __future__ import annotations

import asyncio

import pytest

from ftransfer.service.memory_budget import MemoryBudget, Reservation


class Peer:
    def __init__(self) -> None:
        self.bytes_transferred = 0
        self.is_cut = False

    def abort(self) -> None:
        self.is_cut = True


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def asking(
    budget: MemoryBudget, owner: str, count: int, peer: Peer | None = None
) -> asyncio.Task[Reservation]:
    return asyncio.get_running_loop().create_task(budget.reserve(owner, count, peer))


async def test_what_is_given_is_never_more_than_the_total() -> None:
    budget = MemoryBudget(90)
    tasks = [asking(budget, f"{number}", 7) for number in range(100)]
    done: list[Reservation] = []
    while len(done) < 100:
        await settled()
        assert 0 < budget.held <= 90
        fresh = [task.result() for task in tasks if task.done() and task.result() not in done]
        for reservation in fresh:
            reservation.release()
        done += fresh
    assert budget.held == 0 and 84 <= budget.most <= 90


async def test_an_owner_leaves_room_for_others() -> None:
    budget = MemoryBudget(90)
    greedy = [asking(budget, "greedy", 10) for _ in range(20)]
    await settled()
    assert budget.held == 60
    await asyncio.wait_for(asking(budget, "other", 10), 30)
    held = [task.result() for task in greedy if task.done()]
    held[0].release()
    await settled()
    assert sum(task.done() for task in greedy) == len(held)  # two thirds of what the other leaves
    held[1].release()
    await settled()
    assert sum(task.done() for task in greedy) == len(held) + 1
    for task in greedy:
        task.cancel()


async def test_owners_who_wait_take_turns() -> None:
    budget = MemoryBudget(10)
    first = await budget.reserve("a", 10)
    order: list[str] = []

    async def want(name: str) -> None:
        with await budget.reserve(name[0], 10):
            order.append(name)

    tasks = [asyncio.create_task(want(name)) for name in ("a1", "a2", "a3", "b1", "b2", "c1")]
    await settled()
    first.release()
    await asyncio.gather(*tasks)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_those_that_are_proven_come_before_others_of_their_owner() -> None:
    budget = MemoryBudget(10)
    first = await budget.reserve("a", 10)
    order: list[str] = []

    async def want(name: str, *, is_preferred: bool) -> None:
        with await budget.reserve("a", 10, is_preferred=is_preferred):
            order.append(name)

    tasks = [asyncio.create_task(want(f"{number}", is_preferred=number > 1)) for number in range(4)]
    await settled()
    first.release()
    await asyncio.gather(*tasks)
    assert order == ["2", "3", "0", "1"]


async def test_a_large_request_is_not_overtaken_for_ever() -> None:
    budget = MemoryBudget(10)
    small = await budget.reserve("a", 4)
    large = asking(budget, "b", 10)
    await settled()
    assert budget.try_reserve("c", 1) is None
    after = asking(budget, "c", 1)
    await settled()
    assert not after.done()
    small.release()
    (await large).release()
    (await after).release()
    assert budget.held == 0


@pytest.mark.parametrize("when", ["waiting", "admitted", "being cancelled"])
async def test_who_is_cancelled_holds_nothing_and_lets_others_in(when: str) -> None:
    budget = MemoryBudget(10)
    first = await budget.reserve("a", 10)
    second, third = asking(budget, "b", 10), asking(budget, "c", 10)
    await settled()
    if when == "admitted":
        first.release()
    second.cancel()
    if when == "being cancelled":
        first.release()
    await asyncio.wait([second])
    first.release()
    (await third).release()
    assert second.cancelled() and budget.held == 0


async def test_what_is_shrunk_is_free() -> None:
    budget = MemoryBudget(10)
    first = await budget.reserve("a", 10)
    second = asking(budget, "b", 8)
    first.shrink(2)
    assert (await second).count == 8
    first.release()
    first.release()
    assert budget.held == 8


class Clock:
    time_s = 0.0

    def __call__(self) -> float:
        return self.time_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that the test sets; slow holders are looked for all the time."""
    monkeypatch.setattr("ftransfer.service.memory_budget._LOOK_S", 0)
    return Clock()


async def looked() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_slow_peer_is_cut_while_others_wait(clock: Clock) -> None:
    budget = MemoryBudget(10, clock)
    slow, quick, storing = Peer(), Peer(), Peer()
    for peer, count in ((slow, 3), (quick, 3), (storing, 4)):
        held = await budget.reserve(f"{count}", count, peer)
    held.settle()
    clock.time_s = 60.0
    await looked()
    assert not slow.is_cut  # nobody waits
    quick.bytes_transferred = 64 * 1024
    slow.bytes_transferred = quick.bytes_transferred - 1
    waiting = asking(budget, "new", 1)
    await looked()
    assert (slow.is_cut, quick.is_cut, storing.is_cut) == (True, False, False)
    clock.time_s = 61.0
    await looked()
    assert not quick.is_cut
    clock.time_s = 70.0
    await looked()
    assert quick.is_cut  # what it did before does not count for ever
    waiting.cancel()


async def test_peer_that_is_in_nobodys_way_may_be_slow(clock: Clock) -> None:
    budget = MemoryBudget(90, clock)
    slow, greedy = Peer(), Peer()
    await budget.reserve("slow", 10, slow)
    tasks = [asking(budget, "greedy", 10, greedy) for _ in range(20)]
    await settled()
    clock.time_s = 60.0
    await looked()
    assert (slow.is_cut, greedy.is_cut) == (False, True)
    for task in tasks:
        task.cancel()
