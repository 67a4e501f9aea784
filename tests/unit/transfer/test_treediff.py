"""The comparison of two listings: the actions, applied to the one, must give the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.names import sort_key
from ftransfer.storage.base import DEAD_LINK, FILE, FOLDER, FOLDER_LINK, LINK, OTHER, SPECIAL, Entry
from ftransfer.transfer.tree_actions import Action, ActionKind, Rules
from ftransfer.transfer.treediff import Comparison


def file(name: str, size: int = 1, mtime_ns: int = 1, mode: int = 0o644) -> Entry:
    return Entry(name, FILE, size, mtime_ns, mode)


def folder(name: str, mtime_ns: int = 1) -> Entry:
    return Entry(name, FOLDER, 0, mtime_ns, 0o755)


def link(name: str, target: str) -> Entry:
    return Entry(name, LINK, 0, 1, 0o777, target=target)


async def compare(
    source: Sequence[Entry], there: Sequence[Entry], rules: Rules | None = None
) -> list[tuple[str, str]]:
    return [
        (action.kind.value, action.entry.name) for action in await actions(source, there, rules)
    ]


async def actions(
    source: Sequence[Entry], there: Sequence[Entry], rules: Rules | None = None
) -> list[Action]:
    comparison = Comparison(rules or Rules())
    return await in_range(comparison, source, there) + [*comparison.finish()]


async def in_range(
    comparison: Comparison, source: Sequence[Entry], there: Sequence[Entry], batch: int = 2
) -> list[Action]:
    steps = comparison.actions(batches(source, batch), batches(there, batch + 1))
    return [action async for step in steps for action in step]


async def batches(entries: Sequence[Entry], size: int) -> AsyncIterator[Sequence[Entry]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


async def test_equal_trees_need_nothing() -> None:
    tree = [folder("a"), file("a/x"), file("b")]
    comparison = Comparison(Rules())
    assert await in_range(comparison, tree, tree) + [*comparison.finish()] == []
    assert comparison.unchanged == 3


async def test_folders_above_a_range_are_counted_once_and_set_if_something_in_them_changes() -> (
    None
):
    above = [folder("a"), folder("a/b")]
    comparison = Comparison(Rules())
    assert comparison.resume(above) == []
    (step,) = await in_range(comparison, [file("a/b/x", 2)], [file("a/b/x", 1)])
    assert (step.kind, step.entry.name) == (ActionKind.COPY, "a/b/x")
    assert [action.entry.name for action in comparison.resume([folder("a"), folder("a/c")])] == [
        "a/b"
    ]
    assert await in_range(comparison, [file("a/c/y")], [file("a/c/y")]) == []
    assert comparison.finish() == []
    # One file. Of the folders two are unchanged and one is not; they had been counted as unchanged
    # with their range, three in all.
    assert comparison.unchanged == 1 - 1


async def test_folder_is_set_after_its_content() -> None:
    assert await compare([folder("a"), file("a/x"), folder("a/y"), file("b")], []) == [
        ("copy", "a/x"),
        ("folder", "a/y"),
        ("folder", "a"),
        ("copy", "b"),
    ]


async def test_folder_in_which_something_changes_gets_its_mtime_again() -> None:
    assert await compare([folder("a"), file("a/x", 2)], [folder("a"), file("a/x", 1)]) == [
        ("copy", "a/x"),
        ("folder", "a"),
    ]


async def test_mtime_or_mode_alone_makes_a_difference() -> None:
    assert await compare([file("a", mtime_ns=2)], [file("a")]) == [("copy", "a")]
    assert await compare([file("a", mode=0o600)], [file("a")]) == [("set", "a")]


async def test_checksum_compares_files_of_one_size_only() -> None:
    rules = Rules(checksum=True)
    assert await compare([file("a"), file("b", 2)], [file("a"), file("b")], rules) == [
        ("compare", "a"),
        ("copy", "b"),
    ]


async def test_nothing_is_removed_unless_asked() -> None:
    there = [folder("a"), file("a/x"), file("b")]
    assert await compare([], there) == []
    assert await compare([], there, Rules(delete=True)) == [
        ("enter", "a"),
        ("remove", "a/x"),
        ("remove tree", "a"),
        ("remove", "b"),
    ]


async def test_folder_that_may_hold_what_takes_no_part_is_removed_piece_by_piece() -> None:
    rules = Rules(delete=True, wanted=lambda name, is_folder: True)
    there = [folder("a"), file("a/x"), file("b")]
    assert await compare([], there, rules) == [
        ("enter", "a"),
        ("remove", "a/x"),
        ("remove", "a"),
        ("remove", "b"),
    ]


async def test_file_in_place_of_a_folder() -> None:
    there = [folder("a"), file("a/x"), file("a/y"), file("b")]
    assert await compare([file("a"), file("b")], there, Rules(delete=True)) == [("stage", "a")]
    assert await compare([file("a"), file("b")], there) == [("refuse", "a")]


async def test_folder_in_place_of_a_file() -> None:
    assert await compare([folder("a"), file("a/x")], [file("a")]) == [("stage", "a")]


async def test_links_are_compared_by_their_targets() -> None:
    assert await compare([link("a", "x")], [link("a", "x")]) == []
    assert await compare([link("a", "x")], [link("a", "y")]) == [("link", "a")]
    assert await compare([link("a", "x")], [file("a")]) == [("link", "a")]


async def test_what_is_not_wanted_is_neither_copied_nor_removed() -> None:
    rules = Rules(delete=True, wanted=lambda name, is_folder: not name.endswith(".tmp"))
    assert await compare([file("a.tmp"), file("b")], [file("c.tmp"), file("d")], rules) == [
        ("copy", "b"),
        ("remove", "d"),
    ]


def test_order_is_by_parts_not_by_text() -> None:
    names = ["a", "a/b", "a.b", "a.b/c", "b", "é", "\udcff"]
    assert sorted(names, key=sort_key) == names


trees = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "a.b", "é"]), min_size=1, max_size=3).map("/".join),
    st.tuples(st.sampled_from([FILE, FOLDER]), st.integers(0, 2)),
    max_size=8,
)


def listing(tree: dict[str, tuple[str, int]]) -> list[Entry]:
    """Make a listing that could be one: whatever has something below it is a folder."""
    entries: dict[str, Entry] = {}
    for name, (kind, size) in tree.items():
        parts = name.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            entries[above] = folder(above)
        if name not in entries:
            entries[name] = folder(name) if kind == FOLDER else file(name, size)
    return sorted(entries.values(), key=lambda entry: sort_key(entry.name))


@given(trees, trees)
@pytest.mark.parametrize("delete", [True, False])
def test_actions_make_the_one_like_the_other(
    delete: bool, source: dict[str, tuple[str, int]], there: dict[str, tuple[str, int]]
) -> None:
    import asyncio

    wanted = listing(source)
    result = {entry.name: entry for entry in listing(there)}
    refused: list[str] = []
    for action in asyncio.run(actions(wanted, listing(there), Rules(delete=delete))):
        name = action.entry.name
        match action.kind:
            case ActionKind.REMOVE:
                assert not is_any_below(name, result), "a folder goes after its content"
                del result[name]
            case ActionKind.REMOVE_TREE:
                assert not is_any_below(name, result), "what is in it has been named"
                del result[name]
            case ActionKind.STAGE:
                result = {
                    other: entry for other, entry in result.items() if not is_within(other, name)
                } | {entry.name: entry for entry in wanted if is_within(entry.name, name)}
            case ActionKind.REFUSE:
                assert not delete and result[name].kind == FOLDER
                refused.append(name)
            case ActionKind.COPY | ActionKind.FOLDER:
                assert name not in result or result[name].kind == action.entry.kind
                result[name] = action.entry
            case ActionKind.ENTER:
                assert result[name].kind == FOLDER
            case _:
                raise AssertionError(action)
    if delete:
        assert result == {entry.name: entry for entry in wanted}
    else:
        assert {
            entry.name: entry for entry in wanted if entry.name not in refused
        }.items() <= result.items()


def is_within(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + "/")


def is_any_below(name: str, tree: dict[str, Entry]) -> bool:
    return any(other.startswith(name + "/") for other in tree)


def other(name: str, why: str = SPECIAL) -> Entry:
    return Entry(name, OTHER, 0, 0, 0, why=why)


def unread(name: str) -> Entry:
    return folder(name)._replace(unreadable=True)


async def test_what_the_source_cannot_show_protects_its_name() -> None:
    there = [folder("a"), file("a/x"), file("b"), folder("c"), file("c/x")]
    source = [other("a", DEAD_LINK), other("b"), unread("c")]
    assert await compare(source, there, Rules(delete=True)) == [
        ("leave out", "a"),
        ("leave out", "b"),
        ("unread", "c"),
    ]


@pytest.mark.parametrize("kept", [unread("d/e/k"), other("d/e/k"), file("d/e/k.tmp")])
async def test_folder_that_holds_what_must_stay_stays(kept: Entry) -> None:
    rules = Rules(delete=True, wanted=lambda name, is_folder: not name.endswith(".tmp"))
    there = [folder("d"), file("d/a"), folder("d/e"), file("d/e/b"), kept, folder("d/f")]
    assert await compare([], there, rules) == [
        ("enter", "d"),
        ("remove", "d/a"),
        ("enter", "d/e"),
        ("remove", "d/e/b"),
        ("keep", "d/e"),
        ("enter", "d/f"),
        ("remove", "d/f"),
        ("keep", "d"),
    ]


@pytest.mark.parametrize("kept", [unread("d/k"), other("d/k"), file("d/k.tmp")])
async def test_folder_that_holds_what_must_stay_makes_no_way(kept: Entry) -> None:
    rules = Rules(delete=True, wanted=lambda name, is_folder: not name.endswith(".tmp"))
    assert await compare([file("d")], [folder("d"), file("d/a"), kept], rules) == [("refuse", "d")]


async def test_things_that_go_with_a_folder_are_counted() -> None:
    there = [folder("d"), file("d/a"), folder("d/e"), file("d/e/b"), file("d/f")]
    assert [
        action.things
        for action in await actions([], there, Rules(delete=True))
        if action.entry.name == "d"
    ] == [0, 5]
    assert [action.things for action in await actions([file("d")], there, Rules(delete=True))] == [
        5
    ]


@pytest.mark.parametrize("why", [FOLDER_LINK, SPECIAL, DEAD_LINK])
async def test_nothing_is_made_through_what_the_destination_has_in_the_way(why: str) -> None:
    source = [folder("d"), file("d/x"), file("e")]
    assert await compare(source, [other("d", why)], Rules(delete=True)) == [
        ("refuse", "d"),
        ("copy", "e"),
    ]


async def test_link_that_leads_nowhere_makes_way_for_a_file() -> None:
    assert await compare([file("d")], [other("d", DEAD_LINK)]) == [("stage", "d")]
    assert await compare([file("d")], [other("d", FOLDER_LINK)]) == [("refuse", "d")]


async def test_folder_is_set_only_if_a_compared_file_in_it_is_copied() -> None:
    tree = [folder("a"), file("a/x")]
    assert await compare(tree, tree, Rules(checksum=True)) == [
        ("compare", "a/x"),
        ("folder if copied", "a"),
    ]
    assert await compare([folder("a"), file("a/x", mtime_ns=2)], tree, Rules(checksum=True)) == [
        ("compare and set", "a/x"),
        ("folder if copied", "a"),
    ]


async def test_folder_that_its_owner_may_not_change_is_unlocked_first() -> None:
    there = [folder("a")._replace(mode=0o555), file("a/x"), file("a/y")]
    steps = await compare([folder("a")._replace(mode=0o555), file("a/x", 2), file("a/y", 2)], there)
    assert steps == [("unlock", "a"), ("copy", "a/x"), ("copy", "a/y"), ("folder", "a")]


async def test_owner_bits_of_a_folder_make_no_difference() -> None:
    """A store keeps them, so that they would differ for ever."""
    assert (
        await compare([folder("a")._replace(mode=0o555)], [folder("a")._replace(mode=0o755)]) == []
    )


async def test_times_before_those_of_32_bits_are_the_same() -> None:
    assert (
        await compare([file("a", mtime_ns=-(2**62))], [file("a", mtime_ns=-(2**31) * 10**9)]) == []
    )
    assert await compare(
        [file("a", mtime_ns=-(2**30) * 10**9)], [file("a", mtime_ns=-(2**31) * 10**9)]
    ) == [("copy", "a")]
