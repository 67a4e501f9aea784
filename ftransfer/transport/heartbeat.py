"""A task that sends heartbeats while another one works.

It ends between two frames, and cancels the work if the peer is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from ftransfer.system.threads import stop_task


@contextlib.asynccontextmanager
async def beating(
    beat: Callable[[], Coroutine[Any, Any, None]], sending: asyncio.Lock
) -> AsyncIterator[None]:
    """Run `beat` during the block, and end it with the block.

    It sends under the lock `sending`, and ends when nothing is being sent.

    Raises:
        What `beat` raises: The block was cancelled because of it.
    """
    worker = asyncio.current_task()
    assert worker is not None
    task = asyncio.get_running_loop().create_task(beat())
    task.add_done_callback(end_with := _CancelOnError(worker))
    try:
        try:
            yield
        except asyncio.CancelledError:
            raise  # do not wait for a peer that accepts nothing
        except BaseException:
            await _cancel_between_frames(task, sending)
            raise
        await _cancel_between_frames(task, sending)
    except asyncio.CancelledError:
        if end_with.error is not None and worker.uncancel() == 0:
            raise end_with.error from None
        raise
    finally:
        task.remove_done_callback(end_with)
        await stop_task(task)


async def _cancel_between_frames(task: asyncio.Task[None], sending: asyncio.Lock) -> None:
    # Half a heartbeat would put the stream out of step, and OpenSSL must be given the same data
    # again once it has begun to send it.
    async with sending:
        task.cancel()


class _CancelOnError:
    """Cancels a task if another one fails; keeps the error."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.error: BaseException | None = None
        self._task = task

    def __call__(self, failed: asyncio.Task[None]) -> None:
        if not failed.cancelled() and (error := failed.exception()) is not None:
            self.error = error
            self._task.cancel()
