"""Least progress, on a clock that the test moves."""

from __future__ import annotations

import pytest

from ftransfer.errors import TimedOut
from ftransfer.limits import Limits
from ftransfer.transport.stall import StallDetector

LIMITS = Limits(stall_s=60, min_progress_bytes=4096, quiet_s=900)


class Clock:
    now = 500.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def make_clock() -> Clock:
    return Clock()


def run(
    least: StallDetector, clock: Clock, seconds: int, each_second: int, *, is_mid_frame: bool
) -> int:
    """Move so many bytes each second; return after how many seconds it was cut (0: never)."""
    for second in range(1, seconds + 1):
        clock.now += 1
        least.note(each_second)
        try:
            least.check("peer", is_mid_frame=is_mid_frame)
        except TimedOut:
            return second
    return 0


def test_one_byte_a_second_is_cut_after_the_first_window(clock: Clock) -> None:
    assert run(StallDetector(LIMITS, clock), clock, 1000, 1, is_mid_frame=True) == 60


def test_a_slow_but_steady_peer_is_left_alone(clock: Clock) -> None:
    assert run(StallDetector(LIMITS, clock), clock, 5000, 69, is_mid_frame=True) == 0


def test_heartbeats_count_for_a_while_and_not_for_ever(clock: Clock) -> None:
    assert run(StallDetector(LIMITS, clock), clock, 2000, 0, is_mid_frame=False) == 900


def test_real_progress_ends_the_quiet_time(clock: Clock) -> None:
    least = StallDetector(LIMITS, clock)
    for _ in range(5):
        assert run(least, clock, 600, 0, is_mid_frame=False) == 0
        assert run(least, clock, 60, 4096, is_mid_frame=False) == 0


def test_time_in_which_the_peer_was_made_to_wait_is_left_out(clock: Clock) -> None:
    least = StallDetector(LIMITS, clock)
    for _ in range(100):
        clock.now += 59
        least.excuse(58.5)
        least.check("peer", is_mid_frame=True)
        if clock.now > 3000:
            return
    pytest.fail("the clock stood still")


def test_each_transfer_begins_anew(clock: Clock) -> None:
    least = StallDetector(LIMITS, clock)
    clock.now += 3600
    least.begin()
    least.check("peer", is_mid_frame=True)
