"""When to retry a transfer: the one place that decides.

A lost connection is retried with exponential back-off and jitter for as long as the rules allow.
Content that does not verify is transferred once more, from the start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ftransfer.errors import (
    Busy,
    CannotConnect,
    ChannelError,
    DigestMismatch,
    FtransferError,
    ServerStopping,
)
from ftransfer.transfer.records import Progress, ProgressCallback, Receipt

# Errors that a new connection may cure. A stopping server may be restarted.
TEMPORARY = (ChannelError, Busy, ServerStopping)

# Called with the bytes in place, and the total size (None: unknown).
Report = Callable[[int, int | None], None]


class RetryRules(NamedTuple):
    """How long to keep retrying.

    `tries` is the number of retries without progress (None: any number). `quiet_s` is the time in
    seconds without a new byte after which retries end. Waits grow from `first_s` to `longest_s`.
    """

    tries: int | None = None
    quiet_s: float = 300.0
    first_s: float = 0.2
    longest_s: float = 15.0


_DOUBLINGS = 60  # keeps the float from overflowing
NO_RETRY = RetryRules(tries=0)


def _roll() -> float:
    import random  # most transfers are not interrupted

    return random.random()


class Backoff:
    """The waits between the attempts of one command.

    Args:
        clock: Returns monotonic seconds.
        dice: Returns 0 to 1; the jitter keeps a hundred clients from returning to a restarted
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
        """Restart the count of tries and the time: new bytes have arrived."""
        self._failures = 0
        self._progress_at = self._clock()

    def next_wait_s(self) -> float | None:
        """Return the seconds to wait before the next attempt, or None for no more attempts."""
        rules = self._rules
        if rules.tries is not None and self._failures >= rules.tries:
            return None
        left_s = rules.quiet_s - (self._clock() - self._progress_at)
        if left_s <= 0:
            return None
        wait_s = min(rules.longest_s, rules.first_s * 2.0 ** min(self._failures, _DOUBLINGS))
        self._failures += 1
        return min(left_s, wait_s * (0.5 + self._dice() / 2))


class Retries:
    """The attempts of one transfer: its progress, and whether another attempt follows.

    Args:
        name: The name under which progress is reported.
        was_connected: Whether there was a connection before. A first connection that fails is not
            retried.
    """

    def __init__(
        self,
        name: str,
        rules: RetryRules,
        progress: ProgressCallback | None,
        *,
        was_connected: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._progress = progress
        self._was_connected = was_connected
        self._backoff = Backoff(rules, clock)
        self._done = 0
        self._total: int | None = None

    def report(self, done: int, total: int | None) -> None:
        """Record and report progress. New bytes restart the count of tries."""
        if done > self._done:
            self._backoff.progressed()
        self._done, self._total = done, total
        self._show("transfer")

    async def wait_after(self, error: FtransferError) -> bool:
        """Wait before the next attempt; return whether there is one."""
        if isinstance(error, CannotConnect) and not self._was_connected:
            return False
        self._was_connected = True
        wait_s = self._backoff.next_wait_s()
        if wait_s is None:
            return False
        self._show("reconnect")
        await asyncio.sleep(wait_s)
        return True

    def _show(self, phase: str) -> None:
        if self._progress is not None:
            self._progress(Progress(self._name, self._done, self._total, phase))


async def restart_once(attempt: Callable[[], Awaitable[Receipt]]) -> Receipt:
    """Run a transfer; if it had resumed and does not verify, run it again from the start.

    The partial that it had resumed is gone by then.

    Raises:
        DigestMismatch: The transfer from the start does not verify either.
    """
    try:
        return await attempt()
    except DigestMismatch as error:
        if not error.kept:
            raise
    return (await attempt())._replace(restarted=True)
