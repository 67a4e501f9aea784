"""An upload with ranges out of order: what counts, who is refused, what an interrupt leaves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import Aborted, OffsetConflict, Superseded, Truncated
from ftransfer.names import parse_name
from ftransfer.storage.base import UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.writer import LocalWriter

NAME = parse_name("a")
DATA = os.urandom(100)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    root = tmp_path / "root"
    root.mkdir()
    store = await LocalStore.open(root, durable=False)
    yield store
    await store.close()


async def begin(store: LocalStore, *, source: str = "here", size: int = 100) -> LocalWriter:
    return await store.open_write(NAME, UploadSpec(size=size, source=source))


async def bring(writer: LocalWriter, start: int, end: int, data: bytes = DATA) -> None:
    part = await writer.open_part(start, end - start)
    await part.write(data[start:end])
    await part.complete()
    await part.drop()


async def test_parts_come_in_any_order_and_make_the_whole(
    store: LocalStore, tmp_path: Path
) -> None:
    writer = await begin(store)
    for start, end, whole in ((60, 100, 0), (20, 40, 0), (0, 20, 40), (40, 60, 100)):
        await bring(writer, start, end)
        assert writer.offset == whole
    assert await writer.read(30, 80) == DATA[30:]
    await writer.commit(digest_of(DATA))
    assert (tmp_path / "root/a").read_bytes() == DATA
    assert not (tmp_path / "root/.ftransfer/partials").exists() or not any(
        (tmp_path / "root/.ftransfer/partials").iterdir()
    )


async def test_part_can_be_read_back_for_its_digest_and_takes_no_more_than_its_length(
    store: LocalStore,
) -> None:
    writer = await begin(store)
    part = await writer.open_part(10, 5)
    part.write_blocking(memoryview(DATA[10:13]))
    assert (part.offset, await part.read(11, 10)) == (13, DATA[11:13])
    with pytest.raises(Truncated):
        part.write_blocking(memoryview(b"123"))
    with pytest.raises(Truncated):
        await part.complete()
    await part.drop()
    with pytest.raises(Aborted):
        part.write_blocking(memoryview(b"1"))
    assert writer.offset == 0
    await writer.abort()


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 101), (100, 1), (2**62, 1), (0, 1), (29, 2), (49, 2), (25, 50)],
)
async def test_range_that_is_not_wanted_is_refused(
    store: LocalStore, offset: int, length: int
) -> None:
    writer = await begin(store)
    await bring(writer, 0, 10)
    await bring(writer, 30, 50)
    with pytest.raises(OffsetConflict):
        await writer.open_part(offset, length)
    await writer.abort()


async def test_without_a_size_there_are_no_parts(store: LocalStore) -> None:
    writer = await store.open_write(NAME, UploadSpec(source="here"))
    assert not writer.takes_parts
    with pytest.raises(OffsetConflict):
        await writer.open_part(0, 1)
    await writer.abort()


async def test_first_of_two_at_one_range_is_taken_and_the_other_writes_no_more(
    store: LocalStore,
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
    store: LocalStore,
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


async def test_part_of_an_upload_that_has_ended_writes_no_more(store: LocalStore) -> None:
    for end in (LocalWriter.suspend, LocalWriter.abort):
        writer = await begin(store)
        part = await writer.open_part(writer.offset, 10)
        await end(writer)
        with pytest.raises(Aborted):
            await part.write(b"x")
        await part.drop()


async def test_what_is_kept_ends_at_the_first_gap_and_can_be_gone_on_with_in_order(
    store: LocalStore,
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


async def test_after_a_kill_only_what_is_known_to_be_whole_is_gone_on_with(
    store: LocalStore, tmp_path: Path
) -> None:
    """The size of the file tells nothing when parts came out of order."""
    size = 20 << 20
    data = bytes(size)
    writer = await begin(store, size=size)
    await bring(writer, 9 << 20, 10 << 20, data)
    for start in range(9):
        await bring(writer, start << 20, (start + 1) << 20, data)
    await bring(writer, 12 << 20, 13 << 20, data)
    shutil.copytree(tmp_path / "root", tmp_path / "killed")
    await writer.abort()
    after = await LocalStore.open(tmp_path / "killed", durable=False)
    [partial] = await after.partials()
    assert 1 << 20 <= partial.kept <= 10 << 20
    again = await begin(after, size=size)
    assert again.resumed_bytes == partial.kept
    await again.write(data[again.resumed_bytes :])
    await again.commit(digest_of(data))
    await after.close()


async def test_record_that_somebody_has_damaged_is_an_error_and_no_more(
    store: LocalStore, tmp_path: Path
) -> None:
    writer = await begin(store)
    [record] = (tmp_path / "root/.ftransfer/partials").glob("*.json")
    record.write_text("[1")
    with pytest.raises(Exception, match="a: "):
        await writer.open_part(0, 10)
    await writer.abort()
    for odd in (-5, "x", None, 10**30, [1]):
        writer = await begin(store)
        await writer.write(DATA[:50])
        await writer.suspend()
        record.write_text(json.dumps({**json.loads(record.read_text()), "whole": odd}))
        [*found] = await store.partials()
        assert all(partial.kept <= 50 for partial in found)
        writer = await begin(store)
        assert writer.resumed_bytes <= 50
        await writer.abort()
