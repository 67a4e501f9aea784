"""Run a coroutine as a command: the event loop, and Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ftransfer.shell.errors import Interrupted

T = TypeVar("T")

# How long an interrupted command may take to clean up.
PATIENCE_S = 5.0
# A stream needs no clean-up, and a thread may be blocked in a read or write of it.
STREAM_PATIENCE_S = 0.3
_INTERRUPTED = 130


def run(
    work: Coroutine[Any, Any, T], *, keeps_interrupt: bool = False, patience_s: float = PATIENCE_S
) -> T:
    """Run a command to its end.

    The first SIGINT cancels it, so that it can clean up; a second one, or the end of `patience_s`,
    ends the process at once. With `keeps_interrupt` the command handles SIGINT itself.

    Raises:
        Interrupted: SIGINT came. (Not KeyboardInterrupt, which typer would swallow.)
    """
    # Imported modules are never garbage, so exclude them. entry.py has disabled the collector.
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        if not os.environ.get("FTRANSFER_DEBUG"):
            # The command raises its errors; what asyncio logs besides is noise.
            loop.set_exception_handler(lambda *_: None)
        if keeps_interrupt or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            try:
                return runner.run(work)
            except KeyboardInterrupt:
                raise Interrupted("interrupted") from None
        return _run_interruptible(runner, loop, work, patience_s)


def _run_interruptible(
    runner: asyncio.Runner,
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T],
    patience_s: float,
) -> T:
    interrupts = 0
    task: asyncio.Task[T] | None = None

    def interrupt(*_: object) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            _end_now()
        impatience = threading.Timer(patience_s, _end_now)
        impatience.daemon = True
        impatience.start()
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

    async def wrapped() -> T:
        nonlocal task
        task = asyncio.create_task(work)
        if interrupts:
            task.cancel()
        return await task

    # Not the handler of asyncio.Runner: after a second SIGINT it still waits for threads.
    signal.signal(signal.SIGINT, interrupt)
    try:
        return runner.run(wrapped())
    except asyncio.CancelledError:
        if interrupts:
            raise Interrupted("interrupted") from None
        raise
    finally:
        if not interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_now() -> None:
    end = "\r\x1b[2K" if sys.stderr.isatty() else ""  # clears a progress line
    os.write(2, f"{end}ftransfer: interrupted\n".encode())
    os._exit(_INTERRUPTED)
