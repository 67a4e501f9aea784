"""What is known of a folder, compared with what is there: a store in memory, and no clock."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ftransfer.names import parse_name
from ftransfer.protocol.live import CHANGED, CREATED, REMOVED
from ftransfer.storage.base import FILE, FOLDER, Entry
from ftransfer.storage.memory import MemoryStore
from ftransfer.watch.snapshot import Stamp
from ftransfer.watch.tracker import FolderTracker
from tests.support import stores

FILE_STAMP, FOLDER_STAMP = Stamp(FILE, 1, 1), Stamp(FOLDER, 0, 0)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def tracker(store: MemoryStore) -> FolderTracker:
    return FolderTracker(store)


async def put(store: MemoryStore, name: str, data: bytes = b"content") -> Entry:
    """Store a file, and the folders that it needs."""
    above = parse_name(name).parent
    if not above.is_root:
        await store.make_folder(above, parents=True)
    return await stores.put(store, name, data)


async def compared(
    tracker: FolderTracker, now: Mapping[str, Stamp | None]
) -> list[tuple[str, str]]:
    tracker.begin()
    differences, _ = await tracker.compare(now)
    return [(change.what, change.name) for change in differences.changes()]


async def compared_all(tracker: FolderTracker) -> list[tuple[str, str]]:
    tracker.begin()
    differences = await tracker.compare_all()
    changes = [(change.what, change.name) for change in differences.changes()]
    assert differences.is_empty == (not changes)
    return changes


async def test_what_has_come_changed_and_gone(store: MemoryStore, tracker: FolderTracker) -> None:
    for name in ("a", "b", "c"):
        await put(store, name, name.encode())
    await tracker.load()
    assert await compared_all(tracker) == []
    await put(store, "b", b"longer than before")
    await put(store, "d/e")
    await store.remove(parse_name("c"))
    assert await compared_all(tracker) == [
        (REMOVED, "c"),
        (CREATED, "d"),
        (CREATED, "d/e"),
        (CHANGED, "b"),
    ]
    assert await compared_all(tracker) == []


async def test_a_hint_that_comes_twice_is_one_change(tracker: FolderTracker) -> None:
    assert await compared(tracker, {"a": FILE_STAMP}) == [(CREATED, "a")]
    assert await compared(tracker, {"a": FILE_STAMP}) == []
    assert await compared(tracker, {"a": None}) == [(REMOVED, "a")]
    assert await compared(tracker, {"a": None}) == []


async def test_a_new_folder_is_listed(store: MemoryStore, tracker: FolderTracker) -> None:
    await put(store, "d/e/f")
    found = await compared(tracker, {"d": FOLDER_STAMP})
    assert found == [(CREATED, "d"), (CREATED, "d/e"), (CREATED, "d/e/f")]


async def test_a_new_folder_that_is_gone_again_holds_nothing(tracker: FolderTracker) -> None:
    assert await compared(tracker, {"d": FOLDER_STAMP}) == [(CREATED, "d")]


async def test_what_a_client_has_written_is_no_difference(
    store: MemoryStore, tracker: FolderTracker
) -> None:
    await tracker.load()
    entry = await put(store, "d/e/f")
    assert tracker.note_write(entry) == (False, ["d", "d/e"])
    assert tracker.note_write(entry) == (True, [])
    assert await compared_all(tracker) == []


async def test_what_is_written_during_a_comparison_is_looked_at_again(
    store: MemoryStore, tracker: FolderTracker
) -> None:
    tracker.begin()
    tracker.note_write(await put(store, "a"))
    differences, uncertain = await tracker.compare({"a": None, "b": FILE_STAMP})
    assert uncertain == {"a"}
    assert [change.name for change in differences.changes()] == ["b"]


async def test_muted_names_are_left_out_with_all_below_them(
    store: MemoryStore, tracker: FolderTracker
) -> None:
    await tracker.load()
    muted = tracker.mute(["d/e/f"])
    assert sorted(muted) == ["d", "d/e", "d/e/f"]  # folders that will be made for it as well
    for name in ("a", "d/e/f", "d/x"):
        await put(store, name)
    assert [tracker.is_muted(name) for name in ("d", "d/x", "d/e/f/g", "a", "db")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert await compared_all(tracker) == [(CREATED, "a")]
    tracker.unmute(muted)
    assert len(await compared_all(tracker)) == 4


async def test_who_mutes_a_name_twice_unmutes_it_twice(tracker: FolderTracker) -> None:
    first, second = tracker.mute(["a"]), tracker.mute(["a"])
    tracker.unmute(first)
    assert tracker.is_muted("a")
    tracker.unmute(second)
    assert not tracker.is_muted("a")


async def test_in_a_folder_that_is_there_only_the_name_is_muted(
    store: MemoryStore, tracker: FolderTracker
) -> None:
    await put(store, "d/a")
    await tracker.load()
    assert tracker.mute(["d/b"]) == ["d/b"]
    tracker.clear()
    assert sorted(tracker.mute(["d/b"])) == ["d", "d/b"]
