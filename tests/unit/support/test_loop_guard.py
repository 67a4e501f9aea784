from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.loop_guard import LoopGuard

Guarding = Callable[..., LoopGuard]


@pytest.fixture
async def guarding() -> AsyncIterator[Guarding]:
    """Return a function that starts a guard."""
    started: list[LoopGuard] = []

    def start(**allowed: float) -> LoopGuard:
        guard = LoopGuard(asyncio.get_running_loop(), **allowed)  # type: ignore[arg-type]  # one type for all values
        guard.start()
        started.append(guard)
        return guard

    yield start
    for guard in started:
        guard.stop()


async def test_loop_that_works_for_too_long_is_found_with_the_place(guarding: Guarding) -> None:
    guard = guarding(cpu_allowed_s=0.1)
    while not guard.noticed.is_set():
        pass
    assert "test_loop_that_works_for_too_long" in guard.blocked_at


async def test_loop_that_sleeps_in_a_call_is_found_with_the_place(guarding: Guarding) -> None:
    guard = guarding(ticks_allowed=3)
    guard.noticed.wait(30)
    assert "test_loop_that_sleeps_in_a_call" in guard.blocked_at


async def test_time_in_which_others_have_the_processor_is_not_counted(guarding: Guarding) -> None:
    guard = guarding(cpu_allowed_s=0.2)
    threading.Event().wait(0.5)  # as if others had it
    assert guard.blocked_at == ""


async def test_loop_that_waits_for_a_thread_is_not_blocked(guarding: Guarding) -> None:
    guard = guarding(ticks_allowed=3)
    assert not await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.3)
    assert guard.blocked_at == ""
