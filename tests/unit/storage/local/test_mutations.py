"""Removing trees: any depth and width, in steps, with few descriptors, and no mount."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ftransfer.errors import FtransferError, StoreFailed
from ftransfer.names import SafeName, parse_name
from ftransfer.storage.local import LocalStore, descent, removal
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, Kernel
from ftransfer.storage.local.threads import MAX_LONG, MAX_LONG_EACH, MAX_THREADS, Work
from ftransfer.system.turns import Turn
from tests.support.trees import deep_tree

DEPTH = sys.getrecursionlimit() + 100


class CountingKernel(Kernel):
    """It counts what is opened, and by how long paths."""

    opened = 0
    parts = 0

    def open_beneath(
        self, folder: int, path: bytes, flags: int, *, stays_on_mount: bool = False
    ) -> int:
        self.opened += 1
        self.parts += path.count(b"/") + 1
        return super().open_beneath(folder, path, flags, stays_on_mount=stays_on_mount)


@pytest.fixture
def kernel() -> CountingKernel:
    return CountingKernel()


@pytest.fixture(params=["openat2", "walk"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, kernel: CountingKernel
) -> AsyncIterator[LocalStore]:
    try:
        opened = await LocalStore.open(
            tmp_path, durable=False, resolver=request.param, kernel=kernel
        )
    except StoreFailed:
        pytest.skip("this kernel has no openat2")
    yield opened
    await opened.close()


async def test_deep_tree_goes_without_a_walk_from_the_top_for_each_level(
    store: LocalStore, kernel: CountingKernel, tmp_path: Path
) -> None:
    async with deep_tree(tmp_path / "top", DEPTH):
        kernel.parts = 0
        assert await store.remove(parse_name("top"), recursive=True) == 2 * DEPTH + 1
        assert not (tmp_path / "top").exists()
        assert kernel.parts <= 2 * DEPTH + 10


async def test_wide_tree_goes_in_chunks(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_CHUNK", 20)
    width = 50
    for number in range(width):
        (tmp_path / f"top/{number % 3}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"top/{number % 3}/{number}").touch()
        (tmp_path / f"top/folder{number}").mkdir()
    assert await store.remove(parse_name("top"), recursive=True) == 2 * width + 4
    assert not (tmp_path / "top").exists()


def test_descent_holds_few_handles_and_finds_its_way_back(tmp_path: Path) -> None:
    tmp_path.joinpath("top", *["d"] * 4 * descent.MAX_HANDLES).mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    way = descent.Descent(os.open(tmp_path / "top", FOLDER_FLAGS), Kernel())
    for _ in range(4 * descent.MAX_HANDLES):
        way.enter("d")
        assert len(os.listdir("/proc/self/fd")) <= before + descent.MAX_HANDLES
    for _ in range(4 * descent.MAX_HANDLES):
        way.leave()
    assert os.path.samestat(os.fstat(way.handle), (tmp_path / "top").stat())
    way.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_descent_does_not_follow_a_folder_that_was_moved_away(tmp_path: Path) -> None:
    tmp_path.joinpath("top", *["d"] * (descent.MAX_HANDLES + 5)).mkdir(parents=True)
    way = descent.Descent(os.open(tmp_path / "top", FOLDER_FLAGS), Kernel())
    for _ in range(descent.MAX_HANDLES + 5):
        way.enter("d")
    (tmp_path / "other").mkdir()
    (tmp_path / "top/d/d/d").rename(tmp_path / "other/d")
    with pytest.raises(OSError, match="Stale"):
        for _ in range(descent.MAX_HANDLES + 5):
            way.leave()
    way.close()


async def test_what_comes_into_a_folder_while_it_is_removed_goes_too(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top/d").mkdir(parents=True)
    rmdir = os.rmdir
    late = [tmp_path / "top/d/late"]

    def put_before(name: str, *, dir_fd: int | None = None) -> None:
        if late:
            late.pop().touch()
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", put_before)
    assert await store.remove(parse_name("top"), recursive=True) == 3
    assert not late and not (tmp_path / "top").exists()


async def test_removal_ends_after_a_step_when_nobody_waits_for_it(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = itertools.cycle((1, 2))
    monkeypatch.setattr(
        "ftransfer.system.turns.TimeSlice.is_over", property(lambda step: next(steps) > 1)
    )
    stepped = asyncio.Event()
    again = Turn.again

    async def noting_again(turn: Turn, size: int) -> None:
        stepped.set()
        await again(turn, size)

    monkeypatch.setattr(Turn, "again", noting_again)
    (tmp_path / "top").mkdir()
    for number in range(500):
        (tmp_path / f"top/{number}").touch()
    removing = asyncio.create_task(store.remove(parse_name("top"), recursive=True))
    await stepped.wait()
    removing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await removing
    left = len(os.listdir(tmp_path / "top"))
    assert left > 300
    await store.stat(parse_name("top"))
    assert len(os.listdir(tmp_path / "top")) == left


async def test_long_work_leaves_half_of_the_threads_to_others(tmp_path: Path) -> None:
    store = await LocalStore.open(tmp_path)
    most = running = 0
    all_run, go_on = asyncio.Event(), threading.Event()
    lock, loop = threading.Lock(), asyncio.get_running_loop()

    def work() -> Work[None]:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        if running == MAX_LONG:
            loop.call_soon_threadsafe(all_run.set)
        go_on.wait(10)
        with lock:
            running -= 1
        yield

    owners = [f"user {number}" for number in range(20)]
    tasks = [
        asyncio.create_task(store._jobs.work(owner, work())) for owner in owners for _ in range(5)
    ]
    await all_run.wait()
    for _ in range(MAX_THREADS):
        await store.stat(SafeName(()))  # a short job gets a thread at once
    go_on.set()
    await asyncio.gather(*tasks)
    assert most == MAX_LONG
    await store.close()


async def test_one_owner_takes_few_threads(tmp_path: Path) -> None:
    store = await LocalStore.open(tmp_path)
    for number in range(6):
        tmp_path.joinpath(f"{number}", *["d"] * 20).mkdir(parents=True)
    jobs = store._jobs
    most = 0
    taken = jobs.run

    async def run(call, *args, **kwargs):  # type: ignore[no-untyped-def]  # passes all on
        nonlocal most
        most = max(most, jobs.turns.running)
        return await taken(call, *args, **kwargs)

    jobs.run = run  # type: ignore[method-assign]  # to count
    view = store.on_behalf_of("ann")
    await asyncio.gather(
        *(view.remove(parse_name(f"{number}"), recursive=True) for number in range(6))
    )
    assert most == MAX_LONG_EACH
    await store.close()


@contextlib.contextmanager
def mounted(kind: str, folder: Path) -> Iterator[None]:
    """Mount something on a folder: a file system of its own, or another folder of the same one."""
    source = folder.with_name(f"{folder.name}-source")
    source.mkdir(exist_ok=True)
    command = (
        ["mount", "--bind", str(source), str(folder)]
        if kind == "bind"
        else ["mount", "-t", "tmpfs", "none", str(folder)]
    )
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.parametrize("removed", ["top", "top/sub/mount"])
async def test_nothing_goes_that_is_mounted_there(tmp_path: Path, kind: str, removed: str) -> None:
    share = tmp_path / "share"
    mount = share / "top/sub/mount"
    mount.mkdir(parents=True)
    store = await LocalStore.open(share)
    try:
        with mounted(kind, mount):
            (mount / "precious").write_bytes(b"x")
            with pytest.raises(FtransferError, match="mounted there or below"):
                await store.remove(parse_name(removed), recursive=True)
            assert (mount / "precious").read_bytes() == b"x"
    finally:
        await store.close()
