"""Which parts the matrix has, in the long form and in the short one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fault.matrix.actions import ACTIONS, Action, List
from tests.fault.matrix.calls import run_calls
from tests.fault.matrix.cancels import run_client_cancels, run_session_cancels
from tests.fault.matrix.cuts import run_cuts, run_slow, run_stalls
from tests.fault.matrix.flips import run_flips
from tests.fault.matrix.jobs import Job
from tests.fault.matrix.kills import run_kills
from tests.fault.matrix.power import FILE_SYSTEMS, run_power_cuts
from tests.fault.matrix.scenes import SCENES
from tests.fault.matrix.table import Row, Tally

_KILLS_IN_A_JOB = 100
# A listing has no content that could be spoiled.
_SPOILED = tuple(kind for kind in ACTIONS if kind is not List)
# Where it makes no difference which connection is looked at.
_WHOLE = tuple(kind for kind in ACTIONS if not kind.faulty)


@dataclass(frozen=True, slots=True)
class Counts:
    """The amount of work: kills of each kind, power cuts, and the share of all points."""

    kills: int
    power_cuts: int
    every_call: int
    every_await: int
    every_cut: int
    every_stall: int
    every_flip: int
    piece_bytes: int


LONG = Counts(
    kills=500,
    power_cuts=50,
    every_call=1,
    every_await=1,
    every_cut=1,
    every_stall=1,
    every_flip=1,
    piece_bytes=1,
)
SHORT = Counts(
    kills=1,
    power_cuts=1,
    every_call=90,
    every_await=8,
    every_cut=90,
    every_stall=25,
    every_flip=130,
    piece_bytes=997,
)


def make_jobs(seed: int, counts: Counts) -> list[Job]:
    """Return all parts, in the order of the rows."""
    jobs = []
    for victim in ("server", "client"):
        for what in SCENES:
            for first in range(0, counts.kills, _KILLS_IN_A_JOB):
                jobs.append(
                    _kill_job(seed, victim, what, first, min(_KILLS_IN_A_JOB, counts.kills - first))
                )
    for kind in ACTIONS:
        jobs.append(_job(kind, "cuts", run_cuts, seed, every=counts.every_cut))
    for kind in ACTIONS:
        jobs.append(_job(kind, "stalls", run_stalls, seed, every=counts.every_stall))
    for kind in ACTIONS:
        jobs.append(_job(kind, "slow", run_slow, seed, piece_bytes=counts.piece_bytes))
    for kind in _SPOILED:
        jobs.append(_job(kind, "flips", run_flips, seed, every=counts.every_flip))
    for kind in _WHOLE:
        jobs.append(_job(kind, "calls", run_calls, seed, every=counts.every_call))
    for kind in _WHOLE:
        jobs.append(_job(kind, "commands", run_client_cancels, seed, every=counts.every_await))
    for kind in ACTIONS:
        jobs.append(_job(kind, "sessions", run_session_cancels, seed, every=counts.every_await))
    jobs += [_power_job(seed, kind, counts.power_cuts) for kind in FILE_SYSTEMS]
    return jobs


def _kill_job(seed: int, victim: str, what: str, first: int, count: int) -> Job:
    def run(place: Path) -> Sequence[Row]:
        return [run_kills(seed, victim, what, first, count, place)]

    return Job(f"kills: {victim} during {what}, from {first}", run)


def _job(
    kind: type[Action],
    group: str,
    part: Callable[..., Coroutine[Any, Any, Tally]],
    seed: int,
    **options: int,
) -> Job:
    def run(place: Path) -> Sequence[Row]:
        return [asyncio.run(part(seed, kind, place, **options))]

    return Job(f"{group}: {kind.label}", run)


def _power_job(seed: int, kind: str, count: int) -> Job:
    def run(place: Path) -> Sequence[Row]:
        return [run_power_cuts(seed, kind, count, place)]

    return Job(f"power: {kind}", run)
