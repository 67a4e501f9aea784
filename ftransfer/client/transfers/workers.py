"""The connections that work on one file: how many there are, and what happens when one ends.

Their number grows as long as that pays off, judged by the bytes that all of them transfer in short
windows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.segments import Segment, Segments
from ftransfer.client.transfers.stream_count import MAX_STREAMS, Streams
from ftransfer.errors import ChannelError, Closed, FtransferError, RequestError
from ftransfer.transport import Transport

# Length of the windows in which transferred bytes are counted.
_WINDOW_ROUND_TRIPS = 4
_SHORTEST_WINDOW_S = 0.1
# More connections have paid off if they multiplied the rate by this much; others are tried when it
# has fallen by as much.
_PAYS = 1.1
# Where the round trip has grown by this factor, packets queue: the path is full, and more
# connections would not help.
_QUEUING = 1.35

Work = Callable[[ClientSession], Awaitable[None]]


class Growth:
    """Decides whether more connections would pay off, by the total rate. Pure."""

    def __init__(self) -> None:
        self._before = 0.0  # the rate when connections were last added
        self._last: list[float] = []  # of the last windows; a single one says little

    def wants_more(self, rate: float, *, is_full: bool) -> bool:
        """Return whether to add connections, given the rate of one window.

        Args:
            is_full: Whether packets queue on the path.
        """
        self._last = [*self._last[-2:], rate]
        if len(self._last) < 3:
            return False
        earlier, now = sum(self._last[:2]) / 2, sum(self._last[1:]) / 2
        is_rising = now > earlier * _PAYS  # the existing ones have not reached their rate yet
        if is_rising or is_full or self._before / _PAYS < now < self._before * _PAYS:
            return False
        self._before, self._last = now, []
        return True


class WorkerPool:
    """Workers, each with a connection, that take from the same segments.

    Leaving the block ends them all. A worker that loses its connection, or that the server is too
    busy for, leaves its work to the others. When none is left, or one fails in any other way, its
    error is the error of the transfer.

    Args:
        segments: What to transfer, by `segments.streams` workers at first.
        streams: Whether more may be added, and how.
    """

    def __init__(self, segments: Segments, streams: Streams) -> None:
        self.segments = segments
        self._connect = streams.connect
        self._is_fixed = streams.is_fixed
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: dict[
            Transport, int
        ] = {}  # the bytes that each had transferred at the last look
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
        """Start the workers.

        With `main_works` one of them uses `main`, whose first bytes arrive a few round trips
        earlier. `work` returns when nothing is left to do, with its connection between two
        commands.
        """
        if main_works:
            self._add(lambda: self._watched(main, work))
        self._add_apart(self.segments.streams - main_works, work)
        if not self._is_fixed:
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
        await self.notify()

    async def _watched(self, session: ClientSession, work: Work) -> None:
        transport = session.channel.transport
        self._transports[transport] = transport.bytes_transferred
        try:
            await work(session)
        finally:
            del self._transports[transport]

    async def _grow(self, shortest_s: float, work: Work) -> None:
        """Double the workers as long as the rate follows and no queue forms.

        On a full path, more would be unfair.
        """
        loop = asyncio.get_running_loop()
        growth = Growth()
        window_s = max(_SHORTEST_WINDOW_S, _WINDOW_ROUND_TRIPS * shortest_s)
        while self.segments.streams < MAX_STREAMS:
            began = loop.time()
            self._take_transferred()
            await asyncio.sleep(window_s)
            rate = self._take_transferred() / (loop.time() - began)
            if growth.wants_more(rate, is_full=self._round_trip_s() > _QUEUING * shortest_s):
                more = min(self.segments.streams, MAX_STREAMS - self.segments.streams)
                self._add_apart(more, work)
                self.segments.streams += more

    def _take_transferred(self) -> int:
        """Return how many bytes were transferred since the last call."""
        total = 0
        for transport, before in self._transports.items():
            self._transports[transport] = now = max(before, transport.bytes_transferred)
            total += now - before
        return total

    def _round_trip_s(self) -> float:
        """Return the median round trip over all connections."""
        all_s = sorted(transport.round_trip_s for transport in self._transports)
        return all_s[len(all_s) // 2] if all_s else 0.0

    # For the workers, and for the transfer that waits for them.

    async def take(self, *, is_idle: bool, at_most: int) -> Segment | None:
        """Return the next segment, or None if there is none now.

        An idle worker waits for one; None then means that everything is in place.
        """
        async with self._changed:
            while True:
                segment = self.segments.take(is_idle=is_idle, at_most=at_most)
                if segment is not None or not is_idle or self.segments.is_complete:
                    return segment
                await self._changed.wait()

    async def give_back(self, *taken: Segment) -> None:
        """Put back segments for other workers."""
        for segment in taken:
            self.segments.give_back(segment)
        await self.notify()

    async def notify(self) -> None:
        """Wake all waiters: something has changed."""
        async with self._changed:
            self._changed.notify_all()

    def notify_soon(self) -> None:
        """Schedule `notify`, from a callback."""
        self._run(self.notify())

    async def wait_for(self, is_true: Callable[[], bool]) -> None:
        """Wait until a condition holds. Raise the error that ended the transfer."""
        async with self._changed:
            while not is_true():
                if self._error is not None:
                    raise self._error
                if self._working == 0:
                    raise self._lost or Closed("the connections ended before the file was complete")
                await self._changed.wait()
