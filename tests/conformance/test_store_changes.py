"""Folders, attributes, moving, removing, and what all of it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    AlreadyThere,
    FolderNotEmpty,
    FtransferError,
    NameRefused,
    NotAFile,
    NotAFolder,
    NotFound,
)
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.storage import listings, views
from ftransfer.storage.base import (
    FOLDER,
    THING_BYTES,
    SmallFile,
    Store,
    UploadSpec,
    Usage,
)
from ftransfer.storage.small_files import write_small
from tests.support.stores import MTIME, get, leave_partial, listing, named, put


async def test_make_folder(store: Store) -> None:
    await store.make_folder(named("a"))
    with pytest.raises(AlreadyThere):
        await store.make_folder(named("a"))
    with pytest.raises(NotFound):
        await store.make_folder(named("x/y"))
    await store.make_folder(named("x/y"), parents=True)
    await store.make_folder(named("x/y"), parents=True)
    assert (await store.stat(named("x/y"))).kind == FOLDER


async def test_make_folder_where_a_file_is(store: Store) -> None:
    await put(store, "f")
    with pytest.raises(AlreadyThere):
        await store.make_folder(named("f"))
    for name in ("f", "f/g"):
        with pytest.raises(NotAFolder):
            await store.make_folder(named(name), parents=True)


async def test_set_attributes(store: Store) -> None:
    await put(store, "f")
    await store.make_folder(named("d"))
    for name in (named("f"), named("d")):
        await store.set_attributes(name, mtime_ns=MTIME + 5, mode=0o4701)
        entry = await store.stat(name)
        assert (entry.mtime_ns, entry.mode) == (MTIME + 5, 0o701)
    with pytest.raises(NotFound):
        await store.set_attributes(named("missing"), mode=0o600)


async def test_attributes_of_the_root_stay_and_no_folder_is_locked(
    store: Store, tmp_path: Path
) -> None:
    await store.make_folder(named("d"))
    await store.set_attributes(named("d"), mode=0)
    assert [
        result for result in await write_small(store, [SmallFile("e", FOLDER, 0, 0o055)]) if result
    ] == []
    assert (await store.stat(named("d"))).mode == 0o700
    assert (await store.stat(named("e"))).mode == 0o755
    before = tmp_path.stat().st_mode
    with pytest.raises(NameRefused, match="root of the share"):
        await store.set_attributes(ROOT, mode=0)
    assert tmp_path.stat().st_mode == before


async def test_rename_moves_files_and_folders(store: Store) -> None:
    await store.make_folder(named("d/e"), parents=True)
    await put(store, "d/e/f", b"deep")
    await store.rename(named("d/e"), named("g"))
    await store.rename(named("g/f"), named("d/h"))
    assert await get(store, "d/h") == b"deep"
    assert [entry.name for entry in await listing(store, recursive=True)] == ["d", "d/h", "g"]


async def test_rename_replaces_only_when_asked(store: Store) -> None:
    await put(store, "a", b"a")
    await put(store, "b", b"b")
    with pytest.raises(AlreadyThere):
        await store.rename(named("a"), named("b"))
    assert await get(store, "b") == b"b"
    await store.rename(named("a"), named("b"), replace=True)
    assert await get(store, "b") == b"a"


@pytest.mark.parametrize("new", ["file", "folder"])
@pytest.mark.parametrize("old", ["file", "folder", ""])
async def test_rename_over_takes_the_place_of_whatever_is_there(
    store: Store, new: str, old: str
) -> None:
    for name, kind in (("t/new", new), ("t/old", old)):
        if kind == "folder":
            await store.make_folder(named(f"{name}/deep"), parents=True)
            await put(store, f"{name}/deep/f", name.encode())
        elif kind:
            await store.make_folder(named("t"), parents=True)
            await put(store, name, name.encode())
    await store.rename(named("t/new"), named("t/old"), over=True)
    below = ["t/old/deep", "t/old/deep/f"] if new == "folder" else []
    assert [entry.name for entry in await listing(store, recursive=True)] == ["t", "t/old", *below]
    assert await get(store, below[-1] if below else "t/old") == b"t/new"


async def test_rename_over_leaves_a_folder_that_holds_what_is_hidden(store: Store) -> None:
    await store.make_folder(named("old/deep"), parents=True)
    await put(store, "old/deep/.secret", b"secret")
    await put(store, "new", b"new")
    view = views.hiding(store, lambda name: name.rpartition("/")[2] == ".secret")
    with pytest.raises(FolderNotEmpty):
        await view.rename(named("new"), named("old"), over=True)
    assert await get(store, "old/deep/.secret") == b"secret" and await get(store, "new") == b"new"


async def test_rename_over_is_for_one_folder_only(store: Store) -> None:
    await store.make_folder(named("d"))
    await put(store, "a", b"a")
    await put(store, "d/a", b"d")
    with pytest.raises(NameRefused):
        await store.rename(named("a"), named("d/a"), over=True)
    with pytest.raises(NotFound):
        await store.rename(named("d/none"), named("d/a"), over=True)
    assert await get(store, "d/a") == b"d"


async def test_rename_refuses_what_makes_no_sense(store: Store) -> None:
    await store.make_folder(named("d/e"), parents=True)
    await store.make_folder(named("empty"))
    await put(store, "f")
    cases: list[tuple[SafeName, SafeName, type[FtransferError]]] = [
        (named("missing"), named("x"), NotFound),
        (named("f"), named("missing/x"), NotFound),
        (named("d"), named("d/e/d"), NameRefused),
        (ROOT, named("x"), NameRefused),
        (named("f"), ROOT, NameRefused),
        (named("f"), named("empty"), NotAFile),
        (named("empty"), named("f"), NotAFolder),
        (named("empty"), named("d"), FolderNotEmpty),
    ]
    for old, new, kind in cases:
        with pytest.raises(kind):
            await store.rename(old, new, replace=True)


async def test_remove(store: Store) -> None:
    await store.make_folder(named("d/e/g"), parents=True)
    await put(store, "d/e/f")
    with pytest.raises(FolderNotEmpty):
        await store.remove(named("d"))
    assert await store.remove(named("d/e/g")) == 1
    assert await store.remove(named("d"), recursive=True) == 3
    assert await listing(store) == []
    with pytest.raises(NotFound):
        await store.remove(named("d"))
    with pytest.raises(NameRefused):
        await store.remove(ROOT, recursive=True)


async def test_usage_counts_files_and_partials(store: Store) -> None:
    before = await listings.usage(store)
    await put(store, "a", b"x" * 1000)
    assert await listings.usage(store) - before == Usage(1000, 1)
    await leave_partial(store, "b", b"1234")
    assert await listings.usage(store) - before == Usage(1004, 2)
    assert (await listings.space(store)).free_bytes > 0


async def test_usage_counts_folders_and_empty_files_with_what_they_take_of_a_disk(
    store: Store,
) -> None:
    await store.make_folder(named("d/e"), parents=True)
    await put(store, "d/e/f", b"")
    assert await listings.usage(store) == Usage(3 * THING_BYTES, 3)
    assert await listings.usage(store, named("d")) == Usage(2 * THING_BYTES, 2)
    assert await listings.usage(store, named("missing")) == Usage()


async def test_root_is_a_folder(store: Store) -> None:
    entry = await store.stat(ROOT)
    assert (entry.name, entry.kind, entry.size) == ("", FOLDER, 0)


async def test_writer_says_whether_something_had_the_name(store: Store) -> None:
    for content, replaced in ((b"one", False), (b"two", True)):
        writer = await store.open_write(parse_name("a"), UploadSpec(size=3))
        await writer.write(content)
        await writer.commit(digest_of(content))
        assert writer.replaced is replaced
