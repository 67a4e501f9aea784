"""The operating system's hints: what is made of them, and what if some are lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.protocol.live import CREATED, MOVED, Change, Rescan
from ftransfer.watch import watcher as watcher_module
from ftransfer.watch.hints import QueueOverflow
from ftransfer.watch.inotify import InotifyHints
from ftransfer.watch.portable_hints import PortableHints
from ftransfer.watch.watcher import FolderWatcher
from tests.e2e.test_watch import Eye
from tests.support.service import Service, serve

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
OVERFLOW = "more changes at once than the system reports"


@pytest.fixture(params=[InotifyHints, PortableHints])
async def service(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """Both forms of the watch, whatever the system is."""
    monkeypatch.setattr(watcher_module, "InotifyHints", request.param)
    async with serve(tmp_path) as service:
        yield service


def watcher_of(service: Service) -> FolderWatcher:
    watcher = service.server.service.changes._watcher
    assert isinstance(watcher, FolderWatcher)
    return watcher


async def heard(eye: Eye, wanted: Callable[[Any], bool]) -> None:
    while not wanted(await eye.next()):
        pass


async def test_a_name_that_is_not_utf8(service: Service) -> None:
    async with service.client() as bob, Eye(bob) as eye:
        (service.root / "\udcff").write_bytes(b"x")  # the library cannot tell it, and breaks off
        await heard(eye, lambda event: isinstance(event, Change) and event.name == "\udcff")
        (service.root / "after").write_bytes(b"x")
        await heard(eye, lambda event: isinstance(event, Change) and event.name == "after")


async def test_a_folder_is_followed_where_it_goes(service: Service, tmp_path: Path) -> None:
    (service.root / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    async with service.client() as bob, Eye(bob) as eye:
        os.rename(service.root / "a", service.root / "c")
        await heard(
            eye,
            lambda event: (
                isinstance(event, Change) and event.name == "c" and event.what in (CREATED, MOVED)
            ),
        )
        (service.root / "c" / "b" / "new").write_bytes(b"x")
        await heard(eye, lambda event: isinstance(event, Change) and event.name == "c/b/new")
        os.rename(service.root / "c", tmp_path / "outside" / "c")
        await heard(eye, lambda event: isinstance(event, Change) and event.name == "c")
        os.rename(tmp_path / "outside" / "c", service.root / "back")
        (service.root / "back" / "b" / "newer").write_bytes(b"x")
        await heard(eye, lambda event: isinstance(event, Change) and event.name == "back/b/newer")


async def test_lost_hints_lead_to_a_rescan(service: Service) -> None:
    async with service.client() as bob, Eye(bob) as eye:
        watcher_of(service)._on_watch_lost(QueueOverflow(OVERFLOW))
        event = await eye.next()
        assert isinstance(event, Rescan) and event.why == OVERFLOW


async def test_so_many_hints_that_some_may_be_lost_are_taken_for_a_loss(tmp_path: Path) -> None:
    failures: list[Exception] = []
    told: list[set[str]] = []
    watch = PortableHints(str(tmp_path), told.append, failures.append)
    watch._accept(set())
    watch._accept({f"{number}" for number in range(8191)})
    assert len(told) == 1 and not failures
    watch._accept({f"{number}" for number in range(8192)})
    assert len(told) == 1 and isinstance(failures[0], QueueOverflow)


async def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError):
            await InotifyHints(
                str(tmp_path / "missing"), lambda paths: None, lambda error: None
            ).start()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


@contextlib.contextmanager
def small_queue(events: int) -> Iterator[None]:
    """Limit queues made in the block to a number of events."""
    usual = QUEUE.read_text(encoding="ascii")
    try:
        QUEUE.write_text(str(events), encoding="ascii")
    except OSError:
        pytest.skip("the size of the queue cannot be changed here")
    try:
        yield
    finally:
        QUEUE.write_text(usual, encoding="ascii")


def recorded_hints(watcher: FolderWatcher) -> set[str]:
    """Return a set into which all paths go that the kernel reports from now on."""
    hinted: set[str] = set()
    hints = watcher._hints
    assert isinstance(hints, InotifyHints)
    pass_on = hints._on_paths

    def note(paths: set[str]) -> None:
        hinted.update(paths)
        pass_on(paths)

    hints._on_paths = note
    return hinted


@pytest.mark.root
async def test_a_real_overflow_of_the_kernels_queue_is_told_and_made_good(tmp_path: Path) -> None:
    async with (
        serve(tmp_path) as service,
        service.client() as bob,
        contextlib.AsyncExitStack() as stack,
    ):
        eye = Eye(bob)
        with small_queue(16):
            await stack.enter_async_context(eye)
        hinted = recorded_hints(watcher_of(service))
        names = {*(f"{number}" for number in range(400)), "late"}

        def flood() -> None:
            for number in range(400):
                (service.root / f"{number}").write_bytes(b"x")
            (service.root / "late").mkdir()

        await asyncio.to_thread(flood)
        seen: list[str] = []
        reasons: list[str] = []
        while len(seen) < len(names):
            event = await eye.next()
            if isinstance(event, Rescan):
                reasons.append(event.why)
            else:
                assert isinstance(event, Change) and event.what == CREATED
                seen.append(event.name)
        assert sorted(seen) == sorted(names)  # each once
        assert reasons[0] == OVERFLOW
        assert len(hinted) < len(names)  # the kernel did lose some
        # The watch is whole again, also below a folder of which the kernel has not told.
        (service.root / "late" / "new").write_bytes(b"x")
        await heard(eye, lambda event: isinstance(event, Change) and event.name == "late/new")
