"""An upload whose ranges are written out of order, in every store that takes them: what counts, who
is refused, and what is left when it is interrupted.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import Aborted, OffsetConflict, Superseded, Truncated
from ftransfer.storage.base import Store, UploadSpec
from ftransfer.storage.capabilities import PartWriter, supports_blocking_writes, takes_parts
from tests.support.stores import LOCAL_STORES, get, named, open_store

NAME = named("a")
DATA = os.urandom(100)


@pytest.fixture(params=LOCAL_STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened


async def begin(store: Store, *, source: str = "here", size: int = 100) -> PartWriter:
    writer = await store.open_write(NAME, UploadSpec(size=size, source=source))
    assert takes_parts(writer)
    return writer


async def bring(writer: PartWriter, start: int, end: int, data: bytes = DATA) -> None:
    part = await writer.open_part(start, end - start)
    await part.write(data[start:end])
    await part.complete()
    await part.drop()


async def test_parts_come_in_any_order_and_make_the_whole(store: Store) -> None:
    writer = await begin(store)
    for start, end, whole in ((60, 100, 0), (20, 40, 0), (0, 20, 40), (40, 60, 100)):
        await bring(writer, start, end)
        assert writer.offset == whole
    assert await writer.read(30, 80) == DATA[30:]
    await writer.commit(digest_of(DATA))
    assert await get(store, "a") == DATA
    assert list(await store.partials()) == []


async def test_part_can_be_read_back_for_its_digest_and_takes_no_more_than_its_length(
    store: Store,
) -> None:
    writer = await begin(store)
    part = await writer.open_part(10, 5)
    await part.write(DATA[10:13])
    assert (part.offset, await part.read(11, 10)) == (13, DATA[11:13])
    with pytest.raises(Truncated):
        await part.write(b"123")
    with pytest.raises(Truncated):
        await part.complete()
    await part.drop()
    with pytest.raises(Aborted):
        await part.write(b"1")
    assert writer.offset == 0
    await writer.abort()


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 101), (100, 1), (2**62, 1), (0, 1), (29, 2), (49, 2), (25, 50)],
)
async def test_range_that_is_not_wanted_is_refused(store: Store, offset: int, length: int) -> None:
    writer = await begin(store)
    await bring(writer, 0, 10)
    await bring(writer, 30, 50)
    with pytest.raises(OffsetConflict):
        await writer.open_part(offset, length)
    await writer.abort()


async def test_without_a_size_there_are_no_parts(store: Store) -> None:
    writer = await store.open_write(NAME, UploadSpec(source="here"))
    assert not takes_parts(writer)
    await writer.abort()


async def test_first_of_two_at_one_range_is_taken_and_the_other_writes_no_more(
    store: Store,
) -> None:
    writer = await begin(store)
    slow, quick = await writer.open_part(0, 50), await writer.open_part(20, 80)
    await slow.write(b"x" * 10)
    await quick.write(DATA[20:])
    await quick.complete()
    with pytest.raises(OffsetConflict):
        await slow.write(b"x")
    with pytest.raises(OffsetConflict):
        await slow.complete()
    await slow.drop()
    await bring(writer, 0, 20)
    await writer.commit(digest_of(DATA))


async def test_newer_upload_takes_over_what_is_whole_and_fences_the_parts(
    store: Store,
) -> None:
    older = await begin(store)
    await bring(older, 0, 10)
    await bring(older, 50, 60)
    part = await older.open_part(10, 40)
    await part.write(b"x" * 20)
    newer = await begin(store)
    assert newer.offset == newer.resumed_bytes == 10
    for late in (part.write(b"x"), part.complete(), older.open_part(10, 40)):
        with pytest.raises(Superseded):
            await late
    await part.drop()
    await older.suspend()
    await newer.write(DATA[10:])
    await newer.commit(digest_of(DATA))


async def test_part_of_an_upload_that_has_ended_writes_no_more(store: Store) -> None:
    for is_suspended in (True, False):
        writer = await begin(store)
        part = await writer.open_part(writer.offset, 10)
        await (writer.suspend() if is_suspended else writer.abort())
        with pytest.raises(Aborted):
            await part.write(b"x")
        await part.drop()


async def test_what_is_kept_ends_at_the_first_gap_and_can_be_resumed_in_order(
    store: Store,
) -> None:
    writer = await begin(store)
    await bring(writer, 0, 30)
    await bring(writer, 40, 100)
    await writer.suspend()
    [partial] = await store.partials()
    assert partial.kept == 30
    writer = await begin(store)
    assert writer.resumed_bytes == 30
    await writer.write(DATA[30:70])
    await writer.suspend()
    writer = await begin(store)
    assert writer.resumed_bytes == 70
    await bring(writer, 70, 100)
    await writer.commit(digest_of(DATA))


async def test_part_for_threads_writes_and_reads_the_same(store: Store) -> None:
    writer = await begin(store)
    part = await writer.open_part(10, 5)
    file: object = part
    assert supports_blocking_writes(file)
    file.write_blocking(memoryview(DATA[10:13]))
    await part.write(DATA[13:14])
    block = bytearray(10)
    assert file.read_blocking(11, memoryview(block)) == 3 and block[:3] == DATA[11:14]
    with pytest.raises(Truncated):
        file.write_blocking(memoryview(b"12"))
    await part.drop()
    with pytest.raises(Aborted):
        file.write_blocking(memoryview(b"1"))
    await writer.abort()
