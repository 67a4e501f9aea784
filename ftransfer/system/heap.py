"""Memory that a crowd has left behind goes back to the system.

The C library keeps what has been freed between blocks that are still in use, which after some
thousand TLS handshakes is as much as the server needs by itself. glibc can be asked to hand such
pages back; elsewhere nothing is done.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable

from ftransfer.system.threads import io_pool, run_job

# So many sessions are a crowd, and it has gone when no more than this part of it is left.
_CROWD = 64
_PART = 4
# What ends at one moment is freed within it; connections that are being closed may take
# limits.close_s for that.
_PAUSE_S = 2.5


class HeapTrimmer:
    """Watches how many sessions there are. Methods run on the event loop."""

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        self._give_back = give_back or _trim
        self._loop = asyncio.get_running_loop()
        self._peak = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def note(self, sessions: int) -> None:
        """Set how many sessions there are now. To be called whenever that changes."""
        self._peak = max(self._peak, sessions)
        if self._peak >= _CROWD and sessions <= self._peak // _PART and self._timer is None:
            self._timer = self._loop.call_later(_PAUSE_S, self._begin)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._timer, self._peak = None, 0
        # On the loop, since what it frees may belong there; it empties the interpreter's own lists
        # as well
        gc.collect()
        self._task = self._loop.create_task(run_job(io_pool(), self._give_back))


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        # In a thread: it takes some milliseconds, for which ctypes lets go of the interpreter
        trim(0)
