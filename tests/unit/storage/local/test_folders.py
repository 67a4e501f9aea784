"""A new folder is filled aside and published with one rename; nothing is lost or left."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import AlreadyThere, DigestMismatch
from ftransfer.storage.base import FILE, SmallFile
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.staging import TEMP
from ftransfer.storage.local.syscalls import Kernel

PLACE = ".ftransfer"


class WatchedKernel(Kernel):
    """Counts renames, and lets something happen before the first of a folder."""

    def __init__(self) -> None:
        super().__init__()
        self.renamed: list[str] = []
        self.made_meanwhile: Path | None = None

    def rename(self, source: str, target: str, source_folder: int, target_folder: int) -> None:
        self.renamed.append(target)
        super().rename(source, target, source_folder, target_folder)

    def rename_new(self, source: str, target: str, source_folder: int, target_folder: int) -> None:
        if self.made_meanwhile is not None:
            self.made_meanwhile.mkdir(exist_ok=True)
        self.renamed.append(target)
        super().rename_new(source, target, source_folder, target_folder)


@pytest.fixture
def kernel() -> WatchedKernel:
    return WatchedKernel()


@pytest.fixture
async def store(tmp_path: Path, kernel: WatchedKernel) -> AsyncIterator[LocalStore]:
    opened = await LocalStore.open(tmp_path, kernel=kernel)
    yield opened
    await opened.close()


def small(name: str, data: bytes = b"x", *, if_absent: bool = False, digest: str = "") -> SmallFile:
    return SmallFile(
        name,
        FILE,
        1_700_000_000_000_000_000,
        0o640,
        data,
        digest or digest_of(data),
        if_absent=if_absent,
    )


def content(folder: Path) -> dict[str, bytes]:
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {name: data for name, data in found.items() if not name.startswith(PLACE)}


def left_aside(folder: Path) -> list[Path]:
    return list((folder / PLACE / TEMP).glob("*/*"))


async def test_new_folder_takes_one_rename(
    store: LocalStore, kernel: WatchedKernel, tmp_path: Path
) -> None:
    files = [small(f"new/f{number}", bytes([number])) for number in range(20)]
    assert await store.write_small(files) == [None] * 20
    assert kernel.renamed == ["new"]
    assert content(tmp_path) == {file.name: bytes(file.data) for file in files}
    assert not left_aside(tmp_path)
    kernel.renamed.clear()
    assert await store.write_small([small("new/f0", b"other"), small("new/g")]) == [None, None]
    assert kernel.renamed == ["f0", "g"]


async def test_folder_that_comes_meanwhile_gets_each_file(
    store: LocalStore, kernel: WatchedKernel, tmp_path: Path
) -> None:
    kernel.made_meanwhile = tmp_path / "new"
    assert await store.write_small([small("new/a"), small("new/b", if_absent=True)]) == [None, None]
    assert content(tmp_path) == {"new/a": b"x", "new/b": b"x"}
    assert not left_aside(tmp_path)


async def test_folders_within_new_folders(store: LocalStore, tmp_path: Path) -> None:
    names = ["a/1", "a/b/2", "a/b/c/3", "d/e/f/4", "d/5"]
    assert await store.write_small([small(name) for name in names]) == [None] * 5
    assert sorted(content(tmp_path)) == sorted(names)
    assert not left_aside(tmp_path)


async def test_name_that_comes_twice_has_the_last_content(
    store: LocalStore, tmp_path: Path
) -> None:
    results = await store.write_small(
        [small("new/a", b"1"), small("new/a", b"2"), small("new/a", b"3", if_absent=True)]
    )
    assert results[:2] == [None, None]
    assert isinstance(results[2], AlreadyThere)
    assert content(tmp_path) == {"new/a": b"2"}
    assert not left_aside(tmp_path)


async def test_file_that_does_not_verify_fails_alone(store: LocalStore, tmp_path: Path) -> None:
    results = await store.write_small(
        [
            small("new/a"),
            small("new/b", digest=digest_of(b"y")),
            small("none/c", digest=digest_of(b"")),
        ]
    )
    assert [type(result) for result in results] == [type(None), DigestMismatch, DigestMismatch]
    assert content(tmp_path) == {"new/a": b"x"}
    assert not (tmp_path / "none").exists()
    assert not left_aside(tmp_path)


async def test_group_is_inherited(store: LocalStore, kernel: WatchedKernel, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    assert await store.write_small([small("shared/new/a")]) == [None]
    assert (tmp_path / "shared" / "new").stat().st_mode & stat.S_ISGID
    assert kernel.renamed == ["a"]


async def test_access_list_is_inherited(
    store: LocalStore, kernel: WatchedKernel, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    # User::rwx user:12345:rw- group mask other
    entries = (
        (1, 7, -1),
        (2, 6, 12345),
        (4, 5, -1),
        (16, 7, -1),
        (32, 5, -1),
    )
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(tmp_path / "shared", "system.posix_acl_default", value)
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP
        pytest.skip("this file system has no access lists")
    assert await store.write_small([small("shared/new/a")]) == [None]
    assert os.getxattr(tmp_path / "shared" / "new", "system.posix_acl_default") == value
    assert kernel.renamed == ["a"]


async def test_what_a_kill_left_aside_is_collected(tmp_path: Path) -> None:
    aside = tmp_path / PLACE / TEMP / "1-dead" / "7"
    aside.mkdir(parents=True)
    (aside / "half").write_bytes(b"ha")
    (aside.parent / "8").write_bytes(b"other")
    store = await LocalStore.open(tmp_path)
    assert not (tmp_path / PLACE / TEMP / "1-dead").exists()
    await store.close()
