"""A token bucket at chosen times."""

from __future__ import annotations

import pytest

from ftransfer.service.token_bucket import TokenBucket


def test_what_was_not_used_is_given_back() -> None:
    bucket = TokenBucket(1000.0, burst_s=0.1)
    assert bucket.take(5000, 10.0) == 0.0
    assert bucket.take(1, 10.0) == pytest.approx(4.9)
    bucket.give_back(4000)
    assert bucket.take(1, 10.0) == pytest.approx(0.901)


def test_idle_time_is_not_saved_up() -> None:
    bucket = TokenBucket(1000.0, burst_s=0.1)
    bucket.take(1000, 0.0)
    assert bucket.take(200, 3600.0) == 0.0
    assert bucket.take(1, 3600.0) == pytest.approx(0.1)


def test_a_burst_is_free_and_then_so_much_a_second() -> None:
    bucket = TokenBucket(100.0, burst_s=10)
    bucket.take(1000, 0.0)
    assert bucket.wait_s(0.0) == 0.0
    bucket.take(500, 0.0)
    assert bucket.wait_s(0.0) == pytest.approx(5)
    assert bucket.wait_s(5.0) == 0.0 and bucket.wait_s(5.0, 100) == pytest.approx(1)
    assert not bucket.is_full(14.9) and bucket.is_full(15.0)


def test_the_last_of_a_burst_is_there_whatever_fractions_add_up_to() -> None:
    bucket = TokenBucket(0.3, burst_s=10 / 0.3)
    for _ in range(9):
        bucket.take(1, 123456.789)
    assert bucket.wait_s(123456.789, 1) == 0.0
    bucket.take(1, 123456.789)
    assert bucket.wait_s(123456.789, 1) == pytest.approx(1 / 0.3)


def test_without_a_rate_nothing_waits() -> None:
    bucket = TokenBucket(None, burst_s=0.1)
    assert bucket.take(1 << 40, 0.0) == 0.0 == bucket.wait_s(0.0, 1 << 40)
    bucket.give_back(1)
