"""The connections that work at one file: how many there are, what each takes, and what becomes of
the whole when one of them ends.

Their number grows as long as that brings more, judged by the bytes that get through over all of
them in short windows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.download import LONG_PATH_S
from ftransfer.client.transfers.segments import Segment, Segments
from ftransfer.errors import ChannelError, Closed, FtransferError, RequestError
from ftransfer.transport import Transport

FIRST_STREAMS = 8
MAX_STREAMS = 32
# The bytes that get through are counted in windows of so many round trips.
_WINDOW_ROUND_TRIPS = 4
_SHORTEST_WINDOW_S = 0.1
# More connections have paid if they brought so many times the rate, and others are tried when it
# has fallen by as much.
_PAYS = 1.1
# Where the round trip takes so much longer than at first, packets queue: the path is full, and more
# connections would find no room.
_QUEUING = 1.35
# A file is large from this size on; below, one connection is as quick.
LARGE_BYTES = 16 << 20

Connect = Callable[[], Awaitable[ClientSession]]
Work = Callable[[ClientSession], Awaitable[None]]


def streams_for(round_trip_s: float, size: int, wanted: int | None) -> int:
    """Give how many connections to begin with; 1 means that the ordinary way is the better one.

    Args:
        round_trip_s: The time to the server and back, without load (ClientSession.round_trip_s).
        wanted: A number that the user asks for, or None.
    """
    if wanted is not None:
        return max(1, min(wanted, MAX_STREAMS))
    return FIRST_STREAMS if round_trip_s >= LONG_PATH_S and size >= LARGE_BYTES else 1


class Growth:
    """Whether more connections would pay, judged by the rate of all together in one window after
    the other. Pure.
    """

    def __init__(self) -> None:
        self._before = 0.0  # the rate with which the last ones were added
        self._last: list[float] = []  # of the last windows; one by itself says little

    def wants_more(self, rate: float, *, is_full: bool) -> bool:
        """Hear the rate of one window, and whether packets queue on the path; say whether to add
        connections.
        """
        self._last = [*self._last[-2:], rate]
        if len(self._last) < 3:
            return False
        earlier, now = sum(self._last[:2]) / 2, sum(self._last[1:]) / 2
        is_rising = now > earlier * _PAYS  # those that there are have not yet found their rate
        if is_rising or is_full or self._before / _PAYS < now < self._before * _PAYS:
            return False
        self._before, self._last = now, []
        return True


class WorkerPool:
    """Workers, each with a connection, that take from the same segments; leaving the block ends
    them all.

    One that loses its connection, or that the server has no room for, leaves its work to the
    others. When none is left, or one meets any other error, that error is the error of the whole.

    Args:
        segments: What is to be moved, by `segments.streams` workers at first.
        connect: Makes a further connection, for one worker.
        fixed: Whether their number stays as it is.
    """

    def __init__(self, segments: Segments, connect: Connect, *, fixed: bool) -> None:
        self.segments = segments
        self._connect = connect
        self._fixed = fixed
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: dict[
            Transport, int
        ] = {}  # how much each had carried when that was last looked at
        self._working = 0
        self._error: FtransferError | None = None
        self._lost: FtransferError | None = None

    async def __aenter__(self) -> WorkerPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def start(self, main: ClientSession, work: Work, *, main_works: bool) -> None:
        """Start the workers. With `main_works` one of them is over `main`, whose first bytes come a
        few round trips earlier.

        `work` returns when nothing is left to do, with its connection between two commands.
        """
        if main_works:
            self._add(lambda: self._watched(main, work))
        self._add_apart(self.segments.streams - main_works, work)
        if not self._fixed:
            self._run(self._grow(main.round_trip_s, work))

    def _add_apart(self, count: int, work: Work) -> None:
        async def apart() -> None:
            session = await self._connect()
            try:
                await self._watched(session, work)
                await session.close()
            finally:
                session.abort()

        for _ in range(count):
            self._add(apart)

    def _add(self, worker: Callable[[], Awaitable[None]]) -> None:
        self._working += 1
        self._run(self._guard(worker))

    def _run(self, steps: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(steps)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, worker: Callable[[], Awaitable[None]]) -> None:
        try:
            await worker()
        except (ChannelError, RequestError) as error:
            self._lost = error
        except FtransferError as error:
            self._error = error
        finally:
            self._working -= 1
        await self.tell()

    async def _watched(self, session: ClientSession, work: Work) -> None:
        transport = session.channel.transport
        self._transports[transport] = transport.bytes_transferred
        try:
            await work(session)
        finally:
            del self._transports[transport]

    async def _grow(self, shortest_s: float, work: Work) -> None:
        """Double the workers as long as the rate follows and no queue forms: on a path that is
        full, more would be unfair.
        """
        loop = asyncio.get_running_loop()
        growth = Growth()
        window_s = max(_SHORTEST_WINDOW_S, _WINDOW_ROUND_TRIPS * shortest_s)
        while self.segments.streams < MAX_STREAMS:
            began = loop.time()
            self._take_carried()
            await asyncio.sleep(window_s)
            rate = self._take_carried() / (loop.time() - began)
            if growth.wants_more(rate, is_full=self._round_trip_s() > _QUEUING * shortest_s):
                more = min(self.segments.streams, MAX_STREAMS - self.segments.streams)
                self._add_apart(more, work)
                self.segments.streams += more

    def _take_carried(self) -> int:
        """Give how many bytes have got through since the last call."""
        total = 0
        for transport, before in self._transports.items():
            self._transports[transport] = now = max(before, transport.bytes_transferred)
            total += now - before
        return total

    def _round_trip_s(self) -> float:
        """Give the median over all connections."""
        all_s = sorted(transport.round_trip_s for transport in self._transports)
        return all_s[len(all_s) // 2] if all_s else 0.0

    # For those who work, and who wait for them.

    async def take(self, *, is_idle: bool, at_most: int) -> Segment | None:
        """Give the next segment. Who is idle waits for one: None then says that everything is where
        it belongs.
        """
        async with self._changed:
            while True:
                segment = self.segments.take(is_idle=is_idle, at_most=at_most)
                if segment is not None or not is_idle or self.segments.is_complete:
                    return segment
                await self._changed.wait()

    async def give_back(self, *taken: Segment) -> None:
        """Leave segments to others."""
        for segment in taken:
            self.segments.give_back(segment)
        await self.tell()

    async def tell(self) -> None:
        """Wake whoever waits: something has changed."""
        async with self._changed:
            self._changed.notify_all()

    def tell_soon(self) -> None:
        """As `tell`, from a callback."""
        self._run(self.tell())

    async def wait_for(self, is_true: Callable[[], bool]) -> None:
        """Wait until something is true. Raises what ended the whole."""
        async with self._changed:
            while not is_true():
                if self._error is not None:
                    raise self._error
                if self._working == 0:
                    raise self._lost or Closed("the connections ended before the file was complete")
                await self._changed.wait()
