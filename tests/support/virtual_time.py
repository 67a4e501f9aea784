"""An event loop whose clock a test moves: what depends on time gives the same result each time."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")

_ROUND_S = 0.00002  # what a round of a loop takes that has nothing to do


class _VirtualSelector(selectors.SelectSelector):
    """Lets the time pass that the loop takes for a round, or would wait for its next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:  # nothing but a file or another thread can end the wait
            return super().select(None)
        self.now += max(_ROUND_S, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on which time passes by `work`, and while all tasks wait for timers."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def work(self, seconds: float) -> None:
        """Let time pass as if the present task had computed."""
        self._virtual.now += seconds


def work(seconds: float) -> None:
    """Let time pass on the running VirtualLoop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.work(seconds)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a VirtualLoop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
