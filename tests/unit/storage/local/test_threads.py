"""Jobs in threads: awaited when cancelled, never on the loop, descriptors open until the end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import LocalProtocolError, StoreFailed, Superseded
from ftransfer.names import ROOT, parse_name
from ftransfer.storage.base import Space, UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.syscalls import Kernel
from ftransfer.storage.local.threads import Jobs, UseCounter


class Pause:
    """A place in a job where it waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._go_on = threading.Event()

    def wait_here(self) -> None:
        self._loop.call_soon_threadsafe(self.reached.set)
        self._go_on.wait(10)

    def go_on(self) -> None:
        self._go_on.set()


class PausingKernel(Kernel):
    """An operating system that stops in one call of the given name."""

    def __init__(self, call: str, pause: Pause) -> None:
        super().__init__()
        self._call = call
        self._pause = pause

    def _stop_in(self, call: str) -> None:
        if call == self._call:
            self._call = ""
            self._pause.wait_here()

    def sync_file(self, descriptor: int) -> None:
        self._stop_in("sync_file")
        super().sync_file(descriptor)

    def reserve(self, descriptor: int, offset: int, size: int) -> bool:
        self._stop_in("reserve")
        return super().reserve(descriptor, offset, size)

    def space(self, descriptor: int) -> Space:
        self._stop_in("space")
        return super().space(descriptor)


def data_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.data"))


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    opened = Jobs()
    yield opened
    await opened.close()


async def cancel_twice(task: asyncio.Task[object], pause: Pause) -> None:
    """Cancel a task that is in a job, and see that it ends only after the job."""
    for _ in range(2):
        task.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
    assert not task.done()
    pause.go_on()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_job_is_waited_for(jobs: Jobs) -> None:
    pause = Pause()
    task: asyncio.Task[object] = asyncio.create_task(jobs.run(pause.wait_here))
    await pause.reached.wait()
    await cancel_twice(task, pause)


async def test_error_of_a_cancelled_job_is_not_reported_as_lost(jobs: Jobs) -> None:
    pause = Pause()

    def fail() -> None:
        pause.wait_here()
        raise OSError

    task: asyncio.Task[object] = asyncio.create_task(jobs.run(fail))
    await pause.reached.wait()
    await cancel_twice(task, pause)


async def test_timeout_around_a_job_still_is_a_timeout(jobs: Jobs) -> None:
    pause = Pause()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as scope:
            task = asyncio.ensure_future(pause.reached.wait())
            task.add_done_callback(lambda _: scope.reschedule(0))
            task.add_done_callback(lambda _: pause.go_on())
            await jobs.run(pause.wait_here)
            await asyncio.Event().wait()


async def test_closed_jobs_take_no_more() -> None:
    jobs = Jobs()
    running = asyncio.create_task(jobs.run(threading.current_thread))
    await asyncio.sleep(0)
    await jobs.close()
    assert (await running).name.startswith("ftransfer-io")
    with pytest.raises(StoreFailed):
        await jobs.run(int)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("ftransfer-io")
    ]


async def test_gate_lets_out_before_it_is_shut() -> None:
    gate = UseCounter()
    with gate, gate:
        shutting = asyncio.create_task(gate.shut(lambda: Superseded("later")))
        await asyncio.sleep(0)
        with pytest.raises(Superseded), gate:
            pass
        assert not shutting.done()
    await shutting
    with pytest.raises(Superseded):
        gate.check()
    await gate.shut(lambda: StoreFailed("for another reason"))
    with pytest.raises(StoreFailed):
        gate.check()


@pytest.mark.parametrize("call", ["reserve", "sync_file", "space"])
async def test_loop_runs_while_the_disk_does_not(tmp_path: Path, call: str) -> None:
    pause = Pause()
    store = await LocalStore.open(tmp_path, kernel=PausingKernel(call, pause))

    async def work() -> None:
        writer = await store.open_write(parse_name("f"), UploadSpec(size=1))
        await writer.write(b"x")
        await writer.commit(digest_of(b"x"))
        await store.space()

    task = asyncio.create_task(work())
    await pause.reached.wait()
    assert (await store.stat(ROOT)).kind == "dir"  # another job gets its turn, too
    pause.go_on()
    await task
    await store.close()


async def test_cancelled_open_write_leaves_nothing_open(tmp_path: Path) -> None:
    pause = Pause()
    before = len(os.listdir("/proc/self/fd"))
    store = await LocalStore.open(tmp_path, kernel=PausingKernel("reserve", pause))
    task: asyncio.Task[object] = asyncio.create_task(
        store.open_write(parse_name("f"), UploadSpec(size=1, source="s"))
    )
    await pause.reached.wait()
    await cancel_twice(task, pause)
    # Nobody holds it any more
    writer = await store.open_write(parse_name("f"), UploadSpec(size=1, source="s"))
    await writer.abort()
    await store.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == []


async def test_cancelled_commit_is_complete(tmp_path: Path) -> None:
    pause = Pause()
    store = await LocalStore.open(tmp_path, kernel=PausingKernel("sync_file", pause))
    writer = await store.open_write(parse_name("f"), UploadSpec(size=1, source="s"))
    await writer.write(b"x")
    task: asyncio.Task[object] = asyncio.create_task(writer.commit(digest_of(b"x")))
    await pause.reached.wait()
    await cancel_twice(task, pause)
    await writer.abort()
    assert (tmp_path / "f").read_bytes() == b"x"
    await store.close()


async def test_cancelled_writes_leave_the_offset_at_what_is_in_place(tmp_path: Path) -> None:
    store = await LocalStore.open(tmp_path)
    writer = await store.open_write(parse_name("f"), UploadSpec(source="s"))
    block = bytes(range(256)) * 4096
    for turns in range(20):
        task = asyncio.create_task(writer.write(block))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert writer.offset % len(block) == 0
    (data,) = data_files(tmp_path)
    assert data.stat().st_size == writer.offset
    assert data.read_bytes() == block * (writer.offset // len(block))
    await writer.abort()
    await store.close()


async def test_store_closes_after_the_last_job(tmp_path: Path) -> None:
    pause = Pause()
    before = len(os.listdir("/proc/self/fd"))
    store = await LocalStore.open(tmp_path, kernel=PausingKernel("reserve", pause))
    opening = asyncio.create_task(store.open_write(parse_name("f"), UploadSpec(size=1, source="s")))
    await pause.reached.wait()
    looking = asyncio.create_task(store.stat(ROOT))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not closing.done()
    pause.go_on()
    await closing
    assert (await looking).kind == "dir"
    with pytest.raises(LocalProtocolError):
        await (await opening).write(b"x")
    with pytest.raises(StoreFailed):
        await store.open_write(parse_name("f"), UploadSpec())
    assert len(os.listdir("/proc/self/fd")) == before


async def test_reader_is_closed_after_its_last_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (1 << 20))
    store = await LocalStore.open(tmp_path)
    reader = await store.open_read(parse_name("f"))
    read = asyncio.create_task(reader.read(0, 1 << 20))
    await asyncio.sleep(0)
    await reader.close()
    assert len(await read) == 1 << 20
    await store.close()


@pytest.mark.parametrize("whole_bytes", [0, 10])
async def test_open_cancelled_at_each_step_leaks_nothing(tmp_path: Path, whole_bytes: int) -> None:
    (tmp_path / "f").write_bytes(b"x")
    store = await LocalStore.open(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for turns in range(8):
        opening = asyncio.create_task(store.open_whole(parse_name("f"), whole_bytes))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled():
            await opening.result().close()
    assert len(os.listdir("/proc/self/fd")) == before
    await store.close()


async def test_listing_cancelled_at_each_step_leaks_nothing(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"f{number}").write_bytes(b"")
    store = await LocalStore.open(tmp_path)
    before = len(os.listdir("/proc/self/fd"))

    async def count() -> int:
        return sum([len(batch) async for batch in store.scan(ROOT)])

    for turns in range(30):
        task = asyncio.create_task(count())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert len(os.listdir("/proc/self/fd")) == before
    await store.close()
