"""Count what a server uses during a test: turns of the loop, threads, memory.

A turn is what the loop runs for the server without a pause; nobody else is served meanwhile. Turns
are counted in CPU time, so a busy machine does not change the figures. What the test itself does on
the same loop is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from typing import Any
from unittest.mock import patch

from tests.support.service import Service, serve

_is_server = ContextVar("_is_server", default=False)


class Meter:
    """What was counted since the last `reset`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self.longest_s = 0.0  # the longest turn, in CPU time
        self.longest = ""  # what ran in it
        self.turns = 0
        with self._lock:
            self.most_threads = Counter(self._running)  # by the name of their pool: at work at once

    def note_turn(self, spent_s: float, what: object) -> None:
        self.turns += 1
        if spent_s > self.longest_s:
            self.longest_s, self.longest = spent_s, repr(what)

    def begin_job(self, pool: str) -> None:
        with self._lock:
            self._running[pool] += 1
            self.most_threads[pool] = max(self.most_threads[pool], self._running[pool])

    def end_job(self, pool: str) -> None:
        with self._lock:
            self._running[pool] -= 1

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Count while the block runs."""
        gc.disable()  # what it would look through belongs to the tests before this one
        try:
            with (
                patch.object(asyncio.Handle, "_run", _counting_run(self)),
                patch.object(ThreadPoolExecutor, "submit", _counting_submit(self)),
            ):
                yield
        finally:
            gc.enable()


@contextlib.asynccontextmanager
async def metered(folder: Path, **options: Any) -> AsyncIterator[tuple[Service, Meter]]:
    """Serve as `serve` does, with a meter on the server."""
    meter = Meter()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(meter.installed())
        token = _is_server.set(True)  # what is started here, and by that in turn, is the server's
        try:
            service = await stack.enter_async_context(serve(folder, **options))
        finally:
            _is_server.reset(token)
        yield service, meter


@contextlib.contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yield a function that returns by how many bytes the interpreter's memory has grown at most.

    Counting costs much time.
    """
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _counting_run(meter: Meter) -> Callable[[Any], None]:
    real: Callable[[Any], None] = asyncio.Handle._run

    def run(handle: Any) -> None:
        what = getattr(handle._callback, "__self__", handle)  # a task, if it is a step of one
        was_server, began = handle._context.get(_is_server), time.thread_time()
        try:
            return real(handle)
        finally:
            # Not the step of the test that has started it
            if was_server and handle._context.get(_is_server):
                meter.note_turn(time.thread_time() - began, what)

    return run


def _counting_submit(meter: Meter) -> Callable[..., Future[Any]]:
    real = ThreadPoolExecutor.submit

    def submit(
        executor: ThreadPoolExecutor, job: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        pool = str(executor._thread_name_prefix)

        def counted() -> Any:
            meter.begin_job(pool)
            try:
                return job(*args, **kwargs)
            finally:
                meter.end_job(pool)

        return real(executor, counted)

    return submit
