"""What a store promises about files: put, get, stat, and conditions on what is replaced."""

from __future__ import annotations

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    AlreadyThere,
    ChangedMeanwhile,
    LocalProtocolError,
    NotAFile,
    NotFound,
    ShareError,
    SourceChanged,
    StoreFailed,
    Truncated,
)
from ftransfer.names import ROOT
from ftransfer.storage import listings
from ftransfer.storage.base import (
    FILE,
    FOLDER,
    Store,
    UploadSpec,
    Usage,
)
from ftransfer.storage.small_files import open_whole
from tests.support.stores import MTIME, SOURCE, begin, get, listing, named, put


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
    assert await listings.usage(store) == Usage()


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
    await writer.write(b"ghi")
    assert writer.offset == 9
    assert await writer.read(2, 3) == b"cde"
    assert await writer.read(7, 100) == b"hi"
    assert await writer.read(9, 1) == b""
    await writer.commit(digest_of(b"abcdefghi"))
    assert await get(store, "a") == b"abcdefghi"


@pytest.mark.parametrize("max_bytes", [0, 9, 10, 11])
async def test_reader_reads_from_any_offset(store: Store, max_bytes: int) -> None:
    await put(store, "a", b"0123456789")
    reader = await open_whole(store, named("a"), max_bytes)
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
    await reader.close()


async def test_closed_reader_says_so(store: Store) -> None:
    await put(store, "a")
    reader = await store.open_read(named("a"))
    await reader.close()
    await reader.close()
    with pytest.raises(StoreFailed):
        await reader.read(0, 1)


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
