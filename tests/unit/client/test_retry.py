"""When a broken transfer is tried again, and when no more."""

from __future__ import annotations

import itertools

import pytest

from ftransfer.client.retry import NO_RETRY, Backoff, RetryRules


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def backoff(rules: RetryRules, clock: Clock | None = None, dice: float = 1.0) -> Backoff:
    return Backoff(rules, clock or Clock(), lambda: dice)


def waits(backoff: Backoff, count: int) -> list[float | None]:
    return [backoff.next_wait_s() for _ in range(count)]


def test_waits_double_up_to_the_longest() -> None:
    assert waits(backoff(RetryRules(first_s=1, longest_s=10)), 6) == [1, 2, 4, 8, 10, 10]


def test_jitter_takes_up_to_half_away() -> None:
    assert waits(backoff(RetryRules(first_s=1, longest_s=10), dice=0.0), 3) == [0.5, 1, 2]


def test_tries_are_counted() -> None:
    assert waits(backoff(RetryRules(tries=2, first_s=1)), 3) == [1, 2, None]
    assert waits(backoff(NO_RETRY), 1) == [None]


def test_progress_begins_anew() -> None:
    clock = Clock()
    waiting = backoff(RetryRules(tries=2, first_s=1, quiet_s=100), clock)
    assert waits(waiting, 3) == [1, 2, None]
    clock.now = 99
    waiting.progressed()
    clock.now = 198
    assert waits(waiting, 3) == [1, 1, None]  # the second is cut short by the end of the time


def test_time_without_progress_ends_it() -> None:
    clock = Clock()
    waiting = backoff(RetryRules(first_s=1, quiet_s=300), clock)
    clock.now = 299.5
    assert waiting.next_wait_s() == 0.5
    clock.now = 300
    assert waiting.next_wait_s() is None


def test_default_goes_on_for_five_minutes() -> None:
    clock = Clock()
    waiting = backoff(RetryRules(), clock)
    count = 0
    while (wait_s := waiting.next_wait_s()) is not None:
        clock.now += wait_s
        count += 1
    assert clock.now == pytest.approx(300)
    assert 20 < count < 30


def test_any_number_of_tries_keeps_to_the_longest_wait() -> None:
    waiting = backoff(RetryRules(tries=5000, first_s=1, longest_s=15, quiet_s=float("inf")))
    assert set(waits(waiting, 5000)[10:]) == {15}
    assert waiting.next_wait_s() is None


def test_two_clients_do_not_come_back_at_the_same_moment() -> None:
    rules = RetryRules(first_s=1)
    seen = [tuple(waits(Backoff(rules, Clock()), 5)) for _ in range(3)]
    assert all(one != other for one, other in itertools.combinations(seen, 2))
