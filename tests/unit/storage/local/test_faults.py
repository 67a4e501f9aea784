"""What the operating system refuses, as callers meet it; and the order of syncs."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    AlreadyThere,
    DiskFull,
    FolderNotEmpty,
    Forbidden,
    FtransferError,
    NameRefused,
    NotAFile,
    NotFound,
    ReadOnly,
    StoreFailed,
)
from ftransfer.names import SafeName, parse_name
from ftransfer.storage.base import FILE, SmallFile, Space, UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.folders import GROUP
from ftransfer.storage.local.syscalls import Kernel
from ftransfer.storage.oserrors import translate, translated

TABLE: list[tuple[int, type[FtransferError]]] = [
    (errno.ENOENT, NotFound),
    (errno.ENOTDIR, NotFound),
    (errno.ELOOP, NotFound),
    (errno.EACCES, Forbidden),
    (errno.EPERM, Forbidden),
    (errno.EROFS, ReadOnly),
    (errno.ENOSPC, DiskFull),
    (errno.EDQUOT, DiskFull),
    (errno.EISDIR, NotAFile),
    (errno.ENAMETOOLONG, NameRefused),
    (errno.EXDEV, StoreFailed),
    (errno.EEXIST, AlreadyThere),
    (errno.ENOTEMPTY, FolderNotEmpty),
    (errno.EMFILE, StoreFailed),
    (errno.ENFILE, StoreFailed),
    (errno.EIO, StoreFailed),
    (errno.ESTALE, StoreFailed),
    (0, StoreFailed),
]


@pytest.mark.parametrize(("number", "kind"), TABLE)
def test_every_errno_becomes_one_class_and_one_sentence(
    number: int, kind: type[FtransferError]
) -> None:
    error = translate(
        OSError(number, os.strerror(number), "/home/owner/real/path"), parse_name("a/b\n")
    )
    assert type(error) is kind
    assert str(error).startswith("a/b\\n: ")
    assert error.name == "a/b\n"
    assert "real" not in str(error) and "\n" not in str(error)


def test_error_without_errno_is_translated_too() -> None:
    assert type(translate(OSError("odd"), "")) is StoreFailed


def test_translated_keeps_the_cause_and_lets_others_pass() -> None:
    with pytest.raises(NotFound) as caught, translated(SafeName(())):
        raise FileNotFoundError(errno.ENOENT, "gone")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert str(caught.value).startswith("/: ")
    with pytest.raises(KeyError), translated("a"):
        raise KeyError


class FailingKernel(Kernel):
    """A system in which one call fails, from the `after`-th time on; calls are recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.failing: dict[str, int] = {}
        self.after: dict[str, int] = {}
        self.in_memory = False

    def fail(self, call: str, number: int, *, after: int = 0) -> None:
        self.failing[call] = number
        self.after[call] = after + self.calls.count(call)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call in self.failing and self.calls.count(call) > self.after[call]:
            raise OSError(self.failing[call], os.strerror(self.failing[call]))

    def rename(self, source: str, target: str, source_folder: int, target_folder: int) -> None:
        self._note("rename")
        super().rename(source, target, source_folder, target_folder)

    def _rename_noreplace(
        self, source: str, target: str, source_folder: int, target_folder: int
    ) -> None:
        self._note("rename_noreplace")
        super()._rename_noreplace(source, target, source_folder, target_folder)

    def _fallocate(self, descriptor: int, offset: int, size: int) -> None:
        self._note("fallocate")
        super()._fallocate(descriptor, offset, size)

    def _is_in_memory(self, descriptor: int) -> bool:
        return self.in_memory

    def space(self, descriptor: int) -> Space:
        self._note("space")
        return Space(1000)

    def begin_sync(self, descriptor: int, offset: int, size: int) -> None:
        self._note(f"begin_sync {offset} {size}")
        super().begin_sync(descriptor, offset, size)

    def sync_file(self, descriptor: int) -> None:
        self._note("sync_file")
        super().sync_file(descriptor)

    def sync_folder(self, descriptor: int) -> None:
        self._note("sync_folder")
        super().sync_folder(descriptor)

    def sync_all(self, descriptor: int) -> None:
        self._note("sync_all")
        super().sync_all(descriptor)

    def open_beneath(
        self, folder: int, path: bytes, flags: int, *, stays_on_mount: bool = False
    ) -> int:
        if "open_beneath" in self.failing:
            self._note("open_beneath")
        return super().open_beneath(folder, path, flags, stays_on_mount=stays_on_mount)


@pytest.fixture
def kernel() -> FailingKernel:
    return FailingKernel()


@pytest.fixture
async def store(tmp_path: Path, kernel: FailingKernel) -> AsyncIterator[LocalStore]:
    opened = await LocalStore.open(tmp_path, kernel=kernel)
    yield opened
    await opened.close()


def announced(size: int | None, *, if_absent: bool = False) -> UploadSpec:
    return UploadSpec(size=size, source="s", owner="ann", if_absent=if_absent)


def files(count: int, folders: int = 1) -> list[SmallFile]:
    return [
        SmallFile(f"d{number % folders}/f{number}", FILE, 0, 0o644, b"x", digest_of(b"x"))
        for number in range(count)
    ]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# Order.


async def test_commit_syncs_content_then_renames_then_syncs_the_folder(
    store: LocalStore, kernel: FailingKernel
) -> None:
    writer = await store.open_write(parse_name("f"), announced(1))
    await writer.write(b"x")
    kernel.calls.clear()
    await writer.commit(digest_of(b"x"))
    assert kernel.calls == ["sync_file", "rename", "sync_folder"]


async def test_commit_that_nobody_waits_for_is_not_synced(
    store: LocalStore, kernel: FailingKernel
) -> None:
    writer = await store.open_write(parse_name("f"), announced(1)._replace(durable=False))
    await writer.write(b"x")
    kernel.calls.clear()
    await writer.commit(digest_of(b"x"))
    assert kernel.calls == ["rename"]


async def test_store_that_is_not_durable_does_not_sync(
    tmp_path: Path, kernel: FailingKernel
) -> None:
    store = await LocalStore.open(tmp_path, durable=False, kernel=kernel)
    writer = await store.open_write(parse_name("f"), announced(1))
    await writer.write(b"x")
    await writer.commit(digest_of(b"x"))
    await store.write_small(files(GROUP * 2, GROUP * 2))
    await store.make_folder(parse_name("new"))
    await store.remove(parse_name("new"))
    assert not [call for call in kernel.calls if call.startswith("sync")]
    await store.close()


async def test_few_small_files_are_synced_each(store: LocalStore, kernel: FailingKernel) -> None:
    await store.make_folder(parse_name("d0"))
    kernel.calls.clear()
    await store.write_small(files(GROUP - 1))
    assert kernel.calls == ["sync_file"] * (GROUP - 1) + ["rename"] * (GROUP - 1) + ["sync_folder"]


async def test_many_small_files_are_synced_together(
    store: LocalStore, kernel: FailingKernel
) -> None:
    await store.make_folder(parse_name("d0"))
    kernel.calls.clear()
    await store.write_small(files(GROUP))
    assert kernel.calls == ["sync_all"] + ["rename"] * GROUP + ["sync_folder"]


async def test_many_folders_are_synced_together(store: LocalStore, kernel: FailingKernel) -> None:
    await store.write_small(files(3 * GROUP, GROUP))
    assert kernel.calls == ["sync_all"] + ["rename_noreplace"] * GROUP + ["sync_all"]


async def test_small_files_without_syncfs_are_synced_each(
    store: LocalStore, kernel: FailingKernel
) -> None:
    kernel.has_sync_all = False
    await store.write_small(files(2 * GROUP, 2 * GROUP))
    assert kernel.calls.count("sync_file") == 2 * GROUP
    assert kernel.calls.count("sync_folder") >= 2 * GROUP
    assert "sync_all" not in kernel.calls


# Failures.


async def test_failed_sync_publishes_nothing(
    store: LocalStore, kernel: FailingKernel, tmp_path: Path
) -> None:
    kernel.fail("sync_file", errno.EIO)
    writer = await store.open_write(parse_name("f"), announced(1))
    await writer.write(b"x")
    with pytest.raises(StoreFailed):
        await writer.commit(digest_of(b"x"))
    assert not (tmp_path / "f").exists()
    await writer.suspend()
    assert [partial.kept for partial in await store.partials()] == [1]


async def test_failed_folder_sync_is_not_acknowledged_and_ends_the_writer(
    store: LocalStore, kernel: FailingKernel
) -> None:
    writer = await store.open_write(parse_name("f"), announced(1))
    await writer.write(b"x")
    kernel.fail("sync_folder", errno.EIO)
    with pytest.raises(StoreFailed):
        await writer.commit(digest_of(b"x"))
    await writer.suspend()
    assert list(await store.partials()) == []
    newer = await store.open_write(parse_name("f"), announced(1))
    assert newer.offset == 0
    await newer.abort()


@pytest.mark.parametrize("calls", [["sync_all"], ["rename_noreplace", "rename"]])
async def test_failed_group_publishes_nothing(
    store: LocalStore, kernel: FailingKernel, tmp_path: Path, calls: list[str]
) -> None:
    for call in calls:
        kernel.fail(call, errno.ENOSPC)
    results = await store.write_small(files(GROUP))
    assert [type(result) for result in results] == [DiskFull] * GROUP
    assert files_below(tmp_path) == []


async def test_failed_last_sync_of_a_group_is_not_acknowledged(
    store: LocalStore, kernel: FailingKernel
) -> None:
    kernel.fail("sync_all", errno.EIO, after=1)
    results = await store.write_small(files(GROUP * 2, GROUP * 2))
    assert [type(result) for result in results] == [StoreFailed] * GROUP * 2


async def test_one_failed_rename_leaves_the_others(
    store: LocalStore, kernel: FailingKernel
) -> None:
    await store.make_folder(parse_name("d0"))
    kernel.fail("rename", errno.EIO, after=2)
    results = await store.write_small(files(3))
    assert [type(result) for result in results] == [type(None), type(None), StoreFailed]


async def test_disk_that_fills_up_keeps_what_is_in_place(store: LocalStore) -> None:
    writer = await store.open_write(parse_name("f"), announced(None))
    fast = await store.open_write(parse_name("g"), announced(None))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The nearest to a full disk that needs no disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DiskFull):
            await writer.write(bytes(2000))
        with pytest.raises(DiskFull):
            fast.write_blocking(memoryview(bytes(2000)))
        (result,) = await store.write_small(
            [SmallFile("h", FILE, 0, 0o644, bytes(2000), digest_of(bytes(2000)))]
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(result, DiskFull)
    assert writer.offset == fast.offset == 1000
    await writer.suspend()
    await fast.suspend()
    assert [partial.kept for partial in await store.partials()] == [1000, 1000]


async def test_rename_to_another_file_system_says_so(
    store: LocalStore, kernel: FailingKernel
) -> None:
    kernel.fail("rename", errno.EXDEV)
    writer = await store.open_write(parse_name("f"), announced(1))
    await writer.write(b"x")
    with pytest.raises(StoreFailed, match="another file system"):
        await writer.commit(digest_of(b"x"))
    await writer.abort()


@pytest.mark.parametrize(
    ("number", "size", "kind"),
    [(errno.ENOSPC, 1, DiskFull), (errno.EDQUOT, 1, DiskFull), (errno.EIO, 1, StoreFailed)],
)
async def test_failed_reservation(
    store: LocalStore, kernel: FailingKernel, number: int, size: int, kind: type[FtransferError]
) -> None:
    kernel.fail("fallocate", number)
    with pytest.raises(kind):
        await store.open_write(parse_name("f"), announced(size))


@pytest.mark.parametrize("durable", [True, False])
async def test_the_disk_begins_to_write_before_all_has_come(
    store: LocalStore, kernel: FailingKernel, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    monkeypatch.setattr("ftransfer.storage.local.writer._SYNC_BYTES", 4)
    writer = await store.open_write(parse_name("f"), UploadSpec(size=11, durable=durable))
    for piece in (b"abc", b"def", b"ghij", b"k"):
        writer.write_blocking(memoryview(piece))
    begun = [call for call in kernel.calls if call.startswith("begin_sync")]
    assert begun == (["begin_sync 0 6", "begin_sync 6 4"] if durable else [])
    await writer.commit(digest_of(b"abcdefghijk"))
    assert kernel.calls.count("sync_file") == durable


@pytest.mark.parametrize("in_memory", [True, False])
async def test_without_fallocate_two_uploads_are_not_promised_the_same_room(
    store: LocalStore, kernel: FailingKernel, in_memory: bool
) -> None:
    kernel.in_memory = in_memory
    kernel.fail("fallocate", errno.EOPNOTSUPP)
    first = await store.open_write(parse_name("f"), announced(600))
    with pytest.raises(DiskFull):
        await store.open_write(parse_name("g"), announced(401))
    second = await store.open_write(parse_name("g"), announced(400))
    await first.abort()  # its space is free again
    third = await store.open_write(parse_name("f"), announced(600))
    for writer in (second, third):
        await writer.abort()


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_without_fallocate_the_free_room_is_asked_for(
    store: LocalStore, kernel: FailingKernel, size: int, fits: bool, in_memory: bool
) -> None:
    kernel.in_memory = in_memory
    kernel.fail("fallocate", errno.EOPNOTSUPP)
    if fits:
        writer = await store.open_write(parse_name("f"), announced(size))
        assert not writer.reserved
        await writer.abort()
    else:
        with pytest.raises(DiskFull):
            await store.open_write(parse_name("f"), announced(size))
    assert ("fallocate" in kernel.calls) == (fits and not in_memory)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
async def test_if_absent_and_rename_without_renameat2(
    store: LocalStore, kernel: FailingKernel, number: int
) -> None:
    kernel.fail("rename_noreplace", number)
    early, late = [
        await store.open_write(parse_name("f"), UploadSpec(size=0, if_absent=True))
        for _ in range(2)
    ]
    await early.commit(digest_of(b""))
    with pytest.raises(AlreadyThere):
        await late.commit(digest_of(b""))
    await late.abort()
    await store.make_folder(parse_name("d"))
    await store.rename(parse_name("d"), parse_name("e"))
    await store.make_folder(parse_name("d"))
    for old, new in (("d", "e"), ("f", "e"), ("d", "f")):
        with pytest.raises(AlreadyThere):
            await store.rename(parse_name(old), parse_name(new))
    await store.rename(parse_name("f"), parse_name("g"))
    assert [
        entry.name async for batch in store.scan(SafeName(()), recursive=True) for entry in batch
    ] == ["d", "e", "g"]


async def test_openat2_forbidden_by_a_sandbox_is_done_without(
    tmp_path: Path, kernel: FailingKernel
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    kernel.fail("open_beneath", errno.EPERM)
    store = await LocalStore.open(tmp_path, kernel=kernel)
    assert (await store.stat(parse_name("f"))).size == 1
    await store.close()
    with pytest.raises(StoreFailed, match="openat2"):
        await LocalStore.open(tmp_path, kernel=kernel, resolver="openat2")


def fail_to_stat(monkeypatch: pytest.MonkeyPatch, last: str, error: OSError) -> None:
    """Make looking at a name in an open folder fail."""
    really = os.stat

    def stat(
        path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        if path == last and dir_fd is not None:
            raise error
        return really(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "stat", stat)


@pytest.mark.parametrize("recursive", [False, True])
async def test_what_cannot_be_looked_at_does_not_vanish_from_a_listing(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recursive: bool
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    fail_to_stat(monkeypatch, "b", OSError(errno.EIO, "Input/output error"))
    with pytest.raises(StoreFailed):
        _ = [
            entry
            async for batch in store.scan(SafeName(()), recursive=recursive)
            for entry in batch
        ]


async def test_folder_that_can_be_read_but_not_searched_is_listed_as_unread(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "inside").write_text("x")
    (tmp_path / "open").write_text("y")
    fail_to_stat(monkeypatch, "inside", PermissionError(errno.EACCES, "Permission denied"))
    entries = [entry async for batch in store.scan(SafeName(()), recursive=True) for entry in batch]
    assert [(entry.name, entry.unreadable) for entry in entries] == [
        ("closed", True),
        ("open", False),
    ]
