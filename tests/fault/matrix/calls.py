"""Every file call of the storage fails in turn, once with each error, on either side."""

from __future__ import annotations

from pathlib import Path

from ftransfer.client.client import connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.storage.local import LocalStore
from tests.fault.matrix.actions import Action
from tests.fault.matrix.judge import Judge
from tests.fault.matrix.lab import Stage, footprint, serving
from tests.fault.matrix.table import Tally
from tests.support.sabotage import ERRORS, SHORT, Sabotage

_NOT_SEEN_IN_A_ROW = 3  # the number of calls varies by a few, since threads come in any order


async def run_calls(seed: int, kind: type[Action], place: Path, *, every: int = 1) -> Tally:
    """Fail each call of an action (or each `every`-th, from a random one on)."""
    tally = Tally(f"{kind.label}: each file call fails")
    action = kind(place, seed)
    await action.build()
    sabotage = Sabotage()
    with sabotage.installed():
        await _attempt(tally, action, sabotage, 0, 0, "warm-up")
        for error, number in ERRORS.items():
            fatal, missed, struck = 1 + action.dice.randrange(every), 0, False
            while missed < _NOT_SEEN_IN_A_ROW:
                is_hit = await _attempt(tally, action, sabotage, fatal, number, error)
                missed = 0 if is_hit else missed + 1
                struck |= is_hit
                fatal += every if is_hit else 1
            if not struck:  # it makes fewer calls than were left out
                struck = await _attempt(tally, action, sabotage, 1, number, error)
            assert struck or number == SHORT, f"{error} has struck no call of {action.label}"
    return tally


async def _attempt(
    tally: Tally, action: Action, sabotage: Sabotage, fatal: int, number: int, error: str
) -> bool:
    """Do it with one call failing, then without; whether there was such a call."""
    stage = action.stage()
    judge = Judge(action, stage)
    before = await footprint()
    async with serving(stage):
        async with connect(*stage.address, retry=NO_RETRY) as client:
            with sabotage.trying(fatal, number):
                await judge.first(client)
            await judge.again(client)
    await _sweep(stage)
    judge.leaks((await footprint()).more_than(before))
    judge.end()
    if sabotage.hit:
        judge.enter(tally, f"{error} in call {fatal}, {sabotage.hit}")
    stage.clear()
    return bool(sabotage.hit)


async def _sweep(stage: Stage) -> None:
    """Start and stop once more, to remove what the failing call left behind."""
    for ledger in (stage.share, stage.local):
        await (await LocalStore.open(ledger.root)).close()
