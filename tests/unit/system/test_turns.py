"""Turns for long work: how many at once, and whose is next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ftransfer.system.turns import Turns


class Workers:
    """Those who hold a turn until they may continue, and the order in which they got it."""

    def __init__(self, turns: Turns) -> None:
        self.began: list[str] = []
        self._turns = turns
        self._go_on: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def want(self, name: str, owner: str, size: int = 0) -> None:
        self._go_on[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._work(name, owner, size))
        await settled()

    async def _work(self, name: str, owner: str, size: int) -> None:
        async with self._turns.take(owner, size):
            self.began.append(name)
            await self._go_on[name].wait()

    async def finish(self, name: str) -> None:
        self._go_on[name].set()
        await self.tasks[name]
        await settled()

    async def finish_all(self) -> None:
        for event in self._go_on.values():
            event.set()
        await asyncio.wait(self.tasks.values())


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def working(most: int, each: int) -> AsyncIterator[Workers]:
    turns = Turns(most, each)
    workers = Workers(turns)
    yield workers
    await workers.finish_all()
    assert turns.running == 0


async def test_no_more_at_once_than_there_are_turns() -> None:
    async with working(2, 2) as workers:
        for name in "abc":
            await workers.want(name, owner=name)
        assert workers.began == ["a", "b"]
        await workers.finish("a")
        assert workers.began == ["a", "b", "c"]


async def test_one_owner_has_no_more_than_their_share_however_many_are_free() -> None:
    async with working(8, 2) as workers:
        for number in range(20):
            await workers.want(f"ann{number}", owner="ann")
        assert workers.began == ["ann0", "ann1"]
        await workers.want("bob", owner="bob")
        assert workers.began[-1] == "bob"


async def test_owners_take_turns() -> None:
    async with working(1, 1) as workers:
        for number in range(3):
            await workers.want(f"ann{number}", owner="ann")
        await workers.want("bob", owner="bob")
        await workers.finish("ann0")
        await workers.finish(workers.began[-1])
        assert set(workers.began[1:3]) == {"ann1", "bob"}


async def test_smallest_work_of_an_owner_goes_first() -> None:
    async with working(1, 1) as workers:
        await workers.want("first", owner="ann", size=50)
        for name, size in (("large", 100), ("small", 1), ("middle", 10)):
            await workers.want(name, owner="ann", size=size)
        for _ in range(3):
            await workers.finish(workers.began[-1])
        assert workers.began == ["first", "small", "middle", "large"]


async def test_who_waits_and_gives_up_takes_no_turn() -> None:
    async with working(1, 1) as workers:
        for name in ("first", "leaves", "stays"):
            await workers.want(name, owner="ann")
        workers.tasks["leaves"].cancel()
        await settled()
        await workers.finish("first")
        assert workers.began == ["first", "stays"]


async def test_turn_that_is_granted_to_someone_who_has_just_given_up_goes_on_to_the_next() -> None:
    async with working(1, 1) as workers:
        for name in ("first", "leaves", "stays"):
            await workers.want(name, owner="ann")
        workers._go_on["first"].set()
        await asyncio.sleep(0)  # the first ends, and grants its turn ...
        workers.tasks["leaves"].cancel()  # ... to one who does not know of it yet
        await settled()
        assert workers.began == ["first", "stays"]
