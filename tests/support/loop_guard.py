"""Nothing may hold up the event loop, since one slow call there holds up every session: this finds who does."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback

TICK_S = 0.05
TICKS_ALLOWED = 20  # one second, far above what a busy machine adds to a callback


class LoopGuard:
    """Asks the loop for a sign of life from a thread, and notes where the loop stands when it gives none for too long.

    It counts its own wake-ups and not the time, so that a machine which stands still, with the guard on it, blames nobody.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ticks_allowed: int = TICKS_ALLOWED) -> None:
        self.blocked_at = ""  # the stack of the loop's thread when it was found blocked
        self.noticed = threading.Event()
        self._loop = loop
        self._ticks_allowed = ticks_allowed
        self._loop_thread = threading.get_ident()
        self._answered = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-guard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        ticks = 0
        self._ask()
        while not self._over.wait(TICK_S) and not self.blocked_at:
            if self._answered.is_set() or not self._loop.is_running():  # between fixtures and tests the loop may stand
                ticks = 0
                self._ask()
                continue
            ticks += 1
            if ticks >= self._ticks_allowed:
                self.blocked_at = self._stack()
                self.noticed.set()

    def _ask(self) -> None:
        self._answered.clear()
        try:
            self._loop.call_soon_threadsafe(self._answered.set)
        except RuntimeError:  # closed: whoever closed it ends the test
            self._over.set()

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)[-6:]) if frame else "(its thread is gone)\n"
