"""Whatever a store offers beyond the core says the same as the default that it stands for.

The stores here are folders on disk, which offer everything; beside each stands the same store with
its core alone.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import FolderNotEmpty, FtransferError, StoreFailed, Superseded
from ftransfer.names import ROOT
from ftransfer.storage import listings, small_files, views
from ftransfer.storage.base import FILE, FOLDER, Entry, Reader, SmallFile, Store
from ftransfer.storage.capabilities import (
    reserved_bytes,
    supports_blocking_writes,
    supports_threads,
    takes_parts,
)
from ftransfer.storage.small_files import PackItem
from tests.support.plain_store import PlainStore
from tests.support.stores import (
    LOCAL_STORES,
    MTIME,
    begin,
    core_of,
    get,
    leave_partial,
    named,
    open_store,
    put,
    small,
)

TREE = ["a", "d/b", "d/e/c", "d/e/\u00e9", "d/f", "z"]


@pytest.fixture(params=LOCAL_STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
async def tree(store: Store, tmp_path: Path) -> Path:
    """The folder of the store, with files of several sizes, links and a fifo in it."""
    files = [small(name, name.encode() * 10 * at) for at, name in enumerate(TREE)]
    assert set(await small_files.write_small(store, files)) == {None}
    for link, target in (("to-file", "d/b"), ("to-folder", "d"), ("dead", "nowhere")):
        os.symlink(target, tmp_path / link)
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def as_told(item: PackItem) -> object:
    """Return what two stores must agree about."""
    if isinstance(item, FtransferError):
        return type(item), item.name
    if isinstance(item, SmallFile):
        return item._replace(data=bytes(item.data))
    return item._replace(identity="", ctime_ns=0)


async def test_store_has_every_option_and_its_core_has_none(store: Store) -> None:
    options = (
        "lines usage space open_whole read_small read_tree write_small without_links hiding"
        " on_behalf_of"
    )
    core = core_of(store)
    for option in options.split():
        assert hasattr(store, option) and not hasattr(core, option)
    assert await core.stat(ROOT) == await store.stat(ROOT)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("others", [False, True])
async def test_lines_are_those_of_the_default(store: Store, links: bool, others: bool) -> None:
    for folder in (ROOT, named("d")):
        own, default = [
            [
                line
                async for batch in listings.lines(one, folder, links=links, others=others)
                for line in batch
            ]
            for one in (store, core_of(store))
        ]
        assert own == default and len(own) > 3


async def test_usage_is_that_of_the_default(store: Store, tmp_path: Path) -> None:
    await small_files.write_small(store, [small("a", b"x" * 1000), small("d/e/f"), small("d/g")])
    os.symlink("a", tmp_path / "d/link")
    await leave_partial(store, "p", b"1234")
    for folder in (ROOT, named("d"), named("d/e"), named("missing"), named("a")):
        own = await listings.usage(store, folder)
        assert own == await listings.usage(core_of(store), folder)


async def test_space_has_a_bound_and_that_of_the_default_practically_none(store: Store) -> None:
    own, default = await listings.space(store), await listings.space(core_of(store))
    assert 0 < own.free_bytes < default.free_bytes and default.free_things is None


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("max_bytes", [30, 100, 1 << 20])
async def test_small_files_are_those_of_the_default(store: Store, max_bytes: int) -> None:
    names = [named(name) for name in [*TREE, "to-file", "to-folder", "dead", "d", "no/such"]]
    while names:
        own, default = [
            [as_told(item) for item in await small_files.read_small(one, names, max_bytes)]
            for one in (store, core_of(store))
        ]
        assert own == default and own
        names = names[len(own) :]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("others", [False, True])
async def test_tree_is_that_of_the_default(store: Store, others: bool) -> None:
    own, default = [
        sorted(
            [
                repr(as_told(item))
                async for group in small_files.read_tree(one, ROOT, 100, 4, others=others)
                for item in group
            ]
        )
        for one in (store, core_of(store))
    ]
    assert own == default and len(own) >= len(TREE)


async def test_packs_are_stored_as_by_the_default(store: Store) -> None:
    await put(store, "there", b"old")
    await store.make_folder(named("folder"))
    pack = [
        small("x/f"),
        SmallFile("x", FOLDER, MTIME, 0o750),
        SmallFile("x/y", FOLDER, MTIME, 0o700, if_absent=True),
        small("there", b"new")._replace(if_absent=True),
        small("there/below"),
        small("folder"),
        small("wrong", digest=digest_of(b"else")),
        small("../up"),
        small("\u00e9", mode=0o4600),
    ]
    results = []
    for one in (store, core_of(store)):
        stored = await small_files.write_small(one, pack)
        listed = [entry async for batch in one.scan(ROOT, recursive=True) for entry in batch]
        results.append(
            (
                [type(result) for result in stored],
                [
                    entry if entry.name != "folder" and entry.kind == FILE else entry[:3]
                    for entry in listed
                ],
                (await one.stat(named("x"))).mode,
                (await one.stat(named("x"))).mtime_ns,
            )
        )
        for name in ("x", "\u00e9"):
            await one.remove(named(name), recursive=True)
    assert results[0] == results[1]
    assert await get(store, "there") == b"old"


async def test_file_read_at_once_is_that_of_the_default(store: Store) -> None:
    await put(store, "f", b"0123456789")

    async def told(reader: Reader) -> tuple[Entry, bytes, bytes]:
        try:
            await reader.check()
            return reader.entry, await reader.read(0, 4), await reader.read(4, 100)
        finally:
            await reader.close()

    for max_bytes in (0, 9, 10, 100):
        own, default = [
            await told(await small_files.open_whole(one, named("f"), max_bytes))
            for one in (store, core_of(store))
        ]
        assert own == default


async def test_hidden_names_are_those_of_the_default(store: Store) -> None:
    for name in ("d/.secret/deep", "d/e/f", "d/g", ".secret/h", "i"):
        await small_files.write_small(store, [small(name)])

    def hides(name: str) -> bool:
        return name.rpartition("/")[2] == ".secret"

    listed = []
    for one in (views.hiding(store, hides), views.hiding(core_of(store), hides)):
        listed.append(
            [entry.name async for batch in one.scan(ROOT, recursive=True) for entry in batch]
        )
        with pytest.raises(FolderNotEmpty, match="holds hidden files"):
            await one.remove(named("d"), recursive=True)
        assert [
            entry.name async for batch in store.scan(named("d"), recursive=True) for entry in batch
        ] == ["d/.secret", "d/.secret/deep"]
        with pytest.raises(FolderNotEmpty, match="nothing can replace it"):
            await one.rename(named("i"), named("d"), over=True)
        await small_files.write_small(store, [small("d/e/f"), small("d/g")])
        assert await one.remove(named("d/e"), recursive=True) == 2
        await small_files.write_small(store, [small("d/e/f")])
    assert listed[0] == listed[1] == ["d", "d/e", "d/e/f", "d/g", "i"]


async def test_store_without_links_and_turns_is_its_own_view() -> None:
    plain = PlainStore()
    assert views.without_links(plain) is plain
    assert views.on_behalf_of(plain, "ann") is plain


# Open files.


async def test_reader_for_threads_reads_the_same(store: Store) -> None:
    await put(store, "a", b"0123456789")
    reader = await store.open_read(named("a"))
    file: object = reader
    assert supports_threads(file)
    block = bytearray(4)
    assert file.read_blocking(8, memoryview(block)) == 2 and block[:2] == b"89"
    assert file.read_blocking(10, memoryview(block)) == 0
    await reader.close()
    with pytest.raises(StoreFailed):
        file.read_blocking(0, memoryview(block))


async def test_writer_for_threads_writes_and_reads_the_same(store: Store) -> None:
    writer = await begin(store, "a", size=9)
    await writer.write(b"abc")
    file: object = writer
    assert supports_blocking_writes(file)
    file.write_blocking(memoryview(b"defghi"))
    assert writer.offset == 9
    block = bytearray(4)
    assert file.read_blocking(1, memoryview(block)) == 4 and block == b"bcde"
    assert file.read_blocking(9, memoryview(block)) == 0
    await writer.commit(digest_of(b"abcdefghi"))
    assert await get(store, "a") == b"abcdefghi"


async def test_fenced_writer_writes_nothing_in_threads(store: Store) -> None:
    older = await begin(store, "a")
    await older.write(b"01234")
    newer = await begin(store, "a")
    file: object = older
    assert supports_blocking_writes(file)
    with pytest.raises(Superseded):
        file.write_blocking(memoryview(b"xxxxx"))
    assert newer.offset == 5
    await newer.abort()


async def test_files_of_a_plain_store_offer_nothing() -> None:
    plain = PlainStore()
    writer = await begin(plain, "a", size=3)
    assert not supports_threads(writer) and not supports_blocking_writes(writer)
    assert not takes_parts(writer) and reserved_bytes(writer) == 0
    await writer.write(b"abc")
    await writer.commit(digest_of(b"abc"))
    reader = await plain.open_read(named("a"))
    assert not supports_threads(reader)
    await reader.close()
