"""An upload with ranges out of order: what counts, who is refused, what an interrupt leaves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import OffsetConflict
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


async def test_without_a_size_a_part_is_refused(store: LocalStore) -> None:
    writer = await store.open_write(NAME, UploadSpec(source="here"))
    with pytest.raises(OffsetConflict):
        await writer.open_part(0, 1)
    await writer.abort()


async def test_after_a_kill_only_what_is_known_to_be_whole_is_resumed(
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
