"""When a broken transfer is tried again: exponential back-off with jitter, for as long as the rules
allow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ftransfer.errors import DigestMismatch
from ftransfer.transfer.records import Receipt


class RetryRules(NamedTuple):
    """How long to go on. `tries` counts attempts after the first one without progress (None: any
    number); `quiet_s` is the time in seconds without a new byte after which it ends; waits grow
    from `first_s` to `longest_s`.
    """

    tries: int | None = None
    quiet_s: float = 300.0
    first_s: float = 0.2
    longest_s: float = 15.0


_DOUBLINGS = 60  # no float grows for ever
NO_RETRY = RetryRules(tries=0)


def _roll() -> float:
    import random  # for what is broken only

    return random.random()


class Backoff:
    """The waits between the attempts of one command.

    Args:
        clock: Gives seconds that never go back.
        dice: Gives 0 to 1; the jitter keeps a hundred clients from coming back to a restarted
            server at the same moment.
    """

    def __init__(
        self, rules: RetryRules, clock: Callable[[], float], dice: Callable[[], float] = _roll
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._dice = dice
        self._failures = 0
        self._progress_at = clock()

    def progressed(self) -> None:
        """Say that new bytes have moved: the count of tries and the time begin anew."""
        self._failures = 0
        self._progress_at = self._clock()

    def next_wait_s(self) -> float | None:
        """Give the seconds to wait before the next attempt, or None if there is to be none."""
        rules = self._rules
        if rules.tries is not None and self._failures >= rules.tries:
            return None
        left_s = rules.quiet_s - (self._clock() - self._progress_at)
        if left_s <= 0:
            return None
        wait_s = min(rules.longest_s, rules.first_s * 2.0 ** min(self._failures, _DOUBLINGS))
        self._failures += 1
        return min(left_s, wait_s * (0.5 + self._dice() / 2))


async def restart_once(attempt: Callable[[], Awaitable[Receipt]]) -> Receipt:
    """Run a transfer; run it again, from the start, if it does not verify and went on with a part
    that was kept. That is gone then.

    Raises:
        DigestMismatch: What came from the start, in one go, does not verify either.
    """
    try:
        return await attempt()
    except DigestMismatch as error:
        if not error.kept:
            raise
    return (await attempt())._replace(restarted=True)
