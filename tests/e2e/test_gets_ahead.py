"""Large files of a tree: each is requested while the one before arrives.

And published while the next one does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeItem
from ftransfer.digest import digest_of
from ftransfer.errors import ChannelError, NotAFile
from ftransfer.transfer.packs import MAX_PACKED_BYTES
from ftransfer.transfer.records import Progress
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import Service, serve
from tests.support.trees import assert_same, make_tree

SIZE = MAX_PACKED_BYTES + 1
TREE = {f"f{number}": os.urandom(SIZE + number) for number in range(4)}


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        make_tree(service.root / "tree", TREE)
        yield service


@pytest.mark.parametrize("bad", sorted(TREE))
async def test_one_that_cannot_be_published_leaves_the_others_right(
    service: Service, bad: str
) -> None:
    target = service.local / "tree"

    def disturb(progress: Progress) -> None:
        if progress.name == bad:
            (target / bad / "in the way").mkdir(parents=True, exist_ok=True)

    items: list[TreeItem] = []
    async with service.client() as client:
        report = await client.get_tree("tree", target, progress=disturb, on_item=items.append)
    assert (report.copied, report.failed) == (len(TREE) - 1, 1)
    (failure,) = (item for item in items if item.did == "failed")
    assert failure.name == bad and isinstance(failure.error, NotAFile)
    assert {item.name: item.digest for item in items if item.did == "copied"} == {
        name: digest_of(content) for name, content in TREE.items() if name != bad
    }
    (target / bad / "in the way").rmdir()
    (target / bad).rmdir()
    async with service.client() as client:
        await client.get_tree("tree", target)
    assert_same(service.root / "tree", target)
    assert not (target / ".ftransfer").exists()


async def test_what_was_cut_is_gone_on_with_and_what_was_whole_is_there(service: Service) -> None:
    target, items = service.local / "tree", list[TreeItem]()
    async with Proxy(service.address, [Faults(down=Fault(cut_at=int(2.5 * SIZE)))]) as proxy:
        async with service.client_at(proxy.address) as client:
            with pytest.raises(ChannelError):
                await client.get_tree("tree", target, on_item=items.append)
        done = {item.name for item in items if item.did == "copied"}
        assert len(done) == 2 and all((target / name).read_bytes() == TREE[name] for name in done)
        async with service.client_at(proxy.address) as client:
            await client.get_tree("tree", target)
        assert proxy.passages[-1].down.passed < 2 * SIZE
    assert_same(service.root / "tree", target)


@pytest.mark.parametrize("keep", [True, False])
async def test_cancelled_where_one_is_being_published(service: Service, keep: bool) -> None:
    target, second = service.local / "tree", asyncio.Event()
    names: list[str] = []

    def note(progress: Progress) -> None:
        if progress.name not in names:
            names.append(progress.name)
        if len(names) == 2:
            second.set()

    async with service.client(keep_cancelled=keep) as client:
        task = asyncio.create_task(client.get_tree("tree", target, progress=note))
        await second.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (target / names[0]).read_bytes() == TREE[names[0]]
    async with service.client() as client:
        await client.get_tree("tree", target, options=TreeOptions(delete=True))
    assert_same(service.root / "tree", target)
