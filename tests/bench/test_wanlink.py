"""The link: when packets arrive, and which do not."""

from __future__ import annotations

import random

import pytest

from bench.wanlink import Direction, Line

PACKET = bytes(1500)


def test_a_packet_takes_its_time_on_the_wire_and_half_the_round_trip() -> None:
    direction = Direction(Line(delay_s=0.025, rate=12e6, loss=0), random.Random(1))
    direction.enter(PACKET, now=10.0)
    assert direction.next_at == pytest.approx(10.026)
    assert direction.leave(10.0259) == []
    assert direction.leave(10.0261) == [PACKET] and direction.next_at == float("inf")


def test_packets_queue_behind_one_another_in_order() -> None:
    direction = Direction(Line(delay_s=0, rate=12e6, loss=0), random.Random(1))
    for number in range(3):
        direction.enter(bytes([number]) * 1500, now=0.0)
    assert [packet[0] for packet in direction.leave(0.0021)] == [0, 1]
    assert [packet[0] for packet in direction.leave(0.0031)] == [2]


def test_about_as_many_are_lost_as_wanted() -> None:
    direction = Direction(Line(delay_s=0, rate=1e9, loss=0.01, queue=100_000), random.Random(1))
    for _ in range(10_000):
        direction.enter(b"x", now=0.0)
    assert 70 < direction.dropped < 130 and direction.carried == 10_000


def test_a_full_queue_drops_what_comes_last() -> None:
    direction = Direction(Line(delay_s=0, rate=12e6, loss=0, queue=2), random.Random(1))
    for number in range(3):
        direction.enter(bytes([number]), now=0.0)
    assert direction.dropped == 1 and direction.leave(9.0) == [b"\0", b"\1"]
