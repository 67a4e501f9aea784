"""Each system call fails once in turn: the caller meets our error, and descriptors are closed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError
from ftransfer.names import ROOT, parse_name
from ftransfer.storage.base import FILE, FOLDER, SmallFile, UploadSpec
from ftransfer.storage.local import LocalStore, own_files
from tests.support.sabotage import SHORT, Sabotage

DATA = bytes(range(256)) * 40
KNOWN = {b"old", DATA}


async def put(store: LocalStore) -> None:
    writer = await store.open_write(
        parse_name("sub/f"), UploadSpec(len(DATA), source="s", mtime_ns=1, mode=0o640)
    )
    try:
        await writer.write(DATA[:100])
        writer.write_blocking(memoryview(DATA)[100:])
        await writer.commit(digest_of(DATA))
    except BaseException:
        await writer.suspend()
        raise


async def put_without_source(store: LocalStore) -> None:
    writer = await store.open_write(parse_name("sub/f"), UploadSpec(if_absent=False))
    try:
        await writer.write(DATA)
        await writer.commit(digest_of(DATA))
    except BaseException:
        await writer.abort()
        raise


async def put_many(store: LocalStore) -> None:
    files = [SmallFile(f"sub/{name}", FILE, 1, 0o640, DATA, digest_of(DATA)) for name in ("f", "g")]
    for result in await store.write_small([*files, SmallFile("sub/new/folder", FOLDER, 1, 0o755)]):
        if isinstance(result, FtransferError):
            raise result


async def get(store: LocalStore) -> None:
    reader = await store.open_read(parse_name("sub/f"))
    try:
        await reader.read(0, 100)
        reader.read_blocking(0, memoryview(bytearray(100)))
        await reader.check()
    finally:
        await reader.close()


async def get_many(store: LocalStore) -> None:
    for item in await store.read_small([parse_name("sub/f"), parse_name("sub")], 1000):
        if isinstance(item, FtransferError):
            raise item


async def list_all(store: LocalStore) -> None:
    async for _ in store.scan(ROOT, recursive=True, links=True):
        pass


async def change_names(store: LocalStore) -> None:
    await store.make_folder(parse_name("sub/a/b"), parents=True)
    await store.set_attributes(parse_name("sub/a"), mtime_ns=5, mode=0o700)
    await store.rename(parse_name("sub/a"), parse_name("sub/c"))
    await store.remove(parse_name("sub/c"), recursive=True)
    await store.usage()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def contents(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("[fg]") if path.is_file()}


WORKS = (put, put_without_source, put_many, get, get_many, list_all, change_names)
MOVE_BYTES = (put, put_without_source, put_many, get, get_many)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.parametrize(
    ("work", "number"),
    [
        *itertools.product(WORKS, (errno.ENOSPC, errno.EIO, errno.EINTR)),
        *itertools.product(MOVE_BYTES, (SHORT,)),
    ],
)
async def test_call_that_fails(
    tmp_path: Path, work: Callable[[LocalStore], Awaitable[None]], number: int
) -> None:
    sabotage = Sabotage()
    failed = 0
    with sabotage.installed():
        for index, failing in enumerate(sabotage.each_call(number)):
            folder = tmp_path / f"{index}"
            (folder / "sub").mkdir(parents=True)
            (folder / "sub/f").write_bytes(b"old")
            before = descriptors()
            store = await LocalStore.open(folder)
            try:
                with failing:
                    await work(store)
            except FtransferError:
                failed += 1
            assert contents(folder) <= KNOWN
            await store.close()
            assert descriptors() == before, f"call {index + 1}, {sabotage.hit}"
    assert (failed > 0) == (number != SHORT)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EINTR])
async def test_own_file_that_cannot_be_opened_is_not_left_open(tmp_path: Path, number: int) -> None:
    (tmp_path / "f").write_bytes(b"own")
    sabotage = Sabotage()
    failed = 0
    with sabotage.installed():
        for failing in sabotage.each_call(number):
            before = descriptors()
            try:
                with failing:
                    reader = await own_files.open_own_file(tmp_path / "f")
                    try:
                        assert await reader.read(0, 10) == b"own"
                    finally:
                        await reader.close()
            except FtransferError:
                failed += 1
            assert descriptors() == before, sabotage.hit
    assert failed > 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_partial_survives_a_call_that_fails_when_it_is_taken_up(
    tmp_path: Path, number: int
) -> None:
    announced = UploadSpec(len(DATA), source="s")
    sabotage = Sabotage()
    with sabotage.installed():
        for index, failing in enumerate(sabotage.each_call(number)):
            folder = tmp_path / f"{index}"
            folder.mkdir()
            store = await LocalStore.open(folder)
            writer = await store.open_write(parse_name("f"), announced)
            await writer.write(DATA[:500])
            await writer.suspend()
            with contextlib.suppress(FtransferError), failing:
                await (await store.open_write(parse_name("f"), announced)).suspend()
            writer = await store.open_write(parse_name("f"), announced)
            assert writer.offset == 500, f"call {index + 1}, {sabotage.hit}"
            await writer.abort()
            await store.close()
