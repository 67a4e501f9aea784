"""watch --get and sync --watch: whatever the source does, the copy ends equal to a fresh one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ftransfer.cli.sync_watch import sync_on_changes
from ftransfer.client.client import Client
from ftransfer.client.retry import RetryRules
from ftransfer.client.trees.mirror import Mirror
from ftransfer.client.trees.options import TreeOptions
from ftransfer.errors import FtransferError
from ftransfer.protocol.live import CREATED, REMOVED, Change, LiveEvent
from tests.support.edits import Edits
from tests.support.service import Service, serve
from tests.support.trees import picture

pytestmark = pytest.mark.timeout(120)

MODES = ["watch --get", "sync get --watch", "sync put --watch"]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


class Pair:
    """A source and its copy, one in the share and one beside it, and what keeps them alike."""

    def __init__(self, service: Service, mode: str, *, delete: bool = True) -> None:
        self._service = service
        self._mode = mode
        self._delete = delete
        here, there = service.local / "in", service.root / "in"
        self.source, self.copy = (here, there) if "put" in mode else (there, here)
        self.events: list[tuple[LiveEvent, str]] = []
        self.failures: list[FtransferError | OSError] = []
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[None]:
        async with self._service.client(**options) as client:
            running = asyncio.create_task(self._run(client))
            try:
                yield
                if running.done():
                    await running
            finally:
                running.cancel()
                await asyncio.wait([running])

    async def _run(self, client: Client) -> None:
        if self._mode == "watch --get":
            follower = Mirror(
                client,
                "in",
                self.copy,
                delete=self._delete,
                on_event=self._hear,
                on_failure=self._hear_failure,
                check_s=5,
            )
            await follower.run()
        options = TreeOptions(delete=self._delete)

        async def copy() -> None:
            if "put" in self._mode:
                await client.put_tree(self.source, "in", options=options)
            else:
                await client.get_tree("in", self.copy, options=options)
            self._news.set()

        direction, source = ("put", str(self.source)) if "put" in self._mode else ("get", "in")
        await sync_on_changes(client, direction, source, copy)

    async def _hear(self, event: LiveEvent, path: str) -> None:
        self.events.append((event, path))
        self._news.set()

    def _hear_failure(self, error: FtransferError | OSError) -> None:
        self.failures.append(error)
        self._news.set()

    async def until(self, is_so: Callable[[], bool], what: object = "") -> None:
        """Wait until something is so, looking whenever there is news."""
        try:
            async with asyncio.timeout(40):
                while not is_so():
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what}: {self.difference()}; {self.failures}") from None

    async def settle(self, what: object = "") -> None:
        await self.until(lambda: not self.difference(), what)

    def difference(self) -> dict[str, tuple[object, object]]:
        """Return where the copy differs from the source.

        Names that only the copy has count if names are removed.
        """
        one, other = _without_times_of_folders(self.source), _without_times_of_folders(self.copy)
        names = one.keys() | other.keys() if self._delete else one.keys()
        return {
            name: (one.get(name), other.get(name))
            for name in names
            if one.get(name) != other.get(name)
        }


def _without_times_of_folders(root: Path) -> dict[str, tuple[object, ...]]:
    # That a name came and went again in a folder leaves a new mtime, which nobody is told of.
    return {
        name: about[:2] if about[0] == "dir" else about for name, about in picture(root).items()
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [1, 2])
async def test_copy_ends_as_the_source_whatever_was_done(
    service: Service, mode: str, seed: int
) -> None:
    pair = Pair(service, mode)
    pair.source.mkdir()
    edits = Edits(pair.source, seed)
    edits.some(10)
    for _ in range(2):  # the second time it starts with what was done meanwhile
        async with pair.running():
            await pair.settle(edits.done)
            for count in (1, 1, 2, 3, 5, 8):
                edits.some(count)
                await asyncio.sleep(0)
                edits.some(count)
                await pair.settle(edits.done)
        edits.some(5)


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def rename_folder(root: Path) -> None:
    os.rename(root / "a", root / "a2")


def swap_folders(root: Path) -> None:
    os.rename(root / "a", root / "t")
    os.rename(root / "b", root / "a")
    os.rename(root / "t", root / "b")


def folder_for_file(root: Path) -> None:
    os.rename(root / "u", root / "v")
    write(root / "u" / "z", "z")


def file_for_folder(root: Path) -> None:
    shutil.rmtree(root / "a")
    write(root / "a", "now a file")


def rebuild(root: Path) -> None:
    shutil.rmtree(root)
    write(root / "a" / "new", "built anew")


def swap_root(root: Path) -> None:
    write(root.parent / "next" / "fresh", "made beside it")
    os.rename(root, root.parent / "old")
    os.rename(root.parent / "next", root)


def switch_link(root: Path) -> None:
    for release in ("one", "two"):
        write(root.parent / release / "name", release)
    shutil.rmtree(root)
    for release in ("one", "two"):
        os.symlink(release, root.parent / "link")
        os.replace(root.parent / "link", root)


def move_far(root: Path) -> None:
    os.rename(root / "a" / "b", root / "b" / "inner")
    os.rename(root / "b", root / "a" / "outer")


EDITS = [
    rename_folder,
    swap_folders,
    folder_for_file,
    file_for_folder,
    rebuild,
    swap_root,
    move_far,
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("edit", EDITS, ids=[edit.__name__ for edit in EDITS])
async def test_each_kind_of_edit(service: Service, mode: str, edit: Callable[[Path], None]) -> None:
    pair = Pair(service, mode)
    for name, content in (("a/b/x", "x"), ("a/y", "yy"), ("b/x", "xxx"), ("u", "uuuu")):
        write(pair.source / name, content)
    async with pair.running():
        await pair.settle()
        edit(pair.source)
        await pair.settle(edit.__name__)
        await pair.until(lambda: picture(pair.source) == picture(pair.copy), "times of folders")
        write(pair.source / "later" / "one", "and it goes on")
        await pair.settle("later")


async def test_source_that_is_a_link_is_followed_when_it_is_switched(service: Service) -> None:
    pair = Pair(service, "sync put --watch")
    write(pair.source / "a", "a")
    async with pair.running():
        await pair.settle()
        switch_link(pair.source)
        await pair.settle("switched")
        write(pair.source / "b", "b")
        await pair.settle("later")


@pytest.mark.parametrize("mode", MODES)
async def test_nothing_is_removed_unless_it_was_asked_for(service: Service, mode: str) -> None:
    pair = Pair(service, mode, delete=False)
    write(pair.source / "a" / "x", "x")
    write(pair.source / "u", "u")
    async with pair.running():
        await pair.settle()
        os.rename(pair.source / "a", pair.source / "a2")
        os.rename(pair.source / "u", pair.source / "v")
        await pair.settle()
        (pair.source / "v").unlink()
        write(pair.source / "w", "w")
        await pair.settle()
        assert {"a", "a/x", "a2", "a2/x", "u", "v", "w"} == picture(pair.copy).keys()


@pytest.mark.parametrize("mode", MODES[:2])
async def test_source_that_is_gone_when_the_connection_is_made_again_is_waited_for(
    service: Service, mode: str
) -> None:
    pair = Pair(service, mode)
    write(pair.source / "a", "a")
    async with pair.running(retry=RetryRules(first_s=0.01, longest_s=0.05)):
        await pair.settle()
        os.rename(pair.source, service.root / "away")
        count = service.server.service.session_count
        for task in list(service.server.sessions.values()):
            task.cancel()
        await pair.until(lambda: service.server.service.session_count > count)
        os.rename(service.root / "away", pair.source)
        write(pair.source / "b", "b")
        await pair.settle()


# watch --get alone.


@pytest.fixture
def pair(service: Service) -> Pair:
    pair = Pair(service, "watch --get")
    pair.source.mkdir()
    return pair


async def test_events_are_told_with_the_path_here(pair: Pair) -> None:
    write(pair.source / "old", "old")
    async with pair.running():
        await pair.until(lambda: bool(pair.events))
        write(pair.source / "sub" / "new", "new")
        await pair.settle()
        (pair.source / "old").unlink()
        await pair.until(
            lambda: (
                isinstance(event := pair.events[-1][0], Change)
                and (event.what, event.name) == (REMOVED, "in/old")
            )
        )
    told = [
        (event.what, event.name, path) for event, path in pair.events if isinstance(event, Change)
    ]
    assert told[0] == (CREATED, "in/old", str(pair.copy / "old"))
    assert (CREATED, "in/sub/new", str(pair.copy / "sub" / "new")) in told
    assert told[-1] == (REMOVED, "in/old", str(pair.copy / "old"))
    assert len({(what, name) for what, name, _ in told}) == len(told)  # each is told once


async def test_large_file_that_is_moved_is_not_fetched_again(service: Service, pair: Pair) -> None:
    content = os.urandom(5 << 20)
    (pair.source / "large").write_bytes(content)
    async with pair.running():
        await pair.settle()
        inode = (pair.copy / "large").stat().st_ino
        (pair.source / "large").rename(pair.source / "moved")
        await pair.settle()
        assert (pair.copy / "moved").stat().st_ino == inode
        (pair.source / "deep").mkdir()
        (pair.source / "moved").rename(pair.source / "deep" / "er")
        await pair.settle()


async def test_link_here_leads_nothing_outside(service: Service, pair: Pair) -> None:
    outside = service.local / "outside"
    for name in ("keys", "keep", "deep/er"):
        write(outside / name, "mine")
    async with pair.running():
        await pair.until(pair.copy.is_dir)
        for link in ("sub", "other"):
            (pair.copy / link).symlink_to(outside)
        (pair.copy / "up").symlink_to("..")
        for name in ("sub/keys", "sub/keep", "other/deep/er", "up/outside/keys"):
            write(pair.source / name, "theirs")
        await pair.until(lambda: bool(pair.failures) or not pair.difference())
        (pair.source / "sub" / "keep").unlink()
        (pair.source / "sub" / "keys").rename(pair.source / "sub" / "moved")
        shutil.rmtree(pair.source / "other")
        write(pair.source / "last", "last")
        await pair.until((pair.copy / "last").exists)
    assert {name: (outside / name).read_text() for name in ("keys", "keep", "deep/er")} == {
        "keys": "mine",
        "keep": "mine",
        "deep/er": "mine",
    }
    assert len(list(outside.rglob("*"))) == 4


async def test_folder_here_that_is_removed_is_told_and_made_anew(pair: Pair) -> None:
    write(pair.source / "a", "a")
    async with pair.running():
        await pair.settle()
        shutil.rmtree(pair.copy)
        await pair.until(lambda: any("is gone" in str(error) for error in pair.failures))
        assert not pair.copy.exists()
        write(pair.source / "b", "b")
        await pair.settle()
        assert picture(pair.copy).keys() == {"a", "b"}


async def test_folder_here_that_is_replaced_is_filled(pair: Pair) -> None:
    write(pair.source / "a", "a")
    async with pair.running():
        await pair.settle()
        (pair.copy.parent / "other").mkdir()
        os.rename(pair.copy, pair.copy.parent / "old")
        os.rename(pair.copy.parent / "other", pair.copy)
        await pair.settle()


async def test_folder_there_that_is_gone_is_told_and_waited_for(pair: Pair) -> None:
    write(pair.source / "a" / "x", "x")
    async with pair.running():
        await pair.settle()
        os.rename(pair.source, pair.source.parent / "away")
        await pair.until(lambda: any("in" in str(error) for error in pair.failures))
        os.rename(pair.source.parent / "away", pair.source)
        await pair.settle()


async def test_what_only_a_comparison_finds_is_found_in_time(pair: Pair) -> None:
    write(pair.source / "v1", "one")
    (pair.source / "current").symlink_to("v1")
    async with pair.running():
        await pair.until(
            lambda: (
                (pair.copy / "current").exists() and (pair.copy / "current").read_text() == "one"
            )
        )
        # Of what is behind the link, only the file itself is told
        write(pair.source / "v1", "one more")
        await pair.until(lambda: (pair.copy / "current").read_text() == "one more")
