"""What a watcher remembers of a folder: trees of any depth."""

from __future__ import annotations

import sys

from ftransfer.protocol.live import REMOVED
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
