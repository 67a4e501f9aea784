"""The clock and timers of an event loop, so that a test can pass in its own clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None: ...


class Timers(Protocol):
    """See asyncio.AbstractEventLoop, which implements it."""

    def time(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer: ...
