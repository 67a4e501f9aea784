"""The lock of one connection: for commands, and between them for a reader of events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType


class CommandLock:
    """A lock for commands (`async with lock`).

    A reader uses `async with lock.idle()`, which holds the lock only while no command wants it.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._wanting = 0
        self._free = asyncio.Event()
        self._free.set()
        self.wanted = asyncio.Event()  # a command is waiting: the reader should release the lock

    async def __aenter__(self) -> None:
        self._wanting += 1
        self._free.clear()
        self.wanted.set()
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._wanting -= 1
        if not self._wanting:
            self.wanted.clear()
            self._free.set()

    @contextlib.asynccontextmanager
    async def idle(self) -> AsyncIterator[None]:
        """Hold the lock between commands. The block should end soon after `wanted` is set."""
        while True:
            await self._free.wait()
            async with self._lock:
                if self._wanting:
                    continue  # a command arrived in the meantime
                yield
                return
