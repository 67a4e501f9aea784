from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.loop_guard import LoopGuard


@pytest.fixture
async def guard() -> AsyncIterator[LoopGuard]:
    guard = LoopGuard(asyncio.get_running_loop(), ticks_allowed=3)
    guard.start()
    yield guard
    guard.stop()


async def test_blocked_loop_is_found_with_the_place_that_blocks(guard: LoopGuard) -> None:
    guard.noticed.wait(5)
    assert "test_blocked_loop_is_found" in guard.blocked_at


async def test_loop_that_waits_for_a_thread_is_not_blocked(guard: LoopGuard) -> None:
    assert not await asyncio.get_running_loop().run_in_executor(None, guard.noticed.wait, 0.3)
    assert guard.blocked_at == ""
