"""Changes of one name that follow each other closely."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.protocol.live import CHANGED, CREATED, MOVED, REMOVED, Change
from ftransfer.service.debouncer import Debouncer
from ftransfer.storage.base import FOLDER
from tests.support.manual_loop import ManualLoop

MERGE_S = 0.25


class Bench:
    """A debouncer, its clock, and what it has passed on."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.passed: list[Change] = []
        self.debouncer = Debouncer(MERGE_S, self.passed.append, self.loop)

    def add(self, *changes: Change) -> None:
        for change in changes:
            self.debouncer.add(change)

    @property
    def whats(self) -> list[tuple[str, str]]:
        return [(change.what, change.name) for change in self.passed]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def sized(what: str, name: str, size: int) -> Change:
    return Change(what, name, size=size)


def test_the_first_change_is_passed_on_at_once(bench: Bench) -> None:
    bench.add(Change(CREATED, "a"))
    assert bench.whats == [(CREATED, "a")]


def test_later_ones_are_merged_into_the_latest_state(bench: Bench) -> None:
    bench.add(*(sized(CHANGED, "a", size) for size in range(5)))
    bench.loop.advance(MERGE_S / 2)
    assert [change.size for change in bench.passed] == [0]
    bench.loop.advance(MERGE_S)
    assert [change.size for change in bench.passed] == [0, 4]


def test_what_was_passed_on_late_is_merged_with_what_follows_it(bench: Bench) -> None:
    bench.add(sized(CHANGED, "a", 0), sized(CHANGED, "a", 1))
    bench.loop.advance(MERGE_S)
    bench.add(sized(CHANGED, "a", 2))
    assert [change.size for change in bench.passed] == [0, 1]
    bench.loop.advance(MERGE_S)
    assert [change.size for change in bench.passed] == [0, 1, 2]


def test_names_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.add(Change(CREATED, "a"), Change(CREATED, "b"), Change(CHANGED, "a"))
    assert bench.whats == [(CREATED, "a"), (CREATED, "b")]


def test_a_file_that_comes_again_is_created_for_those_who_saw_it_removed(bench: Bench) -> None:
    bench.add(Change(REMOVED, "a"), Change(CREATED, "a"), Change(CHANGED, "a"))
    bench.loop.advance(MERGE_S)
    assert bench.whats == [(REMOVED, "a"), (CREATED, "a")]


def test_a_file_that_is_replaced_has_changed_for_those_who_saw_it(bench: Bench) -> None:
    bench.add(Change(CREATED, "a"), Change(REMOVED, "a"), Change(CREATED, "a"))
    bench.loop.advance(MERGE_S)
    assert bench.whats == [(CREATED, "a"), (CHANGED, "a")]


def test_a_file_that_came_and_went_again_is_no_news(bench: Bench) -> None:
    bench.add(Change(REMOVED, "a"), Change(CREATED, "a"), Change(REMOVED, "a"))
    bench.loop.advance(MERGE_S)
    assert bench.whats == [(REMOVED, "a")]


def test_before_a_move_what_waits_under_either_name_goes_first(bench: Bench) -> None:
    bench.add(*(sized(CHANGED, name, size) for name in "ab" for size in (0, 1)))
    bench.add(Change(MOVED, "b", old="a"))
    assert bench.whats[2:] == [(CHANGED, "a"), (CHANGED, "b"), (MOVED, "b")]


def test_before_a_folder_what_waits_in_it_goes_first(bench: Bench) -> None:
    bench.add(Change(CREATED, "d/a"), Change(CHANGED, "d/a"), Change(CREATED, "db"))
    bench.add(Change(CHANGED, "db"), Change(REMOVED, "d", FOLDER))
    assert bench.whats[2:] == [(CHANGED, "d/a"), (REMOVED, "d")]


def test_before_a_file_what_waits_for_a_folder_above_it_goes_first(bench: Bench) -> None:
    bench.add(Change(REMOVED, "d", FOLDER), Change(CREATED, "d", FOLDER), Change(CREATED, "d/e/a"))
    assert bench.whats == [(REMOVED, "d"), (CREATED, "d"), (CREATED, "d/e/a")]


def test_after_stop_nothing_is_passed_on(bench: Bench) -> None:
    bench.add(Change(CREATED, "a"), Change(CHANGED, "a"))
    bench.debouncer.stop()
    bench.loop.advance(10 * MERGE_S)
    assert bench.whats == [(CREATED, "a")] and not bench.loop.timer_count


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "d/a"]), st.booleans(), st.sampled_from([0.0, 0.1, 0.3]))
    )
)
def test_whoever_follows_the_events_ends_with_what_is_there(
    steps: list[tuple[str, bool, float]],
) -> None:
    bench = Bench()
    there: dict[str, int] = {}
    for size, (name, is_removal, pause_s) in enumerate(steps):
        if is_removal:
            if there.pop(name, None) is not None:
                bench.add(Change(REMOVED, name))
        else:
            bench.add(sized(CHANGED if name in there else CREATED, name, size))
            there[name] = size
        bench.loop.advance(pause_s)
    bench.loop.advance(MERGE_S)
    followed: dict[str, int] = {}
    for change in bench.passed:
        if change.what == REMOVED:
            assert followed.pop(change.name, None) is not None
        else:
            assert (change.name in followed) == (change.what == CHANGED)
            followed[change.name] = change.size
    assert followed == there
    bench.loop.advance(MERGE_S)
    assert not bench.loop.timer_count
