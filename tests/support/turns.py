"""How long the event loop is held without a turn: in processor time of its own thread, so that a busy machine changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator


class Turns:
    """The longest turn so far, and how many there were."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.count = 0
        self.what = ""  # what had it

    def note(self, spent_s: float, handle: asyncio.Handle) -> None:
        self.count += 1
        if spent_s > self.longest_s:
            self.longest_s, self.what = spent_s, repr(handle)


@contextlib.contextmanager
def measured_turns() -> Iterator[Turns]:
    """Measure each call that the loop makes while the block runs: whoever does not suspend is in one call all the time."""
    turns = Turns()
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        turns.note(time.thread_time() - began, handle)

    asyncio.Handle._run = measured  # type: ignore[method-assign, assignment]
    try:
        yield turns
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]
