"""What a watcher remembers of a folder: trees of any depth."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ftransfer.protocol.live import CHANGED, CREATED, MOVED, REMOVED
from ftransfer.storage.base import FILE, FOLDER
from ftransfer.watch.snapshot import Differences, Snapshot, Stamp

DEPTH = sys.getrecursionlimit() + 500


def deep_snapshot() -> tuple[Snapshot, list[str]]:
    snapshot, names = Snapshot(), []
    name = ""
    for _ in range(DEPTH):
        name = f"{name}/d".removeprefix("/")
        snapshot.set(name, Stamp(FOLDER, 0, 0))
        names.append(name)
    return snapshot, names


def test_tree_deeper_than_the_call_stack_is_taken_out_from_the_inside_out() -> None:
    snapshot, names = deep_snapshot()
    assert [name for name, _ in snapshot.pop("d")] == names[::-1]
    assert snapshot.folders() == [""] and list(snapshot.children("")) == []


def test_siblings_are_taken_out_in_the_order_in_which_they_came() -> None:
    snapshot = Snapshot()
    snapshot.set("d", Stamp(FOLDER, 0, 0))
    for name in ("d/b", "d/a", "d/c"):
        snapshot.set(name, Stamp(FILE, 1, 1))
    assert [name for name, _ in snapshot.pop("d")] == ["d/b", "d/a", "d/c", "d"]


def test_deep_tree_that_is_gone_is_told_folder_by_folder() -> None:
    snapshot, names = deep_snapshot()
    differences = Differences()
    differences.update(snapshot, "d", None)
    assert [(change.what, change.name) for change in differences.changes()] == [
        (REMOVED, name) for name in reversed(names)
    ]


def compared(snapshot: Snapshot, now: Mapping[str, Stamp | None]) -> list[tuple[str, str, str]]:
    differences = Differences()
    for name in sorted(now):
        differences.update(snapshot, name, now[name])
    changes = list(differences.changes())
    assert differences.is_empty == (not changes)
    return [(change.what, change.name, change.old) for change in changes]


def snapshot_of(*names: str) -> Snapshot:
    """Make a snapshot of files whose stamps differ, and of folders, whose names end in a slash."""
    snapshot = Snapshot()
    for number, name in enumerate(names):
        is_folder = name.endswith("/")
        stamp = Stamp(FOLDER, 0, 0) if is_folder else Stamp(FILE, number, number)
        snapshot.set(name.rstrip("/"), stamp)
    return snapshot


def test_a_file_with_the_stamp_of_one_that_went_is_that_file() -> None:
    snapshot = snapshot_of("a", "b")
    assert compared(snapshot, {"a": None, "c": Stamp(FILE, 0, 0)}) == [(MOVED, "c", "a")]
    assert snapshot.get("a") is None and snapshot.get("c") == Stamp(FILE, 0, 0)


def test_a_stamp_that_two_have_tells_nothing() -> None:
    snapshot = Snapshot()
    same = Stamp(FILE, 1, 1)
    for name in ("a", "b"):
        snapshot.set(name, same)
    assert compared(snapshot, {"a": None, "b": None, "c": same}) == [
        (REMOVED, "a", ""),
        (REMOVED, "b", ""),
        (CREATED, "c", ""),
    ]


def test_a_file_that_became_a_folder_went_and_came() -> None:
    assert compared(snapshot_of("a"), {"a": Stamp(FOLDER, 0, 0)}) == [
        (REMOVED, "a", ""),
        (CREATED, "a", ""),
    ]


def test_a_folder_takes_what_is_in_it_along() -> None:
    snapshot = snapshot_of("d/", "d/e/", "d/e/f", "x")
    assert compared(snapshot, {"d": None}) == [
        (REMOVED, "d/e/f", ""),
        (REMOVED, "d/e", ""),
        (REMOVED, "d", ""),
    ]
    assert snapshot.folders() == [""] and list(snapshot.children("")) == ["x"]


def test_a_folder_whose_time_alone_is_another_has_not_changed() -> None:
    snapshot = snapshot_of("d/", "a")
    now = {"d": Stamp(FOLDER, 0, 9), "a": Stamp(FILE, 1, 9)}
    assert compared(snapshot, now) == [(CHANGED, "a", "")]


def test_a_name_whose_folder_is_not_known_waits_for_it() -> None:
    snapshot = Snapshot()
    assert compared(snapshot, {"d/a": Stamp(FILE, 1, 1)}) == []
    assert list(snapshot.missing_folders("d/e/a")) == ["d/e", "d"]
    assert list(snapshot.missing_folders("a")) == []
