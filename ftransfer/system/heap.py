"""Return freed memory to the system after many sessions have ended.

The C library keeps memory that was freed between blocks still in use. After some thousand TLS
handshakes that is as much as the server itself needs. glibc can return such pages; elsewhere
nothing is done.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable

from ftransfer.system.threads import io_pool, run_job

# Trim after a peak of at least _CROWD sessions, when no more than 1/_PART of the peak is left.
_CROWD = 64
_PART = 4
# Sessions that end together free their memory within this time; closing a connection may take
# limits.close_s.
_PAUSE_S = 2.5


class HeapTrimmer:
    """Watches the number of sessions. Methods run on the event loop."""

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        self._give_back = give_back or _trim
        self._loop = asyncio.get_running_loop()
        self._peak = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def note(self, sessions: int) -> None:
        """Set the present number of sessions. Call it whenever that changes."""
        self._peak = max(self._peak, sessions)
        if self._peak >= _CROWD and sessions <= self._peak // _PART and self._timer is None:
            self._timer = self._loop.call_later(_PAUSE_S, self._begin)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._timer, self._peak = None, 0
        # On the loop, since what it frees may belong there; it also empties the interpreter's own
        # lists
        gc.collect()
        self._task = self._loop.create_task(run_job(io_pool(), self._give_back))


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        # In a thread: it takes some milliseconds, during which ctypes releases the interpreter
        trim(0)
