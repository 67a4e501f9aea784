"""What is known of names from changes that came together."""

from __future__ import annotations

import pytest

from ftransfer.client.trees.reported_changes import ReportedChanges
from ftransfer.errors import NameRefused
from ftransfer.names import parse_path
from ftransfer.protocol.live import CHANGED, CREATED, MOVED, REMOVED, Change
from ftransfer.storage.base import FILE, FOLDER, LINK


def told(*changes: Change, root: str = "in") -> ReportedChanges:
    return ReportedChanges(parse_path(root), changes)


def moved(old: str, new: str, size: int = 1) -> Change:
    return Change(MOVED, new, FILE, size, old=old)


def test_last_word_about_a_name_counts() -> None:
    found = told(
        Change(CREATED, "in/a", FILE),
        Change(REMOVED, "in/a", FILE),
        Change(REMOVED, "in/b", FILE),
        Change(CREATED, "in/b", FILE),
    )
    assert (list(found.files), list(found.gone), found.is_plain) == (["b"], ["a"], True)


def test_move_is_a_name_that_went_and_one_that_came() -> None:
    found = told(moved("in/d/a", "in/e/b"), Change(CHANGED, "in/e/c", FILE))
    assert (list(found.files), list(found.gone), found.moved) == (["e/b", "e/c"], ["d/a"], [])
    assert list(found.parents()) == ["d", "e"]
    assert [pair[:2] for pair in told(moved("in/a", "in/b", 1 << 30)).moved] == [("a", "b")]


def test_swap_by_moves_leaves_both_names() -> None:
    found = told(moved("in/a", "in/t"), moved("in/b", "in/a"), moved("in/t", "in/b"))
    assert (set(found.files), set(found.gone)) == ({"a", "b"}, {"t"})


def test_move_across_the_edge_counts_on_the_side_that_is_inside() -> None:
    found = told(moved("in/a", "out/a"), moved("out/b", "in/b"))
    assert (list(found.files), list(found.gone), found.moved) == (["b"], ["a"], [])


@pytest.mark.parametrize("name", ["out", "out/in/a", "inner", "i"])
def test_name_that_lies_elsewhere_is_left_out(name: str) -> None:
    found = told(Change(CREATED, name, FILE), Change(REMOVED, name, FILE))
    assert not found.files and not found.gone and not found.is_root_gone


@pytest.mark.parametrize("kind", [FOLDER, LINK])
@pytest.mark.parametrize("what", [CREATED, REMOVED])
def test_all_but_files_wants_a_comparison(kind: str, what: str) -> None:
    assert not told(Change(what, "in/a", kind)).is_plain


def test_folder_itself() -> None:
    assert told(Change(REMOVED, "in", FOLDER)).is_root_gone
    assert not told(Change(REMOVED, "in", FOLDER), Change(CREATED, "in", FOLDER)).is_root_gone
    assert not told(Change(CREATED, "in", FILE)).is_plain


def test_root_of_the_share() -> None:
    found = told(Change(CREATED, "a", FILE), Change(REMOVED, "d/b", FILE), root="")
    assert (list(found.files), list(found.gone), list(found.parents())) == (["a"], ["d/b"], ["d"])


@pytest.mark.parametrize("name", ["../x", "/x", "in/../../x", "in/.ftransfer/x", "in//x"])
def test_name_that_no_share_can_hold_is_refused(name: str) -> None:
    with pytest.raises(NameRefused):
        told(Change(CREATED, name, FILE))
