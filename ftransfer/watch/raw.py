"""The operating system's word that something below a folder has changed: paths, in batches, from a thread of their own.

For systems other than Linux, whose own form is in inotify.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

# Paths are gathered until nothing more comes for a step, at most for a bunch.
_STEP_MS = 50
_BUNCH_MS = 200
# The library does not say when the system has lost some. A bunch of so many may be all that was left.
_BUNCH_TO_DOUBT = 8_192


class QueueOverflow(OSError):
    """More has changed at once than the system tells of: some hints were lost."""


class RawWatch:
    """One run of the operating system's watch on a folder and all that is below it.

    Args:
        told: Called on the event loop with each set of absolute paths.
        failed: Called on the event loop if the watch broke off.
    """

    def __init__(self, folder: str, told: Callable[[set[str]], None], failed: Callable[[Exception], None]) -> None:
        self._folder = folder
        self._told = told
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._armed: asyncio.Future[None] = self._loop.create_future()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ftransfer-watch", daemon=True)

    async def start(self) -> None:
        """Begin; on return, nothing that happens is missed any more.

        Raises:
            OSError: The system has no more watches, or the folder is not there.
        """
        self._thread.start()
        await self._armed

    def abandon(self) -> None:
        """Stop without waiting for the thread."""
        self._stopped.set()

    async def stop(self) -> None:
        self._stopped.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        from watchfiles import watch  # here, since a server that nobody watches does without it

        try:
            # The first batch, empty if need be, comes when all is armed.
            for batch in watch(
                self._folder,
                watch_filter=None,
                step=_STEP_MS,
                debounce=_BUNCH_MS,
                rust_timeout=2 * _STEP_MS,
                yield_on_timeout=True,
                stop_event=self._stopped,
                raise_interrupt=False,
                ignore_permission_denied=True,
                force_polling=False,
            ):
                self._call(self._take, {path for _, path in batch})
        except Exception as error:  # the library has exceptions of its own, for a name that is not UTF-8 as well
            self._call(self._fail, error)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._stopped.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _take(self, paths: set[str]) -> None:
        if not self._armed.done():
            self._armed.set_result(None)
        if len(paths) >= _BUNCH_TO_DOUBT:
            self._failed(QueueOverflow("more changes at once than the system tells of"))
        elif paths:
            self._told(paths)

    def _fail(self, error: Exception) -> None:
        if self._armed.done():
            self._failed(error)
        else:
            self._armed.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
