"""Large files of a tree are sent before the receipts of earlier ones.

Each still has its own receipt, and resumes by itself.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.auth.permissions import Allowance
from ftransfer.client.trees.report import TreeItem
from ftransfer.errors import ChannelError, QuotaFull, SourceChanged
from ftransfer.limits import Limits
from ftransfer.service.quota_limits import QuotaLimits
from ftransfer.transfer.records import Progress
from tests.support.growing import change_first_bytes
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import Service, frame, serve
from tests.support.trees import assert_same, make_tree

CAP = Limits(max_chunk_bytes=50_000)  # what is above it does not travel packed
SIZE = 300_000
TREE = {f"d{number % 2}/f{number}": os.urandom(SIZE + number) for number in range(8)}


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param, limits=CAP) as service:
        make_tree(service.local / "tree", TREE)
        yield service


async def test_no_receipt_is_waited_for(service: Service) -> None:
    async with (
        Proxy(service.address, records=True) as proxy,
        service.client_at(proxy.address) as client,
    ):
        await client.put_tree(service.local / "tree", "tree")
        heard = bytes(proxy.passages[0].down.seen)
    before_receipts = heard.rindex(b"R\0", 0, heard.index(b'"kept"'))
    shutil.rmtree(service.root / "tree")
    async with Proxy(service.address, [Faults(down=Fault(stall_at=before_receipts))]) as proxy:
        async with service.client_at(proxy.address) as client, asyncio.TaskGroup() as group:
            putting = group.create_task(client.put_tree(service.local / "tree", "tree"))
            await proxy.entered.wait()
            async with asyncio.timeout(30):
                while proxy.passages[0].up.passed < sum(map(len, TREE.values())):  # noqa: ASYNC110  # a count of the proxy's own task
                    await asyncio.sleep(0)
            proxy.release()
    assert (putting.result().copied, putting.result().failed) == (len(TREE), 0)
    assert_same(service.local / "tree", service.root / "tree")


async def test_progress_never_goes_back(service: Service) -> None:
    told: list[Progress] = []
    async with service.client() as client:
        await client.put_tree(service.local / "tree", "tree", progress=told.append)
    done = [progress.done for progress in told]
    assert done == sorted(done) and done[-1] == sum(map(len, TREE.values()))


@pytest.mark.parametrize("bad", [{0}, {7}, {3}, {2, 3, 4}, set(range(8))], ids=str)
async def test_those_that_are_refused_leave_the_others_right(tmp_path: Path, bad: set[int]) -> None:
    names = sorted(TREE)
    tree = {
        name: TREE[name] + bytes(SIZE if number in bad else 0) for number, name in enumerate(names)
    }
    most = Allowance(max_file_bytes=SIZE + 100)
    async with serve(tmp_path, limits=CAP, quota_limits=QuotaLimits(each=most)) as service:
        make_tree(service.local / "tree", tree)
        items: list[TreeItem] = []
        async with service.client() as client:
            await client.put_tree(service.local / "tree", "tree", on_item=items.append)
            assert (await client.stat("tree")).kind == "dir"
        failed = {item.name: item.error for item in items if item.did == "failed"}
        assert set(failed) == {names[number] for number in bad}
        assert all(
            isinstance(error, QuotaFull) and error.name == f"tree/{name}"
            for name, error in failed.items()
        )
        for number, name in enumerate(names):
            assert (service.root / "tree" / name).exists() == (number not in bad)
            assert number in bad or (service.root / "tree" / name).read_bytes() == tree[name]


async def test_one_that_changes_while_it_is_sent_fails_alone(service: Service) -> None:
    bad = "d1/f3"

    def touch(progress: Progress) -> None:
        if progress.name == bad:
            change_first_bytes(service.local / "tree" / bad)

    items: list[TreeItem] = []
    async with service.client() as client:
        report = await client.put_tree(
            service.local / "tree", "tree", progress=touch, on_item=items.append
        )
    (failure,) = (item for item in items if item.did == "failed")
    assert failure.name == bad and isinstance(failure.error, SourceChanged)
    assert (report.copied, report.failed) == (len(TREE) - 1, 1)
    assert not (service.root / "tree" / bad).exists()


async def test_one_that_is_gone_or_becomes_shorter_fails_alone(service: Service) -> None:
    def disturb(progress: Progress) -> None:
        if progress.name == "d0/f0":
            (service.local / "tree" / "d0" / "f4").unlink(missing_ok=True)
            os.truncate(service.local / "tree" / "d0" / "f0", 5)

    async with service.client() as client:
        report = await client.put_tree(service.local / "tree", "tree", progress=disturb)
    assert (report.copied, report.failed) == (len(TREE) - 2, 2)


@pytest.mark.parametrize("at", [1.5, 2.0, 3.9])
async def test_what_was_cut_is_gone_on_with(service: Service, at: float) -> None:
    async with Proxy(service.address, [Faults(up=Fault(cut_at=int(at * SIZE)))]) as proxy:
        async with service.client_at(proxy.address) as client:
            with pytest.raises(ChannelError):
                await client.put_tree(service.local / "tree", "tree")
        await service.all_gone()
        missing = sum(
            len(content)
            for name, content in TREE.items()
            if not (service.root / "tree" / name).exists()
        )
        async with service.client_at(proxy.address) as client:
            kept = sum(partial.kept for partial in await client.partials())
            assert kept > 0
            report = await client.put_tree(service.local / "tree", "tree")
            assert not await client.partials()
        assert report.failed == 0
        assert proxy.passages[-1].up.passed < missing - kept + 10_000
    assert_same(service.local / "tree", service.root / "tree")


async def test_part_of_an_older_version_is_not_gone_on_with(service: Service) -> None:
    async with (
        Proxy(service.address, [Faults(up=Fault(cut_at=SIZE // 2))]) as proxy,
        service.client_at(proxy.address) as client,
    ):
        with pytest.raises(ChannelError):
            await client.put_tree(service.local / "tree", "tree")
        await service.all_gone()
        make_tree(service.local / "tree", {name: os.urandom(SIZE) for name in TREE})
        await client.put_tree(service.local / "tree", "tree")
        assert not await client.partials()
    assert_same(service.local / "tree", service.root / "tree")


async def test_put_at_once_keeps_what_came_and_begins_anew(service: Service) -> None:
    line = b'put "a" {"size":10,"source":"s"}\n'
    for _ in range(2):
        async with service.peer() as peer:
            await peer.send(line + frame(b"D", b"0123"))
        await service.all_gone()
        async with service.client() as client:
            assert [partial.kept for partial in await client.partials()] == [4]
