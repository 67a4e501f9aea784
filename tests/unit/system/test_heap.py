"""When memory is returned to the system: once, after a crowd has gone."""

from __future__ import annotations

import asyncio

import pytest

from ftransfer.system import heap as slack


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "_PAUSE_S", 0.0)


class Counted:
    def __init__(self) -> None:
        self.times = 0
        self.happened = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> None:
        self.times += 1
        self._loop.call_soon_threadsafe(self.happened.set)


async def test_given_back_once_after_a_crowd_has_gone() -> None:
    counted = Counted()
    watched = slack.HeapTrimmer(counted)
    for sessions in [*range(64), *range(64, 0, -1), 0]:
        watched.note(sessions)
    async with asyncio.timeout(30):
        await counted.happened.wait()
    watched.note(0)
    await asyncio.sleep(0)
    assert counted.times == 1 and watched._timer is None


@pytest.mark.parametrize(
    "course", [[*range(64), 0], [100, 26, 100, 26]], ids=["too few", "most are still there"]
)
async def test_nothing_is_done_without_a_crowd_or_while_it_is_there(course: list[int]) -> None:
    watched = slack.HeapTrimmer(Counted())
    for sessions in course:
        watched.note(sessions)
    assert watched._timer is None


async def test_the_real_thing_does_no_harm() -> None:
    slack._trim()
