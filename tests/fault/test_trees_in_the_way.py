"""What a tree replaces stays until its successor is whole: each name has old or new."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from ftransfer.client.client import Client
from ftransfer.client.retry import NO_RETRY
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeReport
from ftransfer.errors import ChannelError, FtransferError
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.sabotage import Sabotage
from tests.support.service import Service, serve
from tests.support.trees import assert_same, make_tree, picture

SOURCE: Mapping[str, bytes | None] = {
    "file to folder/x": b"x" * 2000,
    "file to folder/y/z": b"z" * 2000,
    "file to folder/empty": None,
    "folder to file": b"new" * 700,
    "link to file": b"new" * 700,
    "link to folder/x": b"x" * 700,
    "file to link target": b"t",
    "changed": b"new" * 700,
    "zz": b"last",
}
THERE: Mapping[str, bytes | None] = {
    "file to folder": b"old",
    "folder to file/a": b"old",
    "folder to file/deep/b": b"old",
    "file to link": b"old",
    "folder to link/a": b"old",
    "changed": b"old",
    "gone/a": b"old",
}
NAMES = [
    "file to folder",
    "folder to file",
    "link to file",
    "link to folder",
    "file to link",
    "folder to link",
    "changed",
]
OPTIONS = TreeOptions(delete=True, links=True)


def make(source: Path, there: Path) -> None:
    for root in (source, there):
        shutil.rmtree(root, ignore_errors=True)
    make_tree(source, SOURCE)
    (source / "file to link").symlink_to("file to link target")
    (source / "folder to link").symlink_to("file to link target")
    make_tree(there, THERE)
    (there / "link to file").symlink_to("changed")
    (there / "link to folder").symlink_to("gone")


def versions(root: Path) -> dict[str, object]:
    """Return what each name has, with all below it.

    Times are left out, since they are set last.
    """
    seen = {
        name: about[:2]
        if about[0] == "file"
        else about[:1] + about[3:]
        if about[0] == "dir"
        else about
        for name, about in picture(root).items()
    }
    return {
        name: {
            other: about
            for other, about in seen.items()
            if other == name or other.startswith(f"{name}/")
        }
        for name in NAMES
    }


class Trees:
    """A tree and what it is to replace, in one direction."""

    def __init__(self, service: Service, direction: str) -> None:
        self.source, self.there = service.local / "tree", service.root / "tree"
        if direction == "get":
            self.source, self.there = self.there, self.source
        self._local = service.local / "tree"
        self._direction = direction
        self.reset()
        self._old, self._new = versions(self.there), versions(self.source)

    def reset(self) -> None:
        make(self.source, self.there)

    async def copy(self, client: Client, options: TreeOptions = OPTIONS) -> TreeReport:
        if self._direction == "get":
            return await client.get_tree("tree", self._local, options=options)
        return await client.put_tree(self._local, "tree", options=options)

    def check(self) -> None:
        for name, now in versions(self.there).items():
            assert now in (self._old[name], self._new[name]), name

    def check_whole(self, report: TreeReport) -> None:
        assert report.is_complete
        assert_same(self.source, self.there)


@pytest.fixture(params=["put", "get"])
def direction(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


@pytest.fixture
def sabotage() -> Iterator[Sabotage]:
    made = Sabotage()
    with made.installed():
        yield made


@pytest.fixture
async def service(tmp_path: Path, sabotage: Sabotage) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


async def test_all_kinds_are_replaced(service: Service, direction: str) -> None:
    trees = Trees(service, direction)
    async with service.client() as client:
        trees.check_whole(await trees.copy(client))
        again = await trees.copy(client)
    assert (again.copied, again.folders, again.links, again.removed) == (0, 0, 0, 0)


async def test_cut_at_any_byte_leaves_old_or_new(service: Service, direction: str) -> None:
    trees = Trees(service, direction)
    async with Proxy(service.address) as proxy:
        async with service.client_at(proxy.address) as client:
            await trees.copy(client)
        passed = proxy.passages[0].up.passed, proxy.passages[0].down.passed
    cuts = [Faults(up=Fault(cut_at=at)) for at in range(0, passed[0], 470)]
    cuts += [Faults(down=Fault(cut_at=at)) for at in range(0, passed[1], 470)]
    struck = 0
    for faults in cuts:
        trees.reset()
        async with Proxy(service.address, [faults]) as proxy:
            with contextlib.suppress(ChannelError):
                async with service.client_at(proxy.address, retry=NO_RETRY) as client:
                    await trees.copy(client)
                struck -= 1
            struck += 1
        await service.all_gone()
        trees.check()
        async with service.client() as client:  # what the cut has left is no hindrance
            trees.check_whole(await trees.copy(client))
    assert struck > len(cuts) // 2


async def test_cancelled_at_any_step_leaves_old_or_new(service: Service, direction: str) -> None:
    trees = Trees(service, direction)
    async with service.client() as client:
        for steps in range(200):
            trees.reset()
            task = asyncio.create_task(trees.copy(client))
            for _ in range(7 * steps):
                await asyncio.sleep(0)
            is_done = task.done()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, FtransferError):
                await task
            trees.check()
            if is_done:
                break
        assert steps > 5, "nothing was cancelled"
        trees.check_whole(await trees.copy(client))


async def test_failing_system_calls_leave_old_or_new(
    service: Service, direction: str, sabotage: Sabotage
) -> None:
    trees = Trees(service, direction)
    for failing in sabotage.each_call(
        errno.EIO, only={"rename", "renameat2", "unlink", "rmdir", "mkdir", "symlink"}
    ):
        trees.reset()
        async with service.client() as client:
            with failing, contextlib.suppress(FtransferError):
                await trees.copy(client)
        trees.check()
    async with service.client() as client:
        trees.check_whole(await trees.copy(client))
