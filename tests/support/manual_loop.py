"""A clock with timers that a test moves on by hand, in place of an event loop."""

from __future__ import annotations

from collections.abc import Callable


class ManualTimer:
    """See service.timers.Timer."""

    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self.due = due
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualLoop:
    """See service.timers.Timers. Nothing happens but in `advance`."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[ManualTimer] = []

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> ManualTimer:
        timer = ManualTimer(self._now + delay, callback)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and run the timers that fall due, in order."""
        until = self._now + seconds
        while due := [timer for timer in self._pending() if timer.due <= until]:
            timer = min(due, key=lambda timer: timer.due)
            self._timers.remove(timer)
            self._now = timer.due
            timer.callback()
        self._now = until

    @property
    def timer_count(self) -> int:
        """How many timers will still run."""
        return len(self._pending())

    def _pending(self) -> list[ManualTimer]:
        return [timer for timer in self._timers if not timer.is_cancelled]
