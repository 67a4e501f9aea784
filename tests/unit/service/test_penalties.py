"""Penalties by source, on a clock that the test moves."""

from __future__ import annotations

import pytest

from ftransfer.service.penalties import Offence, Penalties, Scale, source_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def make_clock() -> Clock:
    return Clock()


def test_one_slip_costs_nothing(clock: Clock) -> None:
    penalties = Penalties(clock)
    for number, offence in enumerate(Offence):
        assert penalties.add(f"192.0.2.{number}", offence) == 0.0


def test_third_failed_login_is_refused_and_each_further_one_for_longer(clock: Clock) -> None:
    penalties = Penalties(clock)
    refused = [penalties.add("192.0.2.1", Offence.LOGIN) for _ in range(6)]
    assert refused[:2] == [0.0, 0.0] and refused[2] == 28.0
    assert refused == sorted(refused) and refused[5] - refused[4] > refused[4] - refused[3]


def test_a_network_is_refused_after_sixteen_times_as_many_offences(clock: Clock) -> None:
    penalties = Penalties(clock)
    count = 0
    while not penalties.left_s("2001:db8:0:ffff::/64"):
        penalties.add(f"2001:db8:0:{count:x}::/64", Offence.LOGIN)
        count += 1
    assert 1.5 * 16 < count <= 3 * 16
    assert penalties.left_s("2001:db8:1::/64") == 0.0


def test_penalty_has_a_longest(clock: Clock) -> None:
    penalties = Penalties(clock)
    assert max(penalties.add("192.0.2.1", Offence.LOGIN) for _ in range(100)) == Scale().max_s


def test_penalty_ends_with_time_but_the_next_one_is_longer(clock: Clock) -> None:
    penalties = Penalties(clock)
    for _ in range(3):
        first = penalties.add("192.0.2.1", Offence.LOGIN)
    clock.now += first
    assert penalties.left_s("192.0.2.1") == 0.0
    assert penalties.add("192.0.2.1", Offence.LOGIN) > first


def test_offences_are_forgotten(clock: Clock) -> None:
    penalties = Penalties(clock)
    for _ in range(5):
        penalties.add("192.0.2.1", Offence.LOGIN)
    clock.now += Scale().forget_s + 1
    assert penalties.left_s("192.0.2.1") == 0.0
    assert penalties.add("192.0.2.1", Offence.LOGIN) == 0.0


def test_sources_do_not_pay_for_one_another(clock: Clock) -> None:
    penalties = Penalties(clock)
    for _ in range(9):
        penalties.add("192.0.2.1", Offence.LOGIN)
    assert penalties.left_s("192.0.2.1") > 0.0 == penalties.left_s("192.0.2.2")


def test_loopback_is_generous_but_not_exempt(clock: Clock) -> None:
    penalties = Penalties(clock)
    offences = 0
    while penalties.add("127.0.0.1", Offence.LOGIN) == 0.0:
        offences += 1
    assert 50 < offences < 100
    for _ in range(1000):
        penalties.add("127.0.0.1", Offence.LOGIN)
    assert penalties.left_s("127.0.0.1") <= 60.0


def test_memory_is_bounded_and_the_quietest_source_is_forgotten_first(clock: Clock) -> None:
    penalties = Penalties(clock, max_sources=3)
    for number in range(5):
        clock.now += 1
        for _ in range(3):
            penalties.add(f"192.0.2.{number}", Offence.LOGIN)
    assert len(penalties) == 3
    assert [number for number in range(5) if penalties.left_s(f"192.0.2.{number}")] == [2, 3, 4]


def test_what_is_over_makes_room_first(clock: Clock) -> None:
    penalties = Penalties(clock, max_sources=2)
    penalties.add("192.0.2.1", Offence.LOGIN)
    penalties.add("192.0.2.2", Offence.LOGIN)
    clock.now += Scale().forget_s + 1
    penalties.add("192.0.2.3", Offence.LOGIN)
    assert len(penalties) == 1


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("local", "local"),
    ],
)
def test_what_counts_as_one_source(host: str, source: str) -> None:
    assert source_of(host) == source
