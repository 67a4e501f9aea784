"""When a broken transfer is tried again, and when no more."""

from __future__ import annotations

import itertools

import pytest

from ftransfer.client.retry import NO_RETRY, Backoff, Retries, RetryRules, restart_once
from ftransfer.errors import CannotConnect, Closed, DigestMismatch
from ftransfer.transfer.records import Progress, Receipt


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


# The attempts of one transfer.


def retries(
    rules: RetryRules, progress: list[Progress] | None = None, *, was_connected: bool = True
) -> Retries:
    append = None if progress is None else progress.append
    return Retries("a", rules, append, was_connected=was_connected)


async def test_progress_is_passed_on_and_an_interruption_shown() -> None:
    shown: list[Progress] = []
    attempts = retries(RetryRules(tries=1, first_s=0.0), shown)
    attempts.report(5, 10)
    assert await attempts.wait_after(Closed("lost"))
    assert [(progress.done, progress.total, progress.phase) for progress in shown] == [
        (5, 10, "transfer"),
        (5, 10, "reconnect"),
    ]


async def test_only_new_bytes_begin_the_count_anew() -> None:
    attempts = retries(RetryRules(tries=1, first_s=0.0))
    assert await attempts.wait_after(Closed("lost"))
    attempts.report(5, 10)
    assert await attempts.wait_after(Closed("lost"))
    attempts.report(5, 10)  # what an earlier attempt had is no progress
    assert not await attempts.wait_after(Closed("lost"))


async def test_a_first_connection_that_cannot_be_made_is_not_tried_again() -> None:
    refused = CannotConnect("nobody listens")
    rules = RetryRules(tries=5, first_s=0.0)
    assert not await retries(rules, was_connected=False).wait_after(refused)
    assert await retries(rules).wait_after(refused)
    after_a_loss = retries(rules, was_connected=False)
    assert await after_a_loss.wait_after(Closed("lost"))
    assert await after_a_loss.wait_after(refused)


# Content that does not verify.

RECEIPT = Receipt("a", 1, "d", 0)


async def test_resumed_content_that_does_not_verify_is_transferred_again_once() -> None:
    results: list[DigestMismatch | Receipt] = [DigestMismatch("wrong"), RECEIPT]
    assert isinstance(results[0], DigestMismatch)
    results[0].kept = 5

    async def attempt() -> Receipt:
        result = results.pop(0)
        if isinstance(result, DigestMismatch):
            raise result
        return result

    assert await restart_once(attempt) == RECEIPT._replace(restarted=True)
    assert not results


@pytest.mark.parametrize("kept", [[0], [5, 0], [5, 5]])
async def test_content_from_the_start_that_does_not_verify_is_an_error(kept: list[int]) -> None:
    left = list(kept)

    async def attempt() -> Receipt:
        error = DigestMismatch("wrong")
        error.kept = left.pop(0)
        raise error

    with pytest.raises(DigestMismatch):
        await restart_once(attempt)
    assert not left
