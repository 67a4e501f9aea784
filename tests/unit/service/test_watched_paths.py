"""Who is concerned when a folder goes: found without a look at all others."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from ftransfer.auth.permissions import ANYONE
from ftransfer.gateways.native.endpoint import EventFrames
from ftransfer.names import SafeName
from ftransfer.protocol.live import MOVED, REMOVED, Change
from ftransfer.service.subscriptions import ChangeBatch
from ftransfer.service.watched_paths import WatchedPaths

parts = st.sampled_from(["a", "b", "a\x01", "a b", "\u00e4", "\udcff"])
FRAMES = EventFrames()
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)


def is_within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


@given(st.lists(st.tuples(paths, st.integers(0, 3))), paths)
def test_what_is_lost_is_what_lies_in_the_folder(
    watches: list[tuple[str, int]], folder: str
) -> None:
    watched: WatchedPaths[int] = WatchedPaths()
    for path, watcher in watches:
        watched.add(path, watcher)
    lost = {path: set(watchers) for path, watchers in watched.mark_lost(folder)}
    assert lost == {
        path: {who for other, who in watches if other == path}
        for path, _ in watches
        if is_within(path, folder)
    }


def test_a_path_is_lost_once_until_it_is_there_again() -> None:
    watched: WatchedPaths[str] = WatchedPaths()
    watched.add("a/b", "ann")
    assert [path for path, _ in watched.mark_lost("a/b")] == ["a/b"]
    assert list(watched.mark_lost("a")) == []
    watched.mark_found("a/b")
    assert [path for path, _ in watched.mark_lost("a")] == ["a/b"]


def test_who_has_gone_is_told_nothing() -> None:
    watched: WatchedPaths[str] = WatchedPaths()
    for who in ("ann", "bob"):
        for path in ("a", "a/b"):
            watched.add(path, who)
    watched.discard_all("ann")
    watched.discard("a", "bob")
    assert list(watched.mark_lost("a")) == [("a/b", {"bob"})]
    watched.discard_all("bob")
    watched.discard_all("bob")
    assert (
        not watched._keys and not watched._of_key and not watched._of_watcher and not watched._lost
    )


@given(
    st.lists(st.tuples(paths, paths | st.just("")), max_size=8),
    st.lists(paths, min_size=1, max_size=3, unique=True),
)
def test_a_round_is_told_as_if_each_change_were_held_against_each_path(
    moves: list[tuple[str, str]], folders: list[str]
) -> None:
    changes, expected = ChangeBatch(), 0
    for name, old in moves:
        changes.add(Change(MOVED if old else REMOVED, name, "file", old=old))
        expected += any(is_within(one, folder) for one in (name, old) if one for folder in folders)
    events = changes.encoded(FRAMES, ANYONE, [SafeName.trusted(folder) for folder in folders])
    assert sum(each.count for each in events) == expected


def test_thousands_of_folders_under_many_watches_cost_little() -> None:
    watched: WatchedPaths[int] = WatchedPaths()
    names = [f"share/f{number}" for number in range(1600)]
    for number, name in enumerate(names):
        watched.add(name, number)
    began = time.thread_time()
    lost = [path for number in range(3000) for path, _ in watched.mark_lost(f"share/f{number}")]
    changes = ChangeBatch()
    for name in names[:64]:
        changes.add(Change(REMOVED, name, "dir"))
    told = sum(len(changes.encoded(FRAMES, ANYONE, [SafeName.trusted(name)])) for name in names)
    assert sorted(lost) == sorted(names) and told == 64
    assert time.thread_time() - began < 1.0  # one by one, it takes half a minute
