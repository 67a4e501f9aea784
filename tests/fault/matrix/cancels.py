"""Every await of a transfer is cancelled in turn: in the client, and in the server's session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

from ftransfer.client.client import connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.errors import FtransferError
from ftransfer.gateways.native.session import NativeSession
from tests.fault.matrix.actions import Action
from tests.fault.matrix.cuts import GOES_ON
from tests.fault.matrix.judge import Judge
from tests.fault.matrix.lab import footprint, serving
from tests.fault.matrix.table import Tally

_NOT_SEEN_IN_A_ROW = 3


class Cancelled:
    """Awaits a coroutine, and cancels its task at the `fatal`-th wait."""

    def __init__(self, work: Coroutine[Any, Any, Any], fatal: int) -> None:
        self.hit = False
        self._work = work
        self._fatal = fatal

    def __await__(self) -> Generator[Any, Any, Any]:
        work, waits = self._work, 0
        error: BaseException | None = None
        sent: Any = None
        while True:
            try:
                waited_for = work.send(sent) if error is None else work.throw(error)
            except StopIteration as end:
                return end.value
            waits += 1
            if waits == self._fatal:
                self.hit = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            sent = error = None
            try:
                sent = yield waited_for
            except BaseException as thrown:
                error = thrown


async def run_client_cancels(
    seed: int, kind: type[Action], place: Path, *, every: int = 1
) -> Tally:
    """Cancel the command at each of its awaits."""
    return await _at_each_await(
        _cancel_client,
        Tally(f"{kind.label}: command cancelled at each await"),
        kind(place, seed),
        every,
    )


async def _at_each_await(
    cancel: Callable[[Action, Tally, int], Awaitable[bool]],
    tally: Tally,
    action: Action,
    every: int,
) -> Tally:
    """Repeat an action, cancelled at its first await, its second, and so on to the last."""
    await action.build()
    fatal, missed = action.dice.randrange(every), 0
    while missed < _NOT_SEEN_IN_A_ROW:
        is_hit = await cancel(action, tally, fatal)
        missed = 0 if is_hit or not fatal else missed + 1
        fatal += every if is_hit or not fatal else 1
    return tally


async def _cancel_client(action: Action, tally: Tally, fatal: int) -> bool:
    """Cancel at one await; `fatal` 0 is a warm-up. Whether there was such an await."""
    stage = action.stage()
    judge = Judge(action, stage)
    before = await footprint()
    async with serving(stage), connect(*stage.address, retry=NO_RETRY) as client:
        cancelled = Cancelled(action.do(client, stage), fatal)

        async def work() -> None:
            await cancelled

        task = asyncio.create_task(work())
        await asyncio.wait([task])
        if cancelled.hit and not task.cancelled():
            judge.complain(f"the cancellation was swallowed: {task.exception()!r}")
        judge.look()
        await judge.again(client)
        await client.close()
        await stage.all_gone()
    judge.leaks((await footprint()).more_than(before))
    judge.end()
    if cancelled.hit:
        judge.enter(tally, f"await {fatal}", noticed=True)
    stage.clear()
    return cancelled.hit


async def run_session_cancels(
    seed: int, kind: type[Action], place: Path, *, every: int = 1
) -> Tally:
    """Cancel the server's session at each await; the client resumes by itself or is run again."""
    return await _at_each_await(
        _cancel_session,
        Tally(f"{kind.label}: session cancelled at each await"),
        kind(place, seed),
        every,
    )


async def _cancel_session(action: Action, tally: Tally, fatal: int) -> bool:
    stage = action.stage()
    judge = Judge(action, stage)
    before = await footprint()
    sessions: list[Cancelled] = []
    seen = 0
    loop = asyncio.get_running_loop()

    def make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        nonlocal seen
        if getattr(work, "__qualname__", "") == NativeSession.run.__qualname__:
            seen += 1
            if seen == action.faulty + 1:
                sessions.append(Cancelled(work, fatal))
                return asyncio.Task(_await(sessions[0]), loop=loop, **options)
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(make_task)
    try:
        async with serving(stage):
            try:
                async with connect(
                    *stage.address, retry=GOES_ON if fatal % 2 else NO_RETRY
                ) as client:
                    await judge.first(client)
            except FtransferError as error:  # it was cancelled before its greeting
                judge.error = error
                judge.look()
            async with connect(*stage.address, retry=NO_RETRY) as client:
                await judge.again(client)
    finally:
        loop.set_task_factory(None)
    judge.leaks((await footprint()).more_than(before))
    judge.end()
    if sessions[0].hit:
        judge.enter(tally, f"await {fatal}", noticed=True)
    stage.clear()
    return sessions[0].hit


async def _await(work: Cancelled) -> Any:
    return await work
