"""Events above the prompt: messages, who joins and leaves, and changes in watched folders."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol

from ftransfer.errors import FtransferError, RequestError
from ftransfer.names import SafeName
from ftransfer.protocol.live import Attendance, Change, LiveEvent
from ftransfer.shell.change_lines import ChangeLines
from ftransfer.shell.formatting import explain
from ftransfer.shell.people import event_line


class Events(Protocol):
    """Events as they arrive (client.live.Inbox)."""

    def __aiter__(self) -> AsyncIterator[LiveEvent]: ...


class EventSource(Protocol):
    """What the view needs of a client."""

    def listening(self) -> AbstractAsyncContextManager[Events]: ...
    def watching(self, path: str = "") -> AbstractAsyncContextManager[Events]: ...


def show_line(text: str) -> None:
    """Write a line above the one that is being typed.

    While the prompt waits, patch_stdout has replaced sys.stdout; while a command runs, it is the
    terminal.
    """
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class LiveView:
    """Shows events, as a context manager."""

    def __init__(self, source: EventSource, show: Callable[[str], None] = show_line) -> None:
        self._source = source
        self._show = show
        self._listening: asyncio.Task[None] | None = None
        self._watching: dict[SafeName, asyncio.Task[None]] = {}
        self.is_muted = False  # whether to hide who joins and leaves

    async def __aenter__(self) -> LiveView:
        with contextlib.suppress(RequestError):  # the server has no live layer
            self._listening = await self._start(self._source.listening())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.unwatch()
        if self._listening is not None:
            await _end(self._listening)

    async def watch(self, folder: SafeName) -> None:
        """Show changes below a folder. Raise FtransferError if the server refuses."""
        if folder not in self._watching:
            self._watching[folder] = await self._start(self._source.watching(str(folder)))

    async def unwatch(self) -> int:
        """Stop showing changes; return how many folders were watched."""
        tasks = list(self._watching.values())
        self._watching.clear()
        for task in tasks:
            await _end(task)
        return len(tasks)

    async def _start(self, events: AbstractAsyncContextManager[Events]) -> asyncio.Task[None]:
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._follow(events, started))
        await started
        return task

    async def _follow(
        self, opening: AbstractAsyncContextManager[Events], started: asyncio.Future[None]
    ) -> None:
        changes = ChangeLines(self._show)
        try:
            async with opening as events:
                started.set_result(None)
                async for event in events:
                    if isinstance(event, Change):
                        changes.add(event)
                    elif not (self.is_muted and isinstance(event, Attendance)):
                        self._show(event_line(event))
        except FtransferError as error:
            if started.done():
                self._show(explain(error))
            else:
                started.set_exception(error)
        finally:
            changes.close()
            if not started.done():
                started.cancel()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
