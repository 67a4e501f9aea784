"""What stands above the prompt, and what `mute` keeps away from there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager

from ftransfer.protocol.live import Attendance, LiveEvent, Message, Person
from ftransfer.shell.commands import execute
from ftransfer.shell.live_view import LiveView
from tests.unit.shell.conftest import Screen

ANN = Person(1, "ann", True)


class Source:
    """A client that gives the events which are put into `events`."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[LiveEvent] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[LiveEvent]:
        while True:
            yield await self.events.get()
            self.events.task_done()

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncGenerator[Source, None]:
        yield self

    def listening(self) -> AbstractAsyncContextManager[Source]:
        return self._open()

    def watching(self, path: str = "") -> AbstractAsyncContextManager[Source]:
        return self._open()


async def test_mute_hides_who_comes_and_goes_and_not_what_is_said(screen: Screen) -> None:
    shown: list[str] = []
    source = Source()
    async with LiveView(source, shown.append) as screen.shell.live:
        for line in ("mute", "unmute"):
            await execute(screen.shell, line)
            source.events.put_nowait(Attendance("joined", ANN, 0))
            source.events.put_nowait(Message(ANN, 0, f"while {line}", 1))
            await source.events.join()
    assert [line.partition(" ")[2] for line in shown] == [
        "ann: while mute",
        "* ann joined",
        "ann: while unmute",
    ]
    assert screen.lines == [
        "hiding who joins and leaves; messages are still shown; unmute shows both",
        "showing who joins and leaves",
    ]
