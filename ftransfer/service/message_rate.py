"""How fast one session may send messages: first freely, then slowed, then refused.

Pure: the clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

from ftransfer.errors import TooFast
from ftransfer.limits import Limits
from ftransfer.service.token_bucket import TokenBucket


class MessageRateLimit:
    """Slows, then refuses, the messages of a session, by two buckets.

    Messages beyond the small one, which refills faster, wait; when the large one is empty they are
    refused.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slow = _bucket(limits.say_burst, limits.say_per_s)
        self._refuse = _bucket(limits.say_most, limits.say_per_s / 4)

    def take(self) -> float:
        """Count one message; return the seconds to wait before it is delivered.

        Raises:
            TooFast: There were too many; this one is not delivered.
        """
        now = self._clock()
        late_s = self._refuse.wait_s(now, 1)
        if late_s > 0:
            raise TooFast(f"too many messages; try again in {max(1, round(late_s))} s")
        self._refuse.take(1, now)
        late_s = self._slow.wait_s(now, 1)
        self._slow.take(1, now)
        return late_s


def _bucket(size: int, rate: float) -> TokenBucket:
    return TokenBucket(rate, size / rate)
