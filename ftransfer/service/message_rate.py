"""How fast one session may send messages: at first as it likes, then slowed, and refused if it goes
on and on. Pure: the clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

from ftransfer.errors import TooFast
from ftransfer.limits import Limits


class MessageRateLimit:
    """Two buckets: messages beyond the small one, which refills faster, wait; with the large one
    empty they are refused.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._slow = _Bucket(limits.say_burst, limits.say_per_s, clock)
        self._refuse = _Bucket(limits.say_most, limits.say_per_s / 4, clock)

    def take(self) -> float:
        """Count one message; return the seconds to wait before it is delivered.

        Raises:
            TooFast: There were too many; this one is not delivered.
        """
        late_s = self._refuse.lateness_s()
        if late_s > 0:
            raise TooFast(f"too many messages; the next one is taken in {max(1, round(late_s))} s")
        self._refuse.take()
        late_s = self._slow.lateness_s()
        self._slow.take()
        return late_s


class _Bucket:
    """Starts with `size` tokens; gains `rate` a second, up to `size`.

    Unlike a bucket of bandwidth (throttle.py) it also answers when the next token comes, without
    taking one.
    """

    def __init__(self, size: int, rate: float, clock: Callable[[], float]) -> None:
        self._size = size
        self._rate = rate
        self._clock = clock
        self._tokens = float(size)
        self._at = clock()

    def lateness_s(self) -> float:
        """Return the seconds until there is a whole token."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (1 - self._tokens) / self._rate)

    def take(self) -> None:
        self._tokens -= 1
