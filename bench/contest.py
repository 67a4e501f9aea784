"""Run contestants in turn, round by round, so that background load meets all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.measure import Failed, Sample
from bench.results import Row

# The first round fills caches and touches memory; it does not count.
DROPPED = 1
# Who needs longer than this in the first round is not run again, and that run counts: the whole is
# to end within half an hour.
SLOW_S = 5.0
# Rounds that count for those who are there for completeness.
FEW = 2


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do the work of a case."""

    label: str
    work: float  # of one run: bytes, files, requests
    run: Callable[[], Sample]  # the timed part
    check: Callable[[], None]  # raises Failed if the result is wrong
    clean: Callable[[], None]  # removes it
    few: bool = False  # no more than FEW of the rounds


def alternate(
    contestants: Sequence[Contestant],
    rounds: int,
    say: Callable[[str], None] = lambda _: None,
    *,
    dropped: int = DROPPED,
) -> tuple[list[Row], dict[str, str]]:
    """Run all contestants `rounds` times, after `dropped` rounds that do not count.

    Each round begins with another contestant.

    Returns: the rows, in the order of the contestants; and why those failed that have none.
    """
    rows = {contestant.label: Row(contestant.label, contestant.work) for contestant in contestants}
    failed: dict[str, str] = {}
    running = list(contestants)
    for number in range(1 - dropped, rounds + 1):
        running = [
            one for one in running if one.label not in failed and not (one.few and number > FEW)
        ]
        shift = (number - 1 + dropped) % len(running) if running else 0
        for contestant in [*running[shift:], *running[:shift]]:
            say(f"round {number}/{rounds} {contestant.label}")
            try:
                sample = _run_one(contestant)
            except Failed as error:
                failed[contestant.label] = str(error)
                continue
            is_slow = number < 1 and sample.wall_s > SLOW_S
            if number >= 1 or is_slow:
                rows[contestant.label].samples.append(sample)
            if is_slow:
                running.remove(contestant)
    for contestant in contestants:
        contestant.clean()
    return [row for label, row in rows.items() if label not in failed], failed


def _run_one(contestant: Contestant) -> Sample:
    # Removed right before the next run, not right after: a virtual machine gives memory that is
    # free for long back to its host, and the next to touch it would pay for that.
    contestant.clean()
    sample = contestant.run()
    if not sample.was_cut:
        contestant.check()
    return sample
