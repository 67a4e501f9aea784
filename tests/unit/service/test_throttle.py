"""Token buckets on a test clock: rates are kept, shares are equal, no rate means no waiting."""

from __future__ import annotations

import asyncio

import pytest

from ftransfer.service.bandwidth import Throttle
from ftransfer.service.token_bucket import TokenBucket


def bucket_of(rate: float | None = None) -> TokenBucket:
    return TokenBucket(rate, burst_s=0.1)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, delay: float) -> None:
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + delay, self._count, future))
        await future

    async def run(self, until: float) -> None:
        """Advance the clock, waking sleepers in their order."""
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            waiting = sorted(sleeper for sleeper in self._sleepers if not sleeper[2].done())
            if not waiting or waiting[0][0] > until:
                self.now = until
                return
            self.now = waiting[0][0]
            waiting[0][2].set_result(None)
            self._sleepers = waiting[1:]


class Mover:
    """A session that moves as much as it may."""

    def __init__(self, clock: Clock, *buckets: TokenBucket, greed: int = 32 << 20) -> None:
        self.throttle = Throttle(buckets, now=clock, sleep=clock.sleep)
        self.moved = 0
        self.task = asyncio.create_task(self._move(greed))

    async def _move(self, greed: int) -> None:
        while True:
            self.moved += await self.throttle.take(greed)


@pytest.fixture(name="clock")
def make_clock() -> Clock:
    return Clock()


async def stop(*io_pool: Mover) -> None:
    for mover in io_pool:
        mover.task.cancel()
    await asyncio.gather(*(mover.task for mover in io_pool), return_exceptions=True)


@pytest.mark.parametrize("rate", [2_000, 100_000, 10 << 20, 100 << 20])
async def test_rate_is_kept(clock: Clock, rate: int) -> None:
    mover = Mover(clock, bucket_of(rate))
    await clock.run(10.0)
    await stop(mover)
    assert 0.98 * 10 * rate <= mover.moved <= 1.1 * 10 * rate + 2048


async def test_those_who_share_a_bucket_get_equal_parts(clock: Clock) -> None:
    bucket = bucket_of(1 << 20)
    io_pool = [Mover(clock, bucket, greed=greed) for greed in (32 << 20, 1 << 20, 1 << 17, 1 << 17)]
    await clock.run(20.0)
    await stop(*io_pool)
    parts = [mover.moved for mover in io_pool]
    assert max(parts) < 1.05 * min(parts)
    assert 0.95 * (20 << 20) <= sum(parts) <= 1.1 * (20 << 20)


async def test_late_comer_gets_its_part_at_once(clock: Clock) -> None:
    bucket = bucket_of(1 << 20)
    first = Mover(clock, bucket)
    await clock.run(5.0)
    second, before = Mover(clock, bucket), first.moved
    await clock.run(7.0)
    await stop(first, second)
    assert second.moved > 0.9 * (first.moved - before)


async def test_narrowest_of_several_buckets_counts(clock: Clock) -> None:
    wide, narrow = bucket_of(10 << 20), bucket_of(1 << 20)
    bounded, free = Mover(clock, wide, narrow), Mover(clock, wide, bucket_of(None))
    await clock.run(10.0)
    await stop(bounded, free)
    assert bounded.moved <= 1.1 * (10 << 20)
    assert free.moved > 5 * bounded.moved


async def test_without_a_rate_nothing_waits(clock: Clock) -> None:
    throttle = Throttle([bucket_of(), bucket_of(None)], now=clock, sleep=clock.sleep)
    assert not throttle.is_on
    assert await throttle.take(32 << 20) == 32 << 20
    assert clock.now == 0.0


async def test_rate_can_be_set_later(clock: Clock) -> None:
    bucket = bucket_of()
    throttle = Throttle([bucket], now=clock, sleep=clock.sleep)
    bucket.rate = 1000.0
    assert throttle.is_on and await throttle.take(1 << 20) == 1024
    bucket.rate = None
    assert await throttle.take(1 << 20) == 1 << 20
