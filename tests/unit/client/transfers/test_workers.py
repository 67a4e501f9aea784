"""Workers that take from one file: what each does, and what happens when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.segments import Segments
from ftransfer.client.transfers.stream_count import Streams
from ftransfer.client.transfers.workers import WorkerPool
from ftransfer.errors import Busy, Closed, SourceChanged

SIZE = 4 << 20


class FakeTransport:
    bytes_transferred = 0
    round_trip_s = 0.0


class FakeChannel:
    def __init__(self) -> None:
        self.transport = FakeTransport()


class FakeSession:
    """A connection that only remembers how it ended."""

    round_trip_s = 0.0

    def __init__(self) -> None:
        self.channel = FakeChannel()
        self.ended = ""

    async def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"


class Transfer:
    """A pool of `count` workers, and what they have done."""

    def __init__(
        self, count: int, fail: Callable[[int], Exception | None] = lambda _: None
    ) -> None:
        self.sessions: list[FakeSession] = []
        self.done: dict[int, int] = {}  # bytes by the number of the worker
        self._fail = fail
        self.segments = Segments(0, SIZE, count)
        self.pool = WorkerPool(self.segments, Streams(count, True, self.connect))

    async def connect(self) -> ClientSession:
        self.sessions.append(FakeSession())
        return cast(ClientSession, self.sessions[-1])

    async def work(self, session: ClientSession) -> None:
        number = self.sessions.index(cast(FakeSession, session))
        while segment := await self.pool.take(is_idle=True, at_most=64 << 10):
            await asyncio.sleep(0)
            if (error := self._fail(number)) is not None:
                await self.pool.give_back(segment)
                raise error
            if self.segments.complete(segment):  # towards the end two may have the same
                self.segments.in_place = self.segments.first_gap
                self.done[number] = self.done.get(number, 0) + segment.length
            await self.pool.notify()

    async def run(self) -> None:
        main = cast(ClientSession, FakeSession())
        async with self.pool as pool:
            pool.start(main, self.work, main_works=False)
            await pool.wait_for(lambda: self.segments.is_complete)


async def test_all_work_and_all_is_done_once() -> None:
    transfer = Transfer(3)
    await transfer.run()
    assert sum(transfer.done.values()) == SIZE
    assert len(transfer.sessions) == len(transfer.done) == 3


async def test_the_first_connection_works_too_where_it_may() -> None:
    transfer = Transfer(3)
    main = cast(ClientSession, FakeSession())
    transfer.sessions.append(cast(FakeSession, main))
    async with transfer.pool as pool:
        pool.start(main, transfer.work, main_works=True)
        await pool.wait_for(lambda: transfer.segments.is_complete)
    assert len(transfer.sessions) == 3
    assert transfer.done[0] > 0
    assert cast(FakeSession, main).ended == ""  # it belongs to the caller


@pytest.mark.parametrize("error", [Closed("lost"), Busy("no more sessions")])
async def test_worker_that_loses_its_connection_leaves_its_work_to_the_others(
    error: Exception,
) -> None:
    transfer = Transfer(3, lambda number: error if number == 1 else None)
    await transfer.run()
    assert sum(transfer.done.values()) == SIZE
    assert 1 not in transfer.done
    assert transfer.sessions[1].ended == "aborted"


async def test_when_all_are_lost_the_transfer_is() -> None:
    transfer = Transfer(2, lambda number: Closed(f"lost {number}"))
    with pytest.raises(Closed, match="lost"):
        await transfer.run()


async def test_any_other_error_of_one_ends_the_transfer() -> None:
    transfer = Transfer(3, lambda number: SourceChanged("it changed") if number == 2 else None)
    with pytest.raises(SourceChanged):
        await transfer.run()
    assert all(session.ended for session in transfer.sessions)


async def test_leaving_the_block_ends_the_workers() -> None:
    transfer = Transfer(2)
    both_work, never = asyncio.Barrier(3), asyncio.Event()

    async def work(session: ClientSession) -> None:
        await both_work.wait()
        await never.wait()

    async with transfer.pool as pool:
        pool.start(cast(ClientSession, FakeSession()), work, main_works=False)
        await both_work.wait()
    assert [session.ended for session in transfer.sessions] == ["aborted", "aborted"]
