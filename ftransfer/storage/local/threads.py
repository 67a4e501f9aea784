"""Blocking calls -> executor jobs that are always waited for, and counters of who uses a
descriptor.

Work of unbounded length is a generator, which yields wherever it may pause. It is run in steps, and
each step waits for a turn: so it never takes more than half of the threads, and ends soon after its
caller is gone.

Cancelling an await does not stop the thread behind it. If the descriptor were closed then, its
number could go to another file while the thread still writes to it; so a cancelled caller
waits for the job first.
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
# The most of these at long work at a time, and the most for one owner.
MAX_LONG = 8
MAX_LONG_EACH = 2

# Yields where it may pause, and returns its result.
Work = Generator[None, None, _T]


class Closable(Protocol):
    """What is closed in a thread."""

    def close(self) -> None: ...


class Walk(Closable, Protocol):
    """A walk under way. Methods block and must not overlap; its maker closes it."""

    is_done: bool


W = TypeVar("W", bound=Walk)


class _Done(NamedTuple, Generic[_T]):
    result: _T


def through_aiofiles(file: FileIO, jobs: Jobs) -> AsyncFileIO:
    """Wrap an open file with aiofiles, in the threads of a store."""
    from aiofiles.threadpool import wrap  # most content is moved in threads, past it

    wrapped: AsyncFileIO = wrap(file, executor=jobs.executor)
    return wrapped


class Jobs:
    """A few threads for the file calls of one store, so that they wait neither on the event loop
    nor for anyone else's.
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
        """Hand in one job. The future must be waited for with `finish`."""
        if self._is_closed:
            raise StoreFailed("the store is closed")
        future = asyncio.wrap_future(self.executor.submit(call, *args, **kwargs))
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    async def step(self, owner: str, call: Callable[[], _T]) -> _T:
        """Run one step of long work, when it is the owner's turn."""
        async with self.turns.take(owner):
            return await self.run(call)

    async def work(self, owner: str, work: Work[_T]) -> _T:
        """Run long work in steps, and close it; a cancellation ends it after the present step."""
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
        """Walk in steps, and yield what each finds; the walk is closed in any case."""
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
        except StoreFailed:  # there is no thread any more to do it in
            walk.close()

    async def close(self, last: Callable[[], None] | None = None) -> None:
        """Take no more jobs, wait for those that run, run a last one that releases handles, and
        end the threads.
        """
        self._is_closed = True
        while self._running:
            await asyncio.wait(list(self._running))
        if last is not None:
            await finish(asyncio.wrap_future(self.executor.submit(last)))
        self.executor.shutdown(wait=True)  # all threads are idle: this takes microseconds


def _go_on(work: Work[_T]) -> _Done[_T] | None:
    """Run one step of long work; return the result if that was the last one."""
    time_slice = TimeSlice()
    while not time_slice.is_over:
        try:
            next(work)
        except StopIteration as end:
            return _Done(end.value)
    return None


def run_whole(work: Work[_T]) -> _T:
    """Run work at once that is known to be short."""
    while (done := _go_on(work)) is None:
        pass
    return done.result


class UseCounter:
    """Counts the jobs inside, on the loop or in threads; once shut, lets nobody in and tells when
    the last one has left.

    Enter it with `with`. `why_shut` makes the error for those who come too late.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._why_shut: Callable[[], FtransferError] | None = None
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def check(self) -> None:
        """Raise if it is shut. Any thread may ask."""
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
        """Let nobody in from now on, and wait until nobody is inside. A later reason replaces an
        earlier one.
        """
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
