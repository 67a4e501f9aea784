"""Find whoever blocks the event loop, since one slow call there delays every session.

CPU time of the loop's thread counts, not elapsed time: on a busy or suspended machine the guard
blames nobody. Only a call that sleeps is found by the clock, with a bound far above what a busy
machine adds.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback

TICK_S = 0.05
CPU_ALLOWED_S = 0.5  # between two turns
TICKS_ALLOWED = 200  # ten seconds in which the guard was awake and the loop was not


class LoopGuard:
    """Pings the loop from a thread, and records the stack when no answer comes for too long."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cpu_allowed_s: float = CPU_ALLOWED_S,
        ticks_allowed: int = TICKS_ALLOWED,
    ) -> None:
        # How long it took, and the stack of the loop's thread when it was found blocked.
        self.blocked_at = ""
        self.noticed = threading.Event()
        self._loop = loop
        self._cpu_allowed_s = cpu_allowed_s
        self._ticks_allowed = ticks_allowed
        self._loop_thread = threading.get_ident()
        self._clock = _cpu_clock(self._loop_thread)
        self._asked_at_s = 0.0
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
            # Between fixtures and tests the loop may stand
            if self._answered.is_set() or not self._loop.is_running():
                ticks = 0
                self._ask()
                continue
            ticks += 1
            spent_s = time.clock_gettime(self._clock) - self._asked_at_s
            if spent_s >= self._cpu_allowed_s or ticks >= self._ticks_allowed:
                self.blocked_at = (
                    f"{spent_s:.1f} s of CPU time, {ticks * TICK_S:.1f} s in all,"
                    f" at:\n{self._stack()}"
                )
                self.noticed.set()

    def _ask(self) -> None:
        self._answered.clear()
        self._asked_at_s = time.clock_gettime(self._clock)
        try:
            self._loop.call_soon_threadsafe(self._answered.set)
        except RuntimeError:  # closed: whoever closed it ends the test
            self._over.set()

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)[-6:]) if frame else "(its thread is gone)\n"


def _cpu_clock(thread: int) -> int:
    """Return the CPU clock of a thread; where there is none (macOS), that of the process."""
    return (
        time.pthread_getcpuclockid(thread)
        if hasattr(time, "pthread_getcpuclockid")
        else time.CLOCK_PROCESS_CPUTIME_ID
    )
