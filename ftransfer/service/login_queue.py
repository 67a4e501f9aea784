"""The queue of login checks, each of which takes a core and much memory.

Few run at a time, and sources take turns, so that a source with hundreds of guesses delays only
itself. Within a source, sessions with fewer failures come first, then the latest: a user behind the
same address as a crowd of guessers does not wait for all of them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ftransfer.system.threads import run_job

T = TypeVar("T")

_AT_ONCE = 2  # 64 MiB each, and as many cores as argon2 has lanes

_Waiting = tuple[int, int, "asyncio.Future[None]"]


class LoginQueue:
    """The login checks of one server. Used on the event loop."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._free = at_once
        # No thread starts until there is a job
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="ftransfer-login")
        self._waiting: dict[
            str, list[_Waiting]
        ] = {}  # heaps by source; the next source comes first
        self._count = itertools.count()

    async def run(self, source: str, failures: int, check: Callable[[], T]) -> T:
        """Run a blocking check when it is its turn, and return its result.

        Args:
            failures: How many logins of this session have failed before.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting.setdefault(source, []), (failures, -next(self._count), turn))
        self._start_next()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn came at that moment
                self._end()
            raise
        try:
            return await run_job(self._threads, check)
        finally:
            self._end()

    def _end(self) -> None:
        self._free += 1
        self._start_next()

    def _start_next(self) -> None:
        while self._free and self._waiting:
            source = next(iter(self._waiting))
            waiting = self._waiting.pop(source)
            _, _, turn = heapq.heappop(waiting)
            if waiting:
                self._waiting[source] = waiting  # behind the others
            if not turn.done():  # else its session has ended
                self._free -= 1
                turn.set_result(None)

    def close(self) -> None:
        """Let the threads end when they are idle."""
        self._threads.shutdown(wait=False)
