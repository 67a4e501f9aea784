"""Anything may lie in .ftransfer: any bytes as a record, any kind of file. Uploads still work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftransfer.digest import digest_of
from ftransfer.names import parse_name
from ftransfer.storage.base import UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.partials import key_of

ANNOUNCED = UploadSpec(size=4, source="s")
KEY = key_of("up", ANNOUNCED)
GOOD = {"name": "up", "owner": "", "source": "s", "size": 4, "mtime_ns": None, "mode": None}
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
)
RECORDS = st.one_of(
    st.binary(max_size=80),
    st.dictionaries(st.sampled_from([*sorted(GOOD), "whole"]), VALUES).map(
        lambda changed: json.dumps({**GOOD, **changed}).encode()
    ),
    VALUES.map(lambda value: json.dumps(value).encode()),
)


async def put_beside(folder: Path) -> None:
    """Use all that reads the records, then put the file that the record claims to be part of."""
    store = await LocalStore.open(folder, durable=False)
    try:
        for partial in await store.partials():
            assert partial.size is None or isinstance(partial.size, int)
        await store.find_partial(parse_name("up"), "")
        writer = await store.open_write(parse_name("up"), ANNOUNCED)
        assert 0 <= writer.resumed_bytes <= 3
        await writer.write(b"full"[writer.resumed_bytes :])
        await writer.commit(digest_of(b"full"))
        await store.clear_partials(lambda partial: False)
    finally:
        await store.close()
    assert (folder / "up").stat().st_size == 4


def hidden(folder: Path) -> Path:
    place = folder / ".ftransfer" / "partials"
    place.mkdir(parents=True, mode=0o700)
    (place / f"{KEY}.data").write_bytes(b"ful")
    return place


@given(RECORDS)
@example(b'{"name":"up","owner":"","source":"s","size":Infinity}')
@example(b'{"name":"up","owner":"","source":"s","size":NaN}')
@example(b"[" * 100_000)
@example(b'{"name":"\\ud800","owner":"","source":"s","size":4}')
async def test_any_bytes_as_a_record(record: bytes) -> None:
    with TemporaryDirectory() as folder:
        (hidden(Path(folder)) / f"{KEY}.json").write_bytes(record)
        await put_beside(Path(folder))


THINGS: dict[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "loop": lambda path: path.symlink_to(path.name),
    "fifo": os.mkfifo,
    "large": lambda path: path.write_bytes(b" " * 300_000),
}


@pytest.mark.parametrize("thing", THINGS)
async def test_anything_in_the_place_of_a_record(tmp_path: Path, thing: str) -> None:
    place = hidden(tmp_path)
    THINGS[thing](place / f"{KEY}.json")
    store = await LocalStore.open(tmp_path, durable=False)
    try:
        assert [partial.name for partial in await store.partials()] == []
        writer = await store.open_write(parse_name("other"), UploadSpec(size=1, source="s"))
        await writer.write(b"x")
        await writer.commit(digest_of(b"x"))
    finally:
        await store.close()
    assert (tmp_path / "other").read_bytes() == b"x"
