"""Hints of the operating system that something below a folder has changed.

A separate thread delivers paths in batches. This is what all systems have in common; inotify.py
calls Linux, portable_hints.py any system through a library.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable


class QueueOverflow(OSError):
    """More changed at once than the system can report: some hints were lost."""


class Hints(ABC):
    """One run of a watch on a folder and everything below it.

    Args:
        on_paths: Called on the event loop with each set of absolute paths.
        on_failure: Called on the event loop if the watch failed; with QueueOverflow if hints were
            lost.
    """

    def __init__(
        self,
        folder: str,
        on_paths: Callable[[set[str]], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._folder = folder
        self._on_paths = on_paths
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._armed: asyncio.Future[None] = self._loop.create_future()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="ftransfer-watch", daemon=True)

    async def start(self) -> None:
        """Start the thread; on return, no further change is missed.

        Raises:
            OSError: The system has no more watches, or the folder does not exist.
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
        """Make the thread notice that it must stop."""

    # In the thread.

    @abstractmethod
    def _run(self) -> None:
        """Set up the watch, call _set_armed, then pass hints on until woken."""

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function on the event loop, unless the watch was stopped."""
        if not self._is_stopped and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    # On the event loop.

    def _set_armed(self) -> None:
        if not self._armed.done():
            self._armed.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._armed.done():
            self._on_failure(error)
        else:
            self._armed.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
