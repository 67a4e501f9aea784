"""Flip one bit on the way: of what is not content, all or hundreds; of content, some.

A flip is harmless if the content under the right name is right all the same: it hit a word that
nobody needs, or a key that is then unknown. It must never produce wrong content under any name, nor
any content under a name that nobody meant.
"""

from __future__ import annotations

from pathlib import Path

from tests.fault.matrix.actions import Action
from tests.fault.matrix.content import Dice
from tests.fault.matrix.cuts import QUICK, attempt_over, side_by_side
from tests.fault.matrix.table import Tally
from tests.fault.matrix.wire import record
from tests.support.proxy import Fault, Faults

_CONTROL_FLIPS = 300
_CONTENT_FLIPS = 60


async def run_flips(seed: int, kind: type[Action], place: Path, *, every: int = 1) -> Tally:
    """Flip a random bit of each byte, or of each `every`-th; of long sessions, of a sample."""
    tally = Tally(f"{kind.label}: one bit flipped")
    action = kind(place, seed)
    await action.build()
    recording = await record(action, QUICK)
    flips = []
    for way, stream in (("up", recording.up), ("down", recording.down)):
        inside = [position for part in stream.content for position in part]
        positions = _some(action.dice, stream.control, _CONTROL_FLIPS) + _some(
            action.dice, inside, _CONTENT_FLIPS
        )
        for position in positions:
            fault = Fault(flip_at=position, bit=action.dice.randrange(8))
            flips.append(Faults(up=fault) if way == "up" else Faults(down=fault))
    chosen = flips[action.dice.randrange(every) :: every]
    await side_by_side(
        [attempt_over(action, tally, faults, goes_on=False, limits=QUICK) for faults in chosen]
    )
    return tally


def _some(dice: Dice, positions: list[int], most: int) -> list[int]:
    return positions if len(positions) <= most else dice.sample(positions, most)
