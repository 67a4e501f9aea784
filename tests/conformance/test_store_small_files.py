"""Many small files at once, by a method of the store or by the default."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    DigestMismatch,
    FtransferError,
    NameRefused,
    NotAFile,
    NotAFolder,
    NotFound,
)
from ftransfer.storage.base import (
    FILE,
    FOLDER,
    Entry,
    SmallFile,
    Store,
)
from ftransfer.storage.small_files import read_small, read_tree, write_small
from tests.support.stores import MTIME, is_error, listing, named, put, small


async def test_tree_is_read_in_groups(store: Store) -> None:
    files = [small(f"t/d{number % 3}/f{number}", bytes([number]) * number) for number in range(20)]
    await write_small(store, [*files, small("t/large", b"x" * 2000), small("other", b"x")])
    items: list[SmallFile | Entry | FtransferError] = []
    contents: dict[str, bytes] = {}
    before: Sequence[SmallFile | Entry | FtransferError] = ()
    async for group in read_tree(store, named("t"), 1000, 8):
        assert len(group) <= 8
        items += group
        # A group holds while the next one is read.
        contents |= {
            item.name: bytes(item.data)
            for item in before
            if isinstance(item, SmallFile) and item.kind == FILE
        }
        before = group
    contents |= {
        item.name: bytes(item.data)
        for item in before
        if isinstance(item, SmallFile) and item.kind == FILE
    }
    assert contents == {file.name: file.data for file in files}
    assert [(item.name, item.size) for item in items if isinstance(item, Entry)] == [
        ("t/large", 2000)
    ]
    order = [item.name for item in items if isinstance(item, (SmallFile, Entry))]
    assert all(
        order.index(name.rpartition("/")[0]) < order.index(name)
        for name in order
        if name.count("/") == 2
    )


async def test_tree_that_is_no_folder_cannot_be_read(store: Store) -> None:
    await put(store, "f")
    for name, error in (("f", NotAFolder), ("missing", NotFound)):
        with pytest.raises(error):
            await anext(read_tree(store, named(name), 1000, 8))


async def test_small_files_go_both_ways(store: Store) -> None:
    files = [small(f"d{number % 3}/f{number}", bytes([number]) * number) for number in range(20)]
    assert list(await write_small(store, files)) == [None] * len(files)
    for file in files:
        entry = await store.stat(named(file.name))
        assert (entry.kind, entry.size, entry.mtime_ns, entry.mode) == (
            FILE,
            len(file.data),
            file.mtime_ns,
            file.mode,
        )
    assert list(await read_small(store, [named(file.name) for file in files], 1 << 20)) == files


async def test_small_file_that_does_not_verify_is_refused_alone(store: Store) -> None:
    results = await write_small(
        store, [small("a"), small("b", digest=digest_of(b"else")), small("c")]
    )
    assert is_error(results[1], DigestMismatch)
    assert [entry.name for entry in await listing(store, recursive=True)] == ["a", "c"]


async def test_small_folders_are_made_with_their_attributes(store: Store) -> None:
    results = await write_small(store, [SmallFile("x/y", FOLDER, MTIME, 0o750), small("x/z/f")])
    assert not any(isinstance(result, Exception) for result in results)
    entry = await store.stat(named("x/y"))
    assert (entry.kind, entry.mtime_ns, entry.mode) == (FOLDER, MTIME, 0o750)
    assert [
        item.kind
        for item in await read_small(store, [named("x/y")], 10)
        if isinstance(item, SmallFile)
    ] == [FOLDER]


async def test_small_errors_do_not_stop_the_others(store: Store) -> None:
    await store.make_folder(named("folder"))
    await put(store, "file")
    results = await write_small(
        store,
        [
            small("../up"),
            small("folder"),
            small("file/below"),
            small("ok"),
            small("", b""),
            small(".ftransfer/x"),
        ],
    )
    assert [type(result) for result in results] == [
        NameRefused,
        NotAFile,
        NotAFolder,
        type(None),
        NameRefused,
        NameRefused,
    ]
    items = await read_small(store, [named("missing"), named("ok"), named("file/below")], 100)
    assert [type(item) for item in items] == [NotFound, SmallFile, NotFound]


async def test_small_link_that_leads_outside_is_refused(store: Store) -> None:
    for target in ("/etc/passwd", "../up", "a/../../up", "", ".ftransfer/partials"):
        results = await write_small(store, [SmallFile("link", "link", MTIME, 0o777, target=target)])
        assert is_error(results[0], NameRefused)


async def test_read_small_stops_when_the_room_is_full(store: Store) -> None:
    await write_small(store, [small(name, name.encode() * 40) for name in "abc"])
    names = [named(name) for name in "abc"]
    assert len(await read_small(store, names, 79)) == 1
    assert len(await read_small(store, names, 80)) == 2
    assert len(await read_small(store, names, 40)) == 1


async def test_read_small_gives_the_entry_of_what_is_too_large(store: Store) -> None:
    await write_small(store, [small("a", b"12345"), small("b", b"1")])
    items = await read_small(store, [named("a"), named("b")], 4)
    assert items[0] == await store.stat(named("a"))
    assert isinstance(items[1], SmallFile)


async def test_no_small_files_at_all(store: Store) -> None:
    assert list(await write_small(store, [])) == []
    assert list(await read_small(store, [], 10)) == []
