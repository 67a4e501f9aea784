"""Abandoned partial uploads are removed after their time, at the start and then every hour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from ftransfer.errors import StoreFailed
from ftransfer.gateways.native.listener import Server
from ftransfer.names import SafeName
from ftransfer.service.expiry import expire_partials
from ftransfer.service.share import Share
from ftransfer.storage.base import Partial, UploadSpec
from ftransfer.storage.memory import MemoryStore

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
DAY_S = 86_400


class Hours:
    """A clock that moves by the pauses, and stops the work after so many of them."""

    def __init__(self, count: int) -> None:
        self.now_ns = 100 * DAY_NS
        self.pauses: list[float] = []
        self.seen: list[list[str]] = []
        self._count = count
        self.store = MemoryStore(now_ns=lambda: self.now_ns)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seen.append([partial.name for partial in await self.store.partials()])
        if len(self.pauses) == self._count:
            raise asyncio.CancelledError
        self.now_ns += int(seconds * 1e9)

    async def leave(self, name: str) -> None:
        writer = await self.store.open_write(SafeName((name,)), UploadSpec(source="s"))
        await writer.write(b"part")
        await writer.suspend()

    async def run(self, keep_s: float) -> None:
        with pytest.raises(asyncio.CancelledError):
            await expire_partials(self.store, keep_s, now_ns=lambda: self.now_ns, pause=self.pause)


async def test_old_partials_go_at_the_start_and_young_ones_stay() -> None:
    hours = Hours(1)
    await hours.leave("old")
    hours.now_ns += 7 * DAY_NS
    await hours.leave("young")
    await hours.run(7 * DAY_S)
    assert hours.seen == [["young"]]


async def test_partials_go_in_the_hour_in_which_they_get_old() -> None:
    hours = Hours(26)
    await hours.leave("a")
    await hours.run(DAY_S)
    assert set(hours.pauses) == {3600}
    assert [len(names) for names in hours.seen] == [1] * 24 + [0] * 2


async def test_upload_that_runs_stays() -> None:
    hours = Hours(1)
    writer = await hours.store.open_write(SafeName(("a",)), UploadSpec(source="s"))
    await writer.write(b"part")
    hours.now_ns += 30 * DAY_NS
    await hours.run(DAY_S)
    await writer.write(b" and more")
    await writer.commit("")


async def test_store_that_fails_is_tried_again() -> None:
    class Failing(MemoryStore):
        failures = 1

        async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
            if self.failures:
                self.failures -= 1
                raise StoreFailed("/: the disk reports an error")
            return await super().clear_partials(keep)

    hours = Hours(2)
    hours.store = Failing(now_ns=lambda: hours.now_ns)
    await hours.leave("a")
    hours.now_ns += 30 * DAY_NS
    await hours.run(DAY_S)
    assert hours.seen == [["a"], []]


async def test_server_removes_them_when_it_starts_and_stops_with_it() -> None:
    hours = Hours(1)
    await hours.leave("old")
    hours.now_ns += 8 * DAY_NS
    server = await Server.start(Share(hours.store, now_ns=lambda: hours.now_ns), port=0)
    await asyncio.sleep(0)
    assert await hours.store.partials() == []
    before = asyncio.all_tasks()
    await server.stop(0)
    assert not any("expire_partials" in repr(task) for task in asyncio.all_tasks() & before)


async def test_read_only_share_is_left_as_it_is() -> None:
    hours = Hours(1)
    await hours.leave("old")
    hours.now_ns += 8 * DAY_NS
    server = await Server.start(
        Share(hours.store, read_only=True, now_ns=lambda: hours.now_ns), port=0
    )
    await asyncio.sleep(0)
    await server.stop(0)
    assert len(await hours.store.partials()) == 1
