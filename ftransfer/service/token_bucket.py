"""A token bucket: a burst at once, then a constant rate. Pure: the time is passed in."""

from __future__ import annotations

import math

_ROUNDING_S = 1e-6  # the rounding error of sums of fractions


class TokenBucket:
    """Tokens that refill at `rate` a second, up to `burst_s` seconds' worth.

    Without a rate there is no limit. More may be taken than is there: later callers wait for it.
    """

    def __init__(self, rate: float | None, burst_s: float) -> None:
        self.rate = rate
        self._burst_s = burst_s
        self._paid_until = -math.inf  # the time at which all tokens taken are refilled

    def take(self, count: float, now: float) -> float:
        """Take tokens; return for how many seconds to wait before using them."""
        if self.rate is None:
            return 0.0
        start = max(self._paid_until, now - self._burst_s)
        self._paid_until = start + count / self.rate
        return max(0.0, start - now)

    def give_back(self, count: float) -> None:
        """Return tokens that were taken and not used."""
        if self.rate is not None:
            self._paid_until -= count / self.rate

    def wait_s(self, now: float, count: float = 0.0) -> float:
        """Return the seconds until `count` tokens are there and no debt is left."""
        if self.rate is None:
            return 0.0
        start = max(self._paid_until, now - self._burst_s)
        left_s = start + count / self.rate - now
        return left_s if left_s > _ROUNDING_S else 0.0

    def is_full(self, now: float) -> bool:
        """Return whether all tokens taken are refilled."""
        return self._paid_until <= now - self._burst_s
