"""How a store lists folders, flat and recursive."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ftransfer.errors import (
    NotAFolder,
    NotFound,
)
from ftransfer.names import ROOT
from ftransfer.storage import listings
from ftransfer.storage.base import (
    FILE,
    FOLDER,
    LINK,
    Entry,
    Range,
    SmallFile,
    Store,
    lines_of,
)
from ftransfer.storage.small_files import write_small
from tests.support.stores import MTIME, listing, named, put, small


async def test_recursive_listing_is_ordered_and_depth_first(store: Store) -> None:
    for folder in ("b", "a", "a/x", "a.d"):
        await store.make_folder(named(folder))
    for file in ("b/1", "a/x/2", "a/a", "a/z", "c", "a.d/f", "a-", "\u00e9", "\udcff"):
        await put(store, file)
    names = [entry.name for entry in await listing(store, recursive=True)]
    assert names == [
        "a",
        "a/a",
        "a/x",
        "a/x/2",
        "a/z",
        "a-",
        "a.d",
        "a.d/f",
        "b",
        "b/1",
        "c",
        "\u00e9",
        "\udcff",
    ]


async def test_lines_say_the_same_as_a_recursive_listing(store: Store) -> None:
    await store.make_folder(named("d/e"), parents=True)
    await write_small(
        store,
        [
            small(name, b"12345", mode=0o640)
            for name in ("d/f", "d/e/\udcff", "d/e/\u00e9", "d/e.x", "out")
        ],
    )
    await write_small(store, [SmallFile("d/link", LINK, MTIME, 0o777, target="f")])
    for links in (False, True):
        listed = [
            entry
            async for batch in store.scan(named("d"), recursive=True, links=links)
            for entry in batch
        ]
        lines = [
            line async for batch in listings.lines(store, named("d"), links=links) for line in batch
        ]
        assert lines == list(lines_of(listed, named("d")))
    assert f"f\0file 5 {MTIME} 416\0" in lines


async def test_lines_of_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        await anext(listings.lines(store, named("d")))


async def test_listing_within_a_range(store: Store) -> None:
    names = ["a", "a/b", "a/b/c", "a/b/d", "a/e", "a-", "a.d", "a.d/f", "g"]
    for name in ("a/b", "a.d"):
        await store.make_folder(named(f"top/{name}"), parents=True)
    await write_small(
        store, [small(f"top/{name}") for name in ("a/b/c", "a/b/d", "a/e", "a-", "a.d/f", "g")]
    )
    for first, after in enumerate(["", *names]):
        for last, until in enumerate([*names, ""], 1):
            batches = store.scan(named("top"), recursive=True, within=Range(after, until))
            expected = names[first : last if until else None]
            assert [entry.name async for batch in batches for entry in batch] == [
                f"top/{name}" for name in expected
            ]


async def test_bounds_of_a_range_need_not_be_there(store: Store) -> None:
    await write_small(store, [small(name) for name in ("a", "c/x", "c/z", "e")])
    for within, expected in (
        (Range("b", "d"), ["c", "c/x", "c/z"]),
        (Range("c/y", "c/zz"), ["c/z"]),
        (Range("a/x", "c"), ["c"]),
    ):
        batches = store.scan(ROOT, recursive=True, within=within)
        assert [entry.name async for batch in batches for entry in batch] == expected


async def test_flat_listing_gives_one_level_with_names_from_the_root(store: Store) -> None:
    await store.make_folder(named("d/e"), parents=True)
    await put(store, "d/f", b"12345")
    entries = sorted(await listing(store, named("d")), key=lambda entry: entry.name)
    assert [(entry.name, entry.kind, entry.size) for entry in entries] == [
        ("d/e", FOLDER, 0),
        ("d/f", FILE, 5),
    ]
    assert entries[1] == Entry("d/f", FILE, 5, MTIME, 0o640)


async def test_long_listing_comes_in_batches(store: Store) -> None:
    files = [small(f"f{number:04}", b"") for number in range(2500)]
    assert not any(isinstance(result, Exception) for result in await write_small(store, files))
    for recursive in (False, True):
        batches: list[Sequence[Entry]] = [
            batch async for batch in store.scan(ROOT, recursive=recursive)
        ]
        assert len(batches) > 1 and all(batches)
        assert sorted(entry.name for batch in batches for entry in batch) == [
            file.name for file in files
        ]


async def test_listing_given_up_early_closes_its_handles(store: Store) -> None:
    await write_small(store, [small(f"f{number:04}", b"") for number in range(1100)])
    batches = store.scan(ROOT)
    async for _ in batches:
        break
    await batches.aclose()


async def test_listing_of_what_is_no_folder(store: Store) -> None:
    await put(store, "f")
    with pytest.raises(NotAFolder):
        await listing(store, named("f"))
    with pytest.raises(NotFound):
        await listing(store, named("missing"))
