"""The operating system's word that something below a folder has changed: paths, in batches, from a
thread of their own.

What all systems have in common; inotify.py speaks to Linux, portable.py to any system through a
library.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable


class QueueOverflow(OSError):
    """More has changed at once than the system tells of: some hints were lost."""


class Hints(ABC):
    """One run of a watch on a folder and all that is below it.

    Args:
        told: Called on the event loop with each set of absolute paths.
        failed: Called on the event loop if the watch broke off; with QueueOverflow if hints were
            lost.
    """

    def __init__(
        self, folder: str, told: Callable[[set[str]], None], failed: Callable[[Exception], None]
    ) -> None:
        self._folder = folder
        self._told = told
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._armed: asyncio.Future[None] = self._loop.create_future()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="ftransfer-watch", daemon=True)

    async def start(self) -> None:
        """Begin; on return, nothing that happens is missed any more.

        Raises:
            OSError: The system has no more watches, or the folder is not there.
        """
        self._thread.start()
        try:
            await self._armed
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Stop without waiting for the thread."""
        if not self._is_stopped:
            self._is_stopped = True
            self._wake()

    async def stop(self) -> None:
        """Stop; on return, the thread has ended."""
        self.abandon()
        await asyncio.to_thread(self._thread.join)

    @abstractmethod
    def _wake(self) -> None:
        """Make the thread notice that it is to stop."""

    # In the thread.

    @abstractmethod
    def _run(self) -> None:
        """Say when all is armed, then pass hints on until woken."""

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function on the event loop."""
        if not self._is_stopped and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    # On the event loop.

    def _set_armed(self) -> None:
        if not self._armed.done():
            self._armed.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._armed.done():
            self._failed(error)
        else:
            self._armed.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
