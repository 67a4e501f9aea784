"""How fast a session may speak."""

from __future__ import annotations

import pytest

from ftransfer.errors import TooFast
from ftransfer.limits import Limits
from ftransfer.service.message_rate import MessageRateLimit

LIMITS = Limits(say_burst=2, say_per_s=4.0, say_most=4)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_not_slowed() -> None:
    pace = MessageRateLimit(LIMITS, Clock())
    assert [pace.take(), pace.take()] == [0, 0]


def test_more_than_a_burst_waits_for_its_turn() -> None:
    pace = MessageRateLimit(LIMITS, Clock())
    assert [pace.take() for _ in range(4)] == [0, 0, 0.25, 0.5]


def test_more_than_most_is_refused_until_it_is_quiet() -> None:
    clock = Clock()
    pace = MessageRateLimit(LIMITS, clock)
    for _ in range(4):
        pace.take()
    with pytest.raises(TooFast, match="again in 1 s"):
        pace.take()
    clock.now += 1
    assert pace.take() == 0


def test_who_speaks_slowly_is_never_held_up() -> None:
    clock = Clock()
    pace = MessageRateLimit(LIMITS, clock)
    for _ in range(100):
        assert pace.take() == 0
        clock.now += 1
