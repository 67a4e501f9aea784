"""The staging folder: created on demand, removed when empty, collected after a kill.

And partials, their locks and their space.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import AlreadyThere, DiskFull, StoreFailed, Superseded
from ftransfer.names import ROOT, parse_name
from ftransfer.storage.base import SmallFile, UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.partials import key_of

SOURCE = "laptop:/home/a/f:1:2:3"
PLACE = ".ftransfer"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    opened = await LocalStore.open(tmp_path)
    yield opened
    await opened.close()


def announced(size: int | None = 10, source: str = SOURCE) -> UploadSpec:
    return UploadSpec(size=size, source=source, owner="ann")


async def leave_partial(store: LocalStore, name: str, data: bytes, source: str = SOURCE) -> None:
    writer = await store.open_write(parse_name(name), announced(source=source))
    await writer.write(data)
    await writer.suspend()


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# The place.


async def test_place_is_made_only_when_needed(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    await store.stat(ROOT)
    await store.partials()
    await store.find_partial(parse_name("f"), "ann")
    reader = await store.open_read(parse_name("f"))
    await reader.close()
    assert below(tmp_path) == ["f"]


async def test_place_is_private_and_goes_away_when_empty(tmp_path: Path) -> None:
    store = await LocalStore.open(tmp_path)
    writer = await store.open_write(parse_name("f"), announced(3))
    await writer.write(b"abc")
    other = await store.open_write(parse_name("g"), UploadSpec())
    for folder in ("", "partials", "temp"):
        assert stat.S_IMODE((tmp_path / PLACE / folder).stat().st_mode) == 0o700
    for file in (tmp_path / PLACE).rglob("*.data"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await writer.commit(digest_of(b"abc"))
    await other.abort()
    await store.close()
    assert below(tmp_path) == ["f"]


async def test_place_stays_while_it_holds_a_partial(tmp_path: Path) -> None:
    store = await LocalStore.open(tmp_path)
    await leave_partial(store, "f", b"abc")
    await store.close()
    key = key_of("f", announced())
    assert below(tmp_path) == [
        PLACE,
        *(
            f"{PLACE}/{name}"
            for name in ("partials", f"partials/{key}.data", f"partials/{key}.json")
        ),
    ]
    record = json.loads((tmp_path / PLACE / "partials" / f"{key}.json").read_text())
    assert record == {
        "name": "f",
        "owner": "ann",
        "source": SOURCE,
        "size": 10,
        "mtime_ns": None,
        "mode": None,
    }
    again = await LocalStore.open(tmp_path)
    assert len(await again.clear_partials(lambda partial: False)) == 1
    await again.close()
    assert below(tmp_path) == []


async def test_place_stays_while_another_store_uses_it(tmp_path: Path) -> None:
    one, two = await LocalStore.open(tmp_path), await LocalStore.open(tmp_path)
    first = await one.open_write(parse_name("a"), UploadSpec(size=1))
    second = await two.open_write(parse_name("b"), announced(1))
    await first.abort()
    await one.close()
    await second.write(b"x")
    await second.commit(digest_of(b"x"))
    await two.write_small([SmallFile("c", "file", 0, 0o644, b"", digest_of(b""))])
    await two.close()
    assert below(tmp_path) == ["b", "c"]


async def test_stores_that_come_and_go_do_not_disturb_each_other(tmp_path: Path) -> None:
    async def come_and_go(number: int) -> None:
        for turn in range(10):
            store = await LocalStore.open(tmp_path, durable=False)
            (result,) = await store.write_small(
                [SmallFile(f"f{number}-{turn}", "file", 0, 0o644, b"", digest_of(b""))]
            )
            assert result is None, result
            await store.close()

    await asyncio.gather(*(come_and_go(number) for number in range(4)))
    assert len(below(tmp_path)) == 40


@pytest.mark.parametrize("kind", ["link", "file"])
async def test_place_that_is_not_ours_is_not_used(tmp_path: Path, kind: str) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "outside").mkdir()
    if kind == "link":
        (tmp_path / "share" / PLACE).symlink_to("../outside")
    else:
        (tmp_path / "share" / PLACE).write_bytes(b"")
    store = await LocalStore.open(tmp_path / "share")
    with pytest.raises(StoreFailed, match="move it away"):
        await store.open_write(parse_name("f"), announced())
    await store.close()
    assert os.listdir(tmp_path / "outside") == []


# Collection.


async def test_next_store_collects_what_a_killed_one_left(tmp_path: Path) -> None:
    dead = tmp_path / PLACE / "temp" / "123-dead"
    dead.mkdir(parents=True)
    (dead / "0").write_bytes(b"half a file")
    partials = tmp_path / PLACE / "partials"
    partials.mkdir()
    (partials / "a-b.json").write_text("{}")
    (partials / "c-d.new").write_text("{")
    (partials / "e-f.data").write_bytes(b"of nobody")
    (partials / "g-h.data").write_bytes(b"")  # killed while its record was written
    (partials / "g-h.new").write_text("{")
    store = await LocalStore.open(tmp_path)
    await store.close()
    assert below(tmp_path) == []


async def test_temporary_files_of_a_live_store_are_not_collected(tmp_path: Path) -> None:
    one = await LocalStore.open(tmp_path)
    writer = await one.open_write(parse_name("a"), UploadSpec(size=1))
    two = await LocalStore.open(tmp_path)
    await two.close()
    await writer.write(b"x")
    await writer.commit(digest_of(b"x"))
    await one.close()
    assert below(tmp_path) == ["a"]


async def test_damaged_record_restarts_the_upload(store: LocalStore, tmp_path: Path) -> None:
    await leave_partial(store, "f", b"abc")
    (record,) = (tmp_path / PLACE).rglob("*.json")
    record.write_bytes(b"{")
    assert list(await store.partials()) == []
    writer = await store.open_write(parse_name("f"), announced())
    assert writer.offset == 0
    await writer.write(b"xyz")
    await writer.suspend()
    assert [partial.kept for partial in await store.partials()] == [3]


KILLED = """
import asyncio, os, sys
from ftransfer.names import parse_name
from ftransfer.storage.base import UploadSpec
from ftransfer.storage.local import LocalStore

async def main():
    store = await LocalStore.open(sys.argv[1])
    spec = UploadSpec(size=1 << 20, source="s", owner="ann")
    kept = await store.open_write(parse_name("kept"), spec)
    await kept.write(b"x" * 1000)
    lost = await store.open_write(parse_name("lost"), UploadSpec(size=1000))
    await lost.write(b"x" * 1000)
    print("written", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_partial_survives_kill_and_its_lock_does_not(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        KILLED,
        str(share),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"written\n"
    same = UploadSpec(size=1 << 20, source="s", owner="ann")

    store = await LocalStore.open(share)
    beside = await store.open_write(parse_name("kept"), same)
    assert beside.offset == 0  # the other process holds the partial: this one is not resumed
    await beside.abort()
    assert await store.find_partial(parse_name("kept"), "ann") is None
    assert list(await store.clear_partials(lambda partial: False)) == []
    await store.close()

    process.send_signal(signal.SIGKILL)
    await process.wait()
    store = await LocalStore.open(share)
    assert os.listdir(share / PLACE / "temp") == []
    (data,) = (share / PLACE).rglob("*.data")
    assert data.stat().st_size == 1000
    # The space that was reserved for the rest is free again
    assert data.stat().st_blocks * 512 < 1 << 20
    writer = await store.open_write(parse_name("kept"), same)
    assert writer.offset == 1000
    await writer.abort()
    await store.close()
    assert below(share) == []


# Locks and fences.


async def test_another_store_uses_its_own_file_beside(store: LocalStore, tmp_path: Path) -> None:
    other = await LocalStore.open(tmp_path)
    await leave_partial(store, "f", b"01234")
    here = await store.open_write(parse_name("f"), announced())
    there = await other.open_write(parse_name("f"), announced())
    assert (here.offset, there.offset, there.restarted) == (5, 0, False)
    await there.write(b"abcdefghij")
    await here.write(b"56789")
    await here.commit(digest_of(b"0123456789"))
    await there.commit(digest_of(b"abcdefghij"))
    assert (tmp_path / "f").read_bytes() == b"abcdefghij"
    await other.close()


async def test_fence_waits_for_the_job_that_writes(store: LocalStore, tmp_path: Path) -> None:
    size = 64 << 20
    block = bytes(1 << 20)
    older = await store.open_write(parse_name("f"), announced(size))
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()

    def write_until_fenced() -> int:
        view = memoryview(block)
        while older.offset < size:
            older.write_blocking(view)
            loop.call_soon_threadsafe(begun.set)
        return older.offset

    job = loop.run_in_executor(None, write_until_fenced)
    await begun.wait()
    newer = await store.open_write(parse_name("f"), announced(size))
    try:
        written = await job
    except Superseded:
        written = newer.offset
    (data,) = (tmp_path / PLACE).rglob("*.data")
    assert newer.offset == written == data.stat().st_size
    await newer.abort()


async def test_many_takeovers_at_once_leave_one_writer(store: LocalStore) -> None:
    writers = await asyncio.gather(
        *(store.open_write(parse_name("f"), announced()) for _ in range(40))
    )
    results = await asyncio.gather(
        *(writer.write(b"0123456789") for writer in writers), return_exceptions=True
    )
    assert [type(result) for result in results].count(Superseded) == 39
    for writer in writers:
        await writer.abort()


async def test_file_that_was_published_is_never_written_again(
    store: LocalStore, tmp_path: Path
) -> None:
    older = await store.open_write(parse_name("f"), announced(3))
    await older.write(b"abc")
    _, newer = await asyncio.gather(
        older.commit(digest_of(b"abc")), store.open_write(parse_name("f"), announced(3))
    )
    assert newer.offset == 0
    await newer.write(b"xyz")
    assert (tmp_path / "f").read_bytes() == b"abc"
    await newer.abort()


async def test_partial_that_was_published_by_a_link_is_not_resumed(
    store: LocalStore, tmp_path: Path
) -> None:
    await leave_partial(store, "f", b"0123456789")
    (data,) = (tmp_path / PLACE).rglob("*.data")
    os.link(data, tmp_path / "f")
    writer = await store.open_write(parse_name("f"), announced(5))
    assert writer.offset == 0
    await writer.write(b"abc")
    assert (tmp_path / "f").read_bytes() == b"0123456789"
    await writer.abort()


# Space.


async def test_room_is_reserved_and_size_stays_what_is_valid(
    store: LocalStore, tmp_path: Path
) -> None:
    writer = await store.open_write(parse_name("f"), announced(1 << 20))
    await writer.write(b"abc")
    (data,) = (tmp_path / PLACE).rglob("*.data")
    assert data.stat().st_size == 3
    await writer.suspend()
    assert data.stat().st_size == 3
    assert data.stat().st_blocks * 512 < 1 << 20


async def test_kept_data_can_be_opened_again_whatever_mode_was_announced(
    store: LocalStore, tmp_path: Path
) -> None:
    same = UploadSpec(size=1, source=SOURCE, mode=0o000, if_absent=True)
    writer = await store.open_write(parse_name("f"), same)
    await writer.write(b"x")
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(AlreadyThere):
        await writer.commit(digest_of(b"x"))
    await writer.suspend()
    (data,) = (tmp_path / PLACE).rglob("*.data")
    assert stat.S_IMODE(data.stat().st_mode) == 0o600
    (tmp_path / "f").unlink()
    data.chmod(0)  # as a kill between the new mode and the new name leaves it
    assert await store.find_partial(parse_name("f"), "") is not None
    writer = await store.open_write(parse_name("f"), same)
    assert writer.offset == 1
    await writer.abort()


@pytest.mark.parametrize("size", [1 << 60, 1 << 63, 1 << 80])
async def test_no_room_is_said_before_the_content_comes(
    store: LocalStore, tmp_path: Path, size: int
) -> None:
    with pytest.raises(DiskFull):
        await store.open_write(parse_name("f"), announced(size))
    with pytest.raises(DiskFull):
        await store.open_write(parse_name("f"), UploadSpec(size=size))
    assert [path for path in (tmp_path / PLACE).rglob("*") if path.is_file()] == []


async def test_no_room_leaves_an_earlier_partial(store: LocalStore) -> None:
    await leave_partial(store, "f", b"abc")
    with pytest.raises(DiskFull):
        await store.open_write(parse_name("f"), announced(1 << 60))
    assert [partial.kept for partial in await store.partials()] == [3]
