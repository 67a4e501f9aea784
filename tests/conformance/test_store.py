"""One suite for every back end: what the layers above may rely on, whatever a share is kept in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    AlreadyThere,
    ChangedMeanwhile,
    DigestMismatch,
    FolderNotEmpty,
    FtransferError,
    LocalProtocolError,
    NameRefused,
    NotAFile,
    NotAFolder,
    NotFound,
    ShareError,
    SourceChanged,
    StoreFailed,
    Superseded,
    Truncated,
)
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.storage.base import (
    FILE,
    FOLDER,
    LINK,
    THING_BYTES,
    Entry,
    Range,
    SmallFile,
    Store,
    UploadSpec,
    Usage,
    Writer,
    lines_of,
)
from ftransfer.storage.local import LocalStore
from ftransfer.storage.memory import MemoryStore

MTIME = 1_700_000_000_123_456_789
SOURCE = "laptop:/home/a/f:1:2:3"


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


async def make_store(kind: str, folder: Path) -> Store:
    match kind:
        case "memory":
            return MemoryStore()
        case "openat2":
            try:
                return await LocalStore.open(folder, resolver="openat2")
            except StoreFailed:
                pytest.skip("this kernel has no openat2")
        case _:
            return await LocalStore.open(folder, resolver="walk")


@pytest.fixture(params=["memory", "openat2", "walk"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    before = open_descriptors()
    opened = await make_store(request.param, tmp_path)
    yield opened
    await opened.close()
    assert open_descriptors() == before, "descriptors have leaked"


def named(text: str) -> SafeName:
    return parse_name(text)


def small(
    name: str,
    data: bytes = b"content",
    *,
    mtime_ns: int = MTIME,
    mode: int = 0o644,
    digest: str = "",
) -> SmallFile:
    return SmallFile(name, FILE, mtime_ns, mode, data, digest or digest_of(data))


async def put(store: Store, name: str, data: bytes = b"content") -> Entry:
    writer = await store.open_write(
        named(name), UploadSpec(size=len(data), mtime_ns=MTIME, mode=0o640)
    )
    await writer.write(data)
    return await writer.commit(digest_of(data))


async def get(store: Store, name: str) -> bytes:
    reader = await store.open_read(named(name))
    try:
        return await reader.read(0, 1 << 20)
    finally:
        await reader.close()


async def listing(store: Store, folder: SafeName = ROOT, *, recursive: bool = False) -> list[Entry]:
    return [entry async for batch in store.scan(folder, recursive=recursive) for entry in batch]


async def begin(
    store: Store, name: str, source: str = SOURCE, *, size: int | None = 10, owner: str = "ann"
) -> Writer:
    return await store.open_write(named(name), UploadSpec(size=size, source=source, owner=owner))


async def leave_partial(
    store: Store, name: str, data: bytes, source: str = SOURCE, *, owner: str = "ann"
) -> None:
    writer = await begin(store, name, source, owner=owner)
    await writer.write(data)
    await writer.suspend()


def is_error(result: object, kind: type[FtransferError]) -> bool:
    return type(result) is kind


# Files: put, get, stat.


async def test_put_gives_what_get_reads(store: Store) -> None:
    entry = await put(store, "a.bin", b"hello")
    assert (entry.name, entry.kind, entry.size, entry.mtime_ns, entry.mode) == (
        "a.bin",
        FILE,
        5,
        MTIME,
        0o640,
    )
    assert await get(store, "a.bin") == b"hello"
    assert await store.stat(named("a.bin")) == entry


async def test_identity_stays_until_the_content_changes(store: Store) -> None:
    first = await put(store, "a", b"one")
    assert first.identity == (await store.stat(named("a"))).identity
    assert first.identity != (await put(store, "a", b"two")).identity


async def test_nothing_is_seen_before_commit(store: Store) -> None:
    await put(store, "a", b"old")
    writer = await begin(store, "a", size=3)
    await writer.write(b"new")
    assert await get(store, "a") == b"old"
    assert [entry.name for entry in await listing(store, recursive=True)] == ["a"]
    await writer.commit(digest_of(b"new"))
    assert await get(store, "a") == b"new"


@pytest.mark.parametrize("name", ["missing", "missing/below", "file/below"])
async def test_what_is_not_there_is_not_found(store: Store, name: str) -> None:
    await put(store, "file")
    with pytest.raises(NotFound):
        await store.stat(named(name))
    with pytest.raises(NotFound):
        await store.open_read(named(name))


async def test_a_folder_cannot_be_read_or_written_as_a_file(store: Store) -> None:
    await store.make_folder(named("d"))
    with pytest.raises(NotAFile):
        await store.open_read(named("d"))
    for name in (named("d"), ROOT):
        with pytest.raises(NotAFile):
            await store.open_write(name, UploadSpec(size=1))


async def test_put_into_a_missing_folder_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await begin(store, "missing/a")


async def test_put_below_a_file_is_refused(store: Store) -> None:
    await put(store, "f")
    with pytest.raises(ShareError):
        await begin(store, "f/a")


async def test_put_onto_a_folder_that_came_meanwhile(store: Store) -> None:
    writer = await begin(store, "a", size=0)
    await store.make_folder(named("a"))
    with pytest.raises(NotAFile):
        await writer.commit(digest_of(b""))
    await writer.abort()
    assert (await store.stat(named("a"))).kind == FOLDER


async def test_abort_leaves_nothing(store: Store) -> None:
    writer = await begin(store, "a")
    await writer.write(b"abc")
    await writer.abort()
    await writer.abort()
    assert await listing(store) == []
    assert list(await store.partials()) == []
    assert await store.usage() == Usage()


async def test_fewer_bytes_than_announced_are_not_published(store: Store) -> None:
    writer = await begin(store, "a", size=4)
    await writer.write(b"abc")
    with pytest.raises(Truncated) as caught:
        await writer.commit(digest_of(b"abc"))
    assert (caught.value.expected, caught.value.actual) == (4, 3)
    await writer.write(b"d")  # it is not too late
    await writer.commit(digest_of(b"abcd"))
    assert await get(store, "a") == b"abcd"


async def test_more_bytes_than_announced_are_refused_at_once(store: Store) -> None:
    writer = await begin(store, "a", size=4)
    await writer.write(b"abc")
    with pytest.raises(Truncated):
        await writer.write(b"de")
    assert writer.offset == 3
    await writer.abort()


async def test_size_not_announced(store: Store) -> None:
    writer = await begin(store, "a", size=None)
    await writer.write(b"abc")
    assert (await writer.commit(digest_of(b"abc"))).size == 3


async def test_empty_file(store: Store) -> None:
    await put(store, "empty", b"")
    assert await get(store, "empty") == b""


async def test_writer_takes_any_buffer_and_reads_back(store: Store) -> None:
    writer = await begin(store, "a", size=9)
    await writer.write(bytearray(b"abc"))
    await writer.write(memoryview(b"def"))
    writer.write_blocking(memoryview(b"ghi"))
    assert writer.offset == 9
    assert await writer.read(2, 3) == b"cde"
    assert await writer.read(7, 100) == b"hi"
    assert await writer.read(9, 1) == b""
    block = bytearray(4)
    assert writer.read_blocking(1, memoryview(block)) == 4 and block == b"bcde"
    assert writer.read_blocking(9, memoryview(block)) == 0
    await writer.commit(digest_of(b"abcdefghi"))
    assert await get(store, "a") == b"abcdefghi"


@pytest.mark.parametrize("whole_bytes", [0, 9, 10, 11])
async def test_reader_reads_from_any_offset(store: Store, whole_bytes: int) -> None:
    await put(store, "a", b"0123456789")
    reader = await store.open_read(named("a"), whole_bytes=whole_bytes)
    await reader.check()
    assert [
        await reader.read(4, 3),
        await reader.read(7, 9),
        await reader.read(0, 2),
        await reader.read(10, 1),
    ] == [
        b"456",
        b"789",
        b"01",
        b"",
    ]
    block = bytearray(4)
    assert reader.read_blocking(8, memoryview(block)) == 2 and block[:2] == b"89"
    await reader.close()


async def test_closed_reader_says_so(store: Store) -> None:
    await put(store, "a")
    reader = await store.open_read(named("a"))
    await reader.close()
    await reader.close()
    with pytest.raises(StoreFailed):
        await reader.read(0, 1)
    with pytest.raises(StoreFailed):
        reader.read_blocking(0, memoryview(bytearray(1)))


async def test_ended_writer_refuses_more(store: Store) -> None:
    writer = await begin(store, "a", size=0)
    await writer.commit(digest_of(b""))
    with pytest.raises(LocalProtocolError):
        await writer.write(b"x")
    with pytest.raises(LocalProtocolError):
        await writer.commit(digest_of(b""))
    await writer.abort()
    await writer.suspend()
    assert await get(store, "a") == b""


async def test_replaced_file_can_still_be_read_whole(store: Store) -> None:
    await put(store, "a", b"old content")
    reader = await store.open_read(named("a"))
    await put(store, "a", b"new")
    await reader.check()
    assert await reader.read(0, 100) == b"old content"
    await reader.close()


async def test_moved_and_removed_file_can_still_be_read_whole(store: Store) -> None:
    await put(store, "a", b"content")
    reader = await store.open_read(named("a"))
    await store.rename(named("a"), named("b"))
    await reader.check()
    await store.remove(named("b"))
    await reader.check()
    assert await reader.read(0, 100) == b"content"
    await reader.close()


async def test_changed_mtime_is_found(store: Store) -> None:
    await put(store, "a")
    reader = await store.open_read(named("a"))
    await store.set_attributes(named("a"), mtime_ns=MTIME + 1)
    with pytest.raises(SourceChanged):
        await reader.check()
    await reader.close()


# Conditions.


async def test_if_absent_refuses_at_once_and_at_commit(store: Store) -> None:
    announced = UploadSpec(size=1, if_absent=True)
    early = await store.open_write(named("a"), announced)
    await early.write(b"x")
    await put(store, "a", b"other")
    with pytest.raises(AlreadyThere):
        await early.commit(digest_of(b"x"))
    await early.abort()
    with pytest.raises(AlreadyThere):
        await store.open_write(named("a"), announced)
    assert await get(store, "a") == b"other"


async def test_if_absent_publishes_where_nothing_is(store: Store) -> None:
    writer = await store.open_write(named("a"), UploadSpec(size=1, if_absent=True, source=SOURCE))
    await writer.write(b"x")
    await writer.commit(digest_of(b"x"))
    assert await get(store, "a") == b"x"
    assert list(await store.partials()) == []


async def test_upload_replaces_only_the_file_that_it_means(store: Store) -> None:
    await put(store, "a", b"one")
    announced = UploadSpec(size=3, replaces=await store.stat(named("a")))
    first, second = (
        await store.open_write(named("a"), announced),
        await store.open_write(named("a"), announced),
    )
    await first.write(b"two")
    await second.write(b"six")
    await first.commit(digest_of(b"two"))
    with pytest.raises(ChangedMeanwhile):
        await second.commit(digest_of(b"six"))
    await second.abort()
    with pytest.raises(ChangedMeanwhile):
        await store.open_write(named("a"), announced)
    with pytest.raises(ChangedMeanwhile):
        await store.open_write(named("absent"), announced)
    assert await get(store, "a") == b"two"


# Partials.


async def test_kept_upload_is_gone_on_with(store: Store) -> None:
    await leave_partial(store, "a", b"01234")
    partial = await store.find_partial(named("a"), "ann")
    assert partial is not None
    assert (partial.name, partial.owner, partial.source, partial.kept, partial.size) == (
        "a",
        "ann",
        SOURCE,
        5,
        10,
    )
    writer = await begin(store, "a")
    assert (writer.offset, writer.resumed_bytes, writer.restarted) == (5, 5, False)
    assert await writer.read(0, 100) == b"01234"
    await writer.write(b"56789")
    assert writer.resumed_bytes == 5
    await writer.commit(digest_of(b"0123456789"))
    assert await get(store, "a") == b"0123456789"
    assert list(await store.partials()) == []


async def test_upload_without_source_leaves_nothing(store: Store) -> None:
    writer = await begin(store, "a", "")
    await writer.write(b"abc")
    await writer.suspend()
    assert list(await store.partials()) == []
    assert await store.usage() == Usage()


async def test_upload_without_a_byte_leaves_nothing(store: Store) -> None:
    await leave_partial(store, "a", b"")
    assert list(await store.partials()) == []


async def test_partial_of_another_source_is_dropped(store: Store) -> None:
    await leave_partial(store, "a", b"abc")
    writer = await begin(store, "a", "other version")
    assert (writer.offset, writer.restarted) == (0, True)
    await writer.abort()
    assert list(await store.partials()) == []


@pytest.mark.parametrize(("name", "owner"), [("a", "bob"), ("b", "ann")])
async def test_partials_of_others_are_left_alone(store: Store, name: str, owner: str) -> None:
    await leave_partial(store, "a", b"abc")
    writer = await begin(store, name, owner=owner)
    assert (writer.offset, writer.restarted) == (0, False)
    await writer.abort()
    assert [partial.kept for partial in await store.partials()] == [3]


async def test_partial_larger_than_announced_is_restarted(store: Store) -> None:
    await leave_partial(store, "a", b"0123456789")
    writer = await begin(store, "a", size=9)
    assert (writer.offset, writer.resumed_bytes, writer.restarted) == (0, 0, True)
    await writer.abort()


@pytest.mark.parametrize(("discard_tail", "kept"), [(0, 6), (2, 4), (100, 3)])
async def test_doubtful_bytes_are_not_kept_those_of_earlier_attempts_are(
    store: Store, discard_tail: int, kept: int
) -> None:
    await leave_partial(store, "a", b"abc")
    writer = await begin(store, "a")
    await writer.write(b"def")
    await writer.suspend(discard_tail=discard_tail)
    assert [partial.kept for partial in await store.partials()] == [kept]


async def test_partial_as_large_as_announced_is_kept(store: Store) -> None:
    await leave_partial(store, "a", b"0123456789")
    writer = await begin(store, "a", size=10)
    assert (writer.offset, writer.restarted) == (10, False)
    await writer.commit(digest_of(b"0123456789"))
    assert await get(store, "a") == b"0123456789"


async def test_newer_writer_takes_over_and_fences_the_older(store: Store) -> None:
    older = await begin(store, "a")
    await older.write(b"01234")
    newer = await begin(store, "a")
    assert (newer.offset, newer.restarted) == (5, False)
    with pytest.raises(Superseded):
        await older.write(b"xxxxx")
    with pytest.raises(Superseded):
        older.write_blocking(memoryview(b"xxxxx"))
    with pytest.raises(Superseded):
        await older.commit(digest_of(b"01234"))
    await older.suspend()
    await older.abort()
    await newer.write(b"56789")
    await newer.commit(digest_of(b"0123456789"))
    assert await get(store, "a") == b"0123456789"


async def test_live_writer_of_another_source_goes_on_beside(store: Store) -> None:
    one = await begin(store, "a", "one")
    await one.write(b"1111111111")
    two = await begin(store, "a", "two")
    assert (two.offset, two.restarted) == (0, False)
    await two.write(b"2222222222")
    await one.commit(digest_of(b"1111111111"))
    assert await get(store, "a") == b"1111111111"
    await two.commit(digest_of(b"2222222222"))
    assert await get(store, "a") == b"2222222222"


async def test_live_partial_is_neither_found_nor_cleared(store: Store) -> None:
    writer = await begin(store, "a")
    await writer.write(b"abc")
    assert await store.find_partial(named("a"), "ann") is None
    assert list(await store.clear_partials(lambda partial: False)) == []
    assert [partial.kept for partial in await store.partials()] == [3]
    await writer.suspend()
    assert await store.find_partial(named("a"), "ann") is not None


async def test_clear_partials_removes_those_not_wanted(store: Store) -> None:
    await leave_partial(store, "a", b"abc")
    await leave_partial(store, "b", b"abcd")
    gone = await store.clear_partials(lambda partial: partial.name == "b")
    assert [partial.name for partial in gone] == ["a"]
    assert [partial.name for partial in await store.partials()] == ["b"]


async def test_partials_come_oldest_first(store: Store) -> None:
    for name in ("b", "c", "a"):
        await leave_partial(store, name, b"abc")
    assert [partial.name for partial in await store.partials()] == ["b", "c", "a"]


async def test_close_keeps_open_writers(tmp_path: Path) -> None:
    store = await LocalStore.open(tmp_path)
    writer = await begin(store, "a")
    await writer.write(b"abc")
    await store.close()
    again = await LocalStore.open(tmp_path)
    partial = await again.find_partial(named("a"), "ann")
    assert partial is not None and partial.kept == 3
    await again.close()


# Listings.


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
    await store.write_small(
        [
            small(name, b"12345", mode=0o640)
            for name in ("d/f", "d/e/\udcff", "d/e/\u00e9", "d/e.x", "out")
        ]
    )
    await store.write_small([SmallFile("d/link", LINK, MTIME, 0o777, target="f")])
    for links in (False, True):
        listed = [
            entry
            async for batch in store.scan(named("d"), recursive=True, links=links)
            for entry in batch
        ]
        lines = [line async for batch in store.lines(named("d"), links=links) for line in batch]
        assert lines == list(lines_of(listed, named("d")))
    assert f"f\0file 5 {MTIME} 416\0" in lines


async def test_lines_of_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        await anext(store.lines(named("d")))


async def test_listing_within_a_range(store: Store) -> None:
    names = ["a", "a/b", "a/b/c", "a/b/d", "a/e", "a-", "a.d", "a.d/f", "g"]
    for name in ("a/b", "a.d"):
        await store.make_folder(named(f"top/{name}"), parents=True)
    await store.write_small(
        [small(f"top/{name}") for name in ("a/b/c", "a/b/d", "a/e", "a-", "a.d/f", "g")]
    )
    for first, after in enumerate(["", *names]):
        for last, until in enumerate([*names, ""], 1):
            batches = store.scan(named("top"), recursive=True, within=Range(after, until))
            expected = names[first : last if until else None]
            assert [entry.name async for batch in batches for entry in batch] == [
                f"top/{name}" for name in expected
            ]


async def test_bounds_of_a_range_need_not_be_there(store: Store) -> None:
    await store.write_small([small(name) for name in ("a", "c/x", "c/z", "e")])
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
    assert not any(isinstance(result, Exception) for result in await store.write_small(files))
    for recursive in (False, True):
        batches: list[Sequence[Entry]] = [
            batch async for batch in store.scan(ROOT, recursive=recursive)
        ]
        assert len(batches) > 1 and all(batches)
        assert sorted(entry.name for batch in batches for entry in batch) == [
            file.name for file in files
        ]


async def test_listing_given_up_early_closes_its_handles(store: Store) -> None:
    await store.write_small([small(f"f{number:04}", b"") for number in range(1100)])
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


# Packed small files.


async def test_tree_is_read_in_groups(store: Store) -> None:
    files = [small(f"t/d{number % 3}/f{number}", bytes([number]) * number) for number in range(20)]
    await store.write_small([*files, small("t/large", b"x" * 2000), small("other", b"x")])
    items: list[SmallFile | Entry | FtransferError] = []
    contents: dict[str, bytes] = {}
    before: Sequence[SmallFile | Entry | FtransferError] = ()
    async for group in store.read_tree(named("t"), 1000, 8):
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
            await anext(store.read_tree(named(name), 1000, 8))


async def test_small_files_go_both_ways(store: Store) -> None:
    files = [small(f"d{number % 3}/f{number}", bytes([number]) * number) for number in range(20)]
    assert list(await store.write_small(files)) == [None] * len(files)
    for file in files:
        entry = await store.stat(named(file.name))
        assert (entry.kind, entry.size, entry.mtime_ns, entry.mode) == (
            FILE,
            len(file.data),
            file.mtime_ns,
            file.mode,
        )
    assert list(await store.read_small([named(file.name) for file in files], 1 << 20)) == files


async def test_small_file_that_does_not_verify_is_refused_alone(store: Store) -> None:
    results = await store.write_small(
        [small("a"), small("b", digest=digest_of(b"else")), small("c")]
    )
    assert is_error(results[1], DigestMismatch)
    assert [entry.name for entry in await listing(store, recursive=True)] == ["a", "c"]


async def test_small_folders_are_made_with_their_attributes(store: Store) -> None:
    results = await store.write_small([SmallFile("x/y", FOLDER, MTIME, 0o750), small("x/z/f")])
    assert not any(isinstance(result, Exception) for result in results)
    entry = await store.stat(named("x/y"))
    assert (entry.kind, entry.mtime_ns, entry.mode) == (FOLDER, MTIME, 0o750)
    assert [
        item.kind
        for item in await store.read_small([named("x/y")], 10)
        if isinstance(item, SmallFile)
    ] == [FOLDER]


async def test_small_errors_do_not_stop_the_others(store: Store) -> None:
    await store.make_folder(named("folder"))
    await put(store, "file")
    results = await store.write_small(
        [
            small("../up"),
            small("folder"),
            small("file/below"),
            small("ok"),
            small("", b""),
            small(".ftransfer/x"),
        ]
    )
    assert [type(result) for result in results] == [
        NameRefused,
        NotAFile,
        NotAFolder,
        type(None),
        NameRefused,
        NameRefused,
    ]
    items = await store.read_small([named("missing"), named("ok"), named("file/below")], 100)
    assert [type(item) for item in items] == [NotFound, SmallFile, NotFound]


async def test_small_link_that_leads_outside_is_refused(store: Store) -> None:
    for target in ("/etc/passwd", "../up", "a/../../up", "", ".ftransfer/partials"):
        results = await store.write_small([SmallFile("link", "link", MTIME, 0o777, target=target)])
        assert is_error(results[0], NameRefused)


async def test_read_small_stops_when_the_room_is_full(store: Store) -> None:
    await store.write_small([small(name, name.encode() * 40) for name in "abc"])
    names = [named(name) for name in "abc"]
    assert len(await store.read_small(names, 79)) == 1
    assert len(await store.read_small(names, 80)) == 2
    assert len(await store.read_small(names, 40)) == 1


async def test_read_small_gives_the_entry_of_what_is_too_large(store: Store) -> None:
    await store.write_small([small("a", b"12345"), small("b", b"1")])
    items = await store.read_small([named("a"), named("b")], 4)
    assert items[0] == await store.stat(named("a"))
    assert isinstance(items[1], SmallFile)


async def test_no_small_files_at_all(store: Store) -> None:
    assert list(await store.write_small([])) == []
    assert list(await store.read_small([], 10)) == []


# Folders, moving, removing.


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
        result for result in await store.write_small([SmallFile("e", FOLDER, 0, 0o055)]) if result
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
    view = store.hiding(lambda name: name.rpartition("/")[2] == ".secret")
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
    before = await store.usage()
    await put(store, "a", b"x" * 1000)
    assert await store.usage() - before == Usage(1000, 1)
    await leave_partial(store, "b", b"1234")
    assert await store.usage() - before == Usage(1004, 2)
    assert (await store.space()).free_bytes > 0


async def test_usage_counts_folders_and_empty_files_with_what_they_take_of_a_disk(
    store: Store,
) -> None:
    await store.make_folder(named("d/e"), parents=True)
    await put(store, "d/e/f", b"")
    assert await store.usage() == Usage(3 * THING_BYTES, 3)
    assert await store.usage(named("d")) == Usage(2 * THING_BYTES, 2)
    assert await store.usage(named("missing")) == Usage()


async def test_root_is_a_folder(store: Store) -> None:
    entry = await store.stat(ROOT)
    assert (entry.name, entry.kind, entry.size) == ("", FOLDER, 0)


async def test_writer_says_whether_something_had_the_name(store: Store) -> None:
    for content, replaced in ((b"one", False), (b"two", True)):
        writer = await store.open_write(parse_name("a"), UploadSpec(size=3))
        await writer.write(content)
        await writer.commit(digest_of(content))
        assert writer.replaced is replaced
