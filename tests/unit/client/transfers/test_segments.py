"""How connections share one file: everything once, late segments twice, small ones at the end."""

from __future__ import annotations

import random

from ftransfer.client.transfers.segments import (
    AHEAD_BYTES,
    LEAST_SEGMENT_BYTES,
    SEGMENT_BYTES,
    Segment,
    SegmentLength,
    Segments,
)
from ftransfer.client.transfers.workers import Growth

SIZE = 40 * SEGMENT_BYTES + 5


def _take_all(segments: Segments) -> list[Segment]:
    found = []
    while (segment := segments.take(is_idle=False)) is not None:
        found.append(segment)
    return found


def test_segments_become_smaller_towards_the_end() -> None:
    found = _take_all(Segments(0, SIZE, 8))
    lengths = [segment.length for segment in found]
    assert [segment.offset for segment in found] == [
        sum(lengths[:index]) for index in range(len(lengths))
    ]
    assert sum(lengths) == SIZE
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-2]) == (SEGMENT_BYTES, LEAST_SEGMENT_BYTES)


def test_what_was_there_is_not_taken() -> None:
    assert _take_all(Segments(SIZE - 7, SIZE, 8)) == [Segment(SIZE - 7, 7)]
    empty = Segments(SIZE, SIZE, 8)
    assert empty.is_complete and empty.take(is_idle=True) is None


def test_nobody_goes_too_far_ahead_of_the_first_gap() -> None:
    segments = Segments(0, 3 * AHEAD_BYTES, 1)
    found = _take_all(segments)
    assert sum(segment.length for segment in found if segment.offset) + SEGMENT_BYTES == AHEAD_BYTES
    assert found.count(found[0]) == 2  # somebody helps with it before that
    segments.in_place = SEGMENT_BYTES
    assert segments.complete(found[0])
    assert segments.take(is_idle=False) == found[1]


def test_whoever_is_idle_helps_at_the_end() -> None:
    segments = Segments(0, 10, 2)
    first = segments.take(is_idle=False)
    assert first is not None and segments.take(is_idle=False) is None
    assert segments.take(is_idle=True) == first
    assert segments.take(is_idle=True) is None  # two are enough
    segments.give_back(first)
    assert not segments.is_complete and segments.is_all_taken
    assert segments.complete(first) and segments.is_complete
    assert not segments.complete(first)
    segments.give_back(first)
    assert segments.is_complete


def test_whatever_becomes_of_connections_everything_is_completed_once() -> None:
    dice = random.Random(5)
    segments = Segments(3, SIZE, 4)
    held: list[Segment] = []
    completed: list[Segment] = []
    while not segments.is_complete:
        segment = segments.take(is_idle=dice.random() < 0.5)
        if segment is not None:
            held.append(segment)
        elif not held:
            raise AssertionError("nothing can be taken, and nothing is complete")
        if held and (segment is None or dice.random() < 0.6):
            taken = held.pop(dice.randrange(len(held)))
            if dice.random() < 0.3:
                segments.give_back(taken)
            elif segments.complete(taken):
                completed.append(taken)
    completed.sort()
    assert completed[0].offset == 3
    assert sum(segment.length for segment in completed) == SIZE - 3
    assert all(
        one.offset + one.length == other.offset
        for one, other in zip(completed, completed[1:], strict=False)
    )


def test_slow_workers_take_small_segments() -> None:
    length = SegmentLength()
    length.took(length.bytes, 0.0)
    assert length.bytes == SEGMENT_BYTES
    length.took(SEGMENT_BYTES, 0.5)
    assert length.bytes == SEGMENT_BYTES // 2
    length.took(SEGMENT_BYTES, 1e9)
    assert length.bytes == LEAST_SEGMENT_BYTES
    assert Segments(0, SIZE, 2).take(is_idle=False, at_most=length.bytes) == Segment(
        0, LEAST_SEGMENT_BYTES
    )


def _grows(*rates: float, full: bool = False) -> list[bool]:
    growth = Growth()
    return [growth.wants_more(rate, is_full=full) for rate in rates]


def test_connections_are_added_while_that_brings_more() -> None:
    # Not while the rate still rises by itself
    assert _grows(10, 50, 95, 110, 101) == [
        False,
        False,
        False,
        False,
        True,
    ]
    assert _grows(*[100] * 9) == [False, False, True] + [False] * 6
    assert _grows(100, 100, 100, 190, 200, 200, 390, 400, 400) == [False, False, True] * 3


def test_connections_are_added_when_the_rate_falls_and_not_while_packets_queue() -> None:
    assert _grows(*[100] * 6, 60, 60) == [False, False, True, False, False, False, True, False]
    assert _grows(100, 100, 60, 0, 0, 60, full=True) == [False] * 6
    assert _grows(50, 350, 50, 350, 50, 350)[-1] is False  # acknowledgements come in lumps
