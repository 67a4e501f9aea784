"""Whose login is checked next."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from ftransfer.service.login_queue import LoginQueue


class Checks:
    """A queue with one place, taken by a check that waits; records the order of the others."""

    def __init__(self) -> None:
        self.queue = LoginQueue(1)
        self.made: list[str] = []
        self._open = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        self._tasks.append(asyncio.create_task(self.queue.run("first", 0, self._hold)))
        await asyncio.sleep(0)

    def _hold(self) -> None:
        self._open.wait(20)

    async def add(self, label: str, source: str, failures: int = 0) -> asyncio.Task[None]:
        task = asyncio.create_task(
            self.queue.run(source, failures, lambda: self.made.append(label))
        )
        self._tasks.append(task)
        await asyncio.sleep(0)
        return task

    async def end(self) -> list[str]:
        self._open.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.made


@pytest.fixture
async def checks() -> AsyncIterator[Checks]:
    checks = Checks()
    await checks.begin()
    yield checks
    await checks.end()
    checks.queue.close()


async def test_sources_take_turns(checks: Checks) -> None:
    for number in range(3):
        await checks.add(f"flood {number}", "flood")
    await checks.add("honest", "other")
    await checks.add("third", "third")
    assert await checks.end() == ["flood 2", "honest", "third", "flood 1", "flood 0"]


async def test_within_a_source_who_has_not_failed_comes_first_and_then_the_latest(
    checks: Checks,
) -> None:
    for label, failures in (("failed", 1), ("early", 0), ("failed twice", 2), ("late", 0)):
        await checks.add(label, "one", failures)
    assert await checks.end() == ["late", "early", "failed", "failed twice"]


async def test_who_leaves_does_not_keep_the_place(checks: Checks) -> None:
    gone = await checks.add("gone", "one")
    await checks.add("stays", "one")
    gone.cancel()
    await asyncio.wait([gone])
    assert await checks.end() == ["stays"]


async def test_who_leaves_as_its_turn_comes_gives_the_place_on() -> None:
    queue, made = LoginQueue(1), []

    async def first() -> None:
        await queue.run("one", 0, lambda: None)
        second.cancel()  # its turn has come, and it has not heard of it

    holding = asyncio.create_task(first())
    await asyncio.sleep(0)
    second = asyncio.create_task(queue.run("one", 0, lambda: made.append("second")))
    await asyncio.wait([holding, second])
    assert second.cancelled()
    await queue.run("one", 0, lambda: made.append("third"))
    assert made == ["third"]
    queue.close()


async def test_no_more_than_a_few_at_once() -> None:
    queue = LoginQueue(2)
    running = most = 0
    lock = threading.Lock()
    both = threading.Barrier(2)

    def check() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(20)
        with lock:
            running -= 1

    await asyncio.gather(*(queue.run(f"source {number % 3}", 0, check) for number in range(10)))
    assert most == 2
    queue.close()
