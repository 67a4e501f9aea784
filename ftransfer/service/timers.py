"""The part of an event loop that keeps the time, so that a test can pass in a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is planned."""

    def cancel(self) -> None: ...


class Timers(Protocol):
    """See asyncio.AbstractEventLoop, which is one."""

    def time(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer: ...
