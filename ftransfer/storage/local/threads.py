"""Blocking calls -> executor jobs that are always awaited, and counters of a descriptor's uses.

Work of unbounded length is a generator, which yields wherever it may pause. It is run in steps, and
each step waits for a turn: so it never takes more than half of the threads, and ends soon after its
caller is gone.

Cancelling an await does not stop its thread. If the descriptor were closed then, its number could
be reused for another file while the thread still writes to it; so a cancelled caller first waits
for the job.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

from ftransfer.errors import FtransferError, StoreFailed
from ftransfer.system.threads import finish, finish_steps
from ftransfer.system.turns import TimeSlice, Turns

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncFileIO

_T = TypeVar("_T")
_P = ParamSpec("_P")

MAX_THREADS = 16
# The most threads for long work at a time, and the most for one owner.
MAX_LONG = 8
MAX_LONG_EACH = 2

# Yields where it may pause, and returns its result.
Work = Generator[None, None, _T]


class Closable(Protocol):
    """Something that is closed in a thread."""

    def close(self) -> None: ...


class Walk(Closable, Protocol):
    """A walk in progress. Methods block and must not overlap; the caller closes it."""

    is_done: bool


W = TypeVar("W", bound=Walk)


class _Done(NamedTuple, Generic[_T]):
    result: _T


def through_aiofiles(file: FileIO, jobs: Jobs) -> AsyncFileIO:
    """Wrap an open file with aiofiles, in the threads of a store."""
    from aiofiles.threadpool import wrap  # most content is transferred in threads, without it

    wrapped: AsyncFileIO = wrap(file, executor=jobs.executor)
    return wrapped


class Jobs:
    """A few threads for the file calls of one store.

    The calls block neither the event loop nor those of other stores.
    """

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="ftransfer-io")
        self.turns = Turns(MAX_LONG, MAX_LONG_EACH)
        self._is_closed = False
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run one job; after a cancellation, raise only when its thread is done."""
        return await finish(self.start(call, *args, **kwargs))

    def start(
        self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        """Submit one job. The future must be awaited with `finish`."""
        if self._is_closed:
            raise StoreFailed("the store is closed")
        future = asyncio.wrap_future(self.executor.submit(call, *args, **kwargs))
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    async def step(self, owner: str, call: Callable[[], _T]) -> _T:
        """Run one step of long work on the owner's turn."""
        async with self.turns.take(owner):
            return await self.run(call)

    async def work(self, owner: str, work: Work[_T]) -> _T:
        """Run long work in steps, and close it; cancellation ends it after the present step."""
        try:
            async with self.turns.take(owner) as turn:
                while (done := await self.run(_go_on, work)) is None:
                    await turn.again(0)
            return done.result
        finally:
            await finish_steps(self.close_walk(work))

    async def walk(
        self, owner: str, begin: Callable[[], W], next_batch: Callable[[W], Sequence[_T]]
    ) -> AsyncGenerator[Sequence[_T], None]:
        """Walk in steps, yield the result of each, and always close the walk."""
        walk = await finish(self.start(begin), self.close_walk)
        try:
            while not walk.is_done:
                batch = await self.step(owner, lambda: next_batch(walk))
                if batch:
                    yield batch
        finally:
            await finish_steps(self.close_walk(walk))

    async def close_walk(self, walk: Closable) -> None:
        try:
            await self.run(walk.close)
        except StoreFailed:  # the threads have ended
            walk.close()

    async def close(self, last: Callable[[], None] | None = None) -> None:
        """Refuse new jobs, wait for those that run, run a `last` one, and end the threads.

        The last one releases handles.
        """
        self._is_closed = True
        while self._running:
            await asyncio.wait(list(self._running))
        if last is not None:
            await finish(asyncio.wrap_future(self.executor.submit(last)))
        self.executor.shutdown(wait=True)  # all threads are idle: this takes microseconds


def _go_on(work: Work[_T]) -> _Done[_T] | None:
    """Run one step of long work; return the result if it was the last one, else None."""
    time_slice = TimeSlice()
    while not time_slice.is_over:
        try:
            next(work)
        except StopIteration as end:
            return _Done(end.value)
    return None


def run_whole(work: Work[_T]) -> _T:
    """Run work at once; for work that is known to be short."""
    while (done := _go_on(work)) is None:
        pass
    return done.result


class UseCounter:
    """Counts uses of something, on the loop or in threads; `shut` refuses new ones.

    It then waits for the last running one. Enter it with `with`. `why_shut` makes the error for
    uses that come too late.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._why_shut: Callable[[], FtransferError] | None = None
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def check(self) -> None:
        """Raise if it is shut. Any thread may call it."""
        if self._why_shut is not None:
            raise self._why_shut()

    def __enter__(self) -> UseCounter:
        with self._lock:
            self.check()
            self._inside += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside:
                return
            waiting, self._waiting = self._waiting, []
        for loop, left in waiting:
            loop.call_soon_threadsafe(_settle, left)

    async def shut(self, why_shut: Callable[[], FtransferError]) -> None:
        """Refuse new uses, and wait for running ones. A later reason replaces an earlier one."""
        with self._lock:
            self._why_shut = why_shut
            if not self._inside:
                return
            loop = asyncio.get_running_loop()
            left: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop, left))
        await finish(left)


def _settle(left: asyncio.Future[None]) -> None:
    if not left.done():
        left.set_result(None)
