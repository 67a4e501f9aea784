"""Blocking work in threads: run to its end even when its caller is cancelled.

A leaf. Cancelling an await does not stop a thread, so a descriptor must not be closed before its
job ends: its number is reused, and the job would write into another file.
"""

from __future__ import annotations

import asyncio
import mmap
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_IO_THREADS = 16
_LEAST_BUFFER_BYTES = 4 << 20  # the first request is often small
KEPT_BUFFERS = 3
_REFERENCES_OF_FREE = 3  # the list's, the loop variable's, and getrefcount's argument
_io_pool: ThreadPoolExecutor | None = None
_scratch = threading.local()
_buffers: list[mmap.mmap] = []
_choosing = threading.Lock()


def io_pool() -> ThreadPoolExecutor:
    """Return the shared pool for work on sockets, files and digests.

    Each store has a separate pool, so a slow disk delays only its own transfers.
    """
    global _io_pool
    if _io_pool is None:
        _io_pool = ThreadPoolExecutor(_IO_THREADS, thread_name_prefix="ftransfer-move")
    return _io_pool


async def run_job(
    executor: ThreadPoolExecutor, job: Callable[[], T], stop: Callable[[], None] | None = None
) -> T:
    """Run a blocking job in a thread and return its result.

    As with `finish`: however run_job ends, the job no longer runs after it.
    """
    return await finish(asyncio.get_running_loop().run_in_executor(executor, job), stop=stop)


async def finish(
    future: asyncio.Future[T],
    undo: Callable[[T], Coroutine[Any, Any, None]] | None = None,
    *,
    stop: Callable[[], None] | None = None,
) -> T:
    """Wait until a future is done, even when cancelled; the cancellation is raised after that.

    Args:
        undo: Closes a result that the cancelled caller will never see.
        stop: Called on cancellation, to end the work soon.
    """
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue  # cancelled again: the work still has to end first
        # Calling exception() also keeps an error from being reported as never retrieved
        if not future.cancelled() and future.exception() is None and undo is not None:
            await finish_steps(undo(future.result()))
        raise


async def finish_steps(
    steps: Coroutine[Any, Any, T], undo: Callable[[T], Coroutine[Any, Any, None]] | None = None
) -> T:
    """Run a coroutine to its end, even when cancelled, as `finish`."""
    return await finish(asyncio.ensure_future(steps), undo)


async def stop_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it ends; its error is dropped.

    Not `await task`: that cannot tell the end of the task from a cancellation of the caller, which
    must propagate.
    """
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # retrieved, so that it is not reported as never retrieved


def reusable_buffer(size: int) -> memoryview:
    """Return `size` bytes of memory for content, not cleared.

    The system provides new memory page by page, which costs as much as filling it. So a few buffers
    are kept, and one is reused when no view of it is left. They are mapped: an unused part takes no
    memory.
    """
    with _choosing:
        for memory in _buffers:
            if len(memory) >= size and sys.getrefcount(memory) == _REFERENCES_OF_FREE:
                return memoryview(memory)[:size]
        memory = mmap.mmap(
            -1, max(size, _LEAST_BUFFER_BYTES), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )
        if len(_buffers) < KEPT_BUFFERS:
            _buffers.append(memory)
        return memoryview(memory)[:size]


def scratch(size: int) -> memoryview:
    """Return a buffer of `size` bytes that belongs to this thread until its job ends.

    There is one for each thread, not for each transfer: a hundred transfers in sixteen threads need
    sixteen buffers.
    """
    buffer: bytearray | None = getattr(_scratch, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = _scratch.buffer = bytearray(size)
    return memoryview(buffer)[:size]


# How long a thread waits before it asks another to release the interpreter: a tenth of Python's
# default of 5 ms.
_SWITCH_S = 0.0005


def switch_often() -> None:
    """Make the threads of this server process switch more often than by default.

    A job that transfers a file needs the interpreter some twenty times a megabyte. While peers that
    never pause kept the event loop's thread busy, each of these took 5 ms: 20 such peers made a get
    of 1 MiB take a second instead of a tenth of it.
    """
    sys.setswitchinterval(_SWITCH_S)
