"""Cut connections at every boundary of a frame, its header or a line, one byte to either side.

Also stalled and slow ones. Half of the clients fail at once and are run again; the others resume by
themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from ftransfer.client.client import connect
from ftransfer.client.retry import NO_RETRY, RetryRules
from ftransfer.errors import FtransferError
from ftransfer.limits import Limits
from tests.fault.matrix.actions import Action
from tests.fault.matrix.judge import Judge
from tests.fault.matrix.lab import footprint, serving
from tests.fault.matrix.table import Tally
from tests.fault.matrix.wire import Recording, record
from tests.support.proxy import Fault, Faults, Proxy

QUICK = Limits(stall_s=0.6, heartbeat_s=0.15, connect_s=1.0, close_s=0.2, line_s=0.6, idle_s=1.5)
GOES_ON = RetryRules(tries=8, first_s=0.01, longest_s=0.05)
_AT_ONCE = 16  # attempts that wait for a stall side by side


async def run_cuts(seed: int, kind: type[Action], place: Path, *, every: int = 1) -> Tally:
    """Cut at all boundaries, closed and reset, over both transports; or at each `every`-th.

    The first one is then random.
    """
    tally = Tally(f"{kind.label}: connection cut")
    action = kind(place, seed)
    await action.build()
    cuts: list[tuple[Faults, bool]] = []
    for direct in (True, False):
        recording = await record(action, Limits(), direct=direct)
        for way, position in _around_boundaries(recording):
            for reset in (False, True):
                fault = Fault(cut_at=position, reset=reset)
                cuts.append((Faults(up=fault) if way == "up" else Faults(down=fault), direct))
    for number, (faults, direct) in enumerate(cuts[action.dice.randrange(every) :: every]):
        await attempt_over(
            action, tally, faults, goes_on=number % 2 == 0, direct=direct, leaks_count=True
        )
    return tally


async def run_stalls(seed: int, kind: type[Action], place: Path, *, every: int = 1) -> Tally:
    """Stall the connection at the same places; the peers must notice by the clock."""
    tally = Tally(f"{kind.label}: connection stalled")
    action = kind(place, seed)
    await action.build()
    recording = await record(action, QUICK)
    stalls = []
    for way, position in _around_boundaries(recording):
        fault = Fault(stall_at=position)
        stalls.append(Faults(up=fault) if way == "up" else Faults(down=fault))
    await side_by_side(
        [
            attempt_over(action, tally, faults, goes_on=number % 2 == 0, limits=QUICK)
            for number, faults in enumerate(stalls[action.dice.randrange(every) :: every])
        ]
    )
    return tally


async def run_slow(seed: int, kind: type[Action], place: Path, *, piece_bytes: int = 1) -> Tally:
    """Deliver every byte by itself, over both transports; the first attempt must succeed."""
    tally = Tally(f"{kind.label}: one byte at a time")
    action = kind(place, seed)
    await action.build()
    for direct in (True, False):
        slow = Fault(piece_bytes=piece_bytes)
        await attempt_over(action, tally, Faults(slow, slow), goes_on=False, direct=direct)
    if tally.noticed:
        tally.complain("a slow connection was taken for a broken one")
    return tally


def _around_boundaries(recording: Recording) -> Iterator[tuple[str, int]]:
    for way, stream in (("up", recording.up), ("down", recording.down)):
        positions = {end + step for end in (0, *stream.ends) for step in (-1, 0, 1)}
        yield from (
            (way, position) for position in sorted(positions) if 0 <= position < len(stream.data)
        )


async def attempt_over(
    action: Action,
    tally: Tally,
    faults: Faults,
    *,
    goes_on: bool,
    direct: bool = True,
    limits: Limits | None = None,
    leaks_count: bool = False,
) -> None:
    """Do it over a bad connection, then over a good one."""
    stage = action.stage(limits)
    judge = Judge(action, stage)
    before = await footprint() if leaks_count else None
    script = [*[Faults()] * action.faulty, faults]
    # What a connection that helps another one carries is divided anew each time.
    must_strike = not action.faulty
    async with (
        serving(stage, direct=direct),
        Proxy(stage.address, script, must_strike=must_strike) as proxy,
    ):
        rules = GOES_ON if goes_on else NO_RETRY
        try:
            async with connect(
                *proxy.address, retry=rules, limits=stage.limits, direct=direct
            ) as client:
                await judge.first(client)
        except FtransferError as error:  # cut before the greeting
            judge.error = error
            judge.look()
        noticed = len(proxy.passages) > action.connections
        if not goes_on:
            # Else a late session may put down what was left unread, after the repetition has
            # cleared it
            await stage.all_gone()
        async with connect(*stage.address, retry=GOES_ON, direct=direct) as client:
            await judge.again(client)
    if before is not None:
        judge.leaks((await footprint()).more_than(before))
    judge.end()
    judge.enter(tally, f"{faults}, goes_on={goes_on}, direct={direct}", noticed=noticed)
    stage.clear()


async def side_by_side(attempts: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run attempts that mostly wait."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def run(work: Coroutine[Any, Any, None]) -> None:
        async with room:
            await work

    async with asyncio.TaskGroup() as group:
        for work in attempts:
            group.create_task(run(work))
