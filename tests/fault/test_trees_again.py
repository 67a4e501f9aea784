"""A tree that was cut goes on, and a name counts once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.retry import RetryRules
from ftransfer.client.trees import TreeItem
from tests.support.programs import start_program
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import Service, serve
from tests.support.trees import assert_same, make_tree

SIZE = 4 << 20
TREE = {"a": b"a", "sub/b": b"b", "z": os.urandom(SIZE)}
CUT = Faults(down=Fault(cut_at=SIZE // 2))
STALL = Faults(down=Fault(stall_at=SIZE // 2))
SOON = RetryRules(first_s=0.001, longest_s=0.01, quiet_s=10)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        make_tree(service.root / "x" / "tree", TREE)
        make_tree(service.root / "other", {"c": b"c"})
        yield service


# A name that fails in each of several attempts.


@pytest.mark.parametrize("verb", ["get", "put"])
async def test_name_that_fails_in_each_attempt_counts_once(service: Service, verb: str) -> None:
    here, there = service.root / "x" / "tree", service.local / "tree"
    make_tree(there, {"a/in the way": b"x"})
    script = [CUT]
    if verb == "put":
        here, there = service.local / "source", service.root / "there"
        make_tree(here, TREE)
        make_tree(there, {"a/in the way": b"x"})
        script = [Faults(up=Fault(cut_at=SIZE // 2))]
    items: list[TreeItem] = []
    async with Proxy(service.address, script) as proxy, service.client_at(proxy.address, retry=SOON) as client:
        if verb == "get":
            report = await client.get_tree("x/tree", there, on_item=items.append)
        else:
            report = await client.put_tree(here, "there", on_item=items.append)
    assert [item.name for item in items if item.did == "failed"] == ["a", "a"]
    assert (report.failed, report.copied) == (1, 2)


async def test_name_that_failed_first_and_was_copied_then_has_not_failed(service: Service) -> None:
    obstacle = service.local / "tree" / "a" / "in the way"
    make_tree(service.local / "tree", {"a/in the way": b"x"})
    async with Proxy(service.address, [STALL]) as proxy:
        async with start_program("get", "-r", *proxy.address, "x/tree", folder=service.local) as running:
            await running.err_until("^ftransfer: a: ")
            await proxy.passages[0].down.stalled.wait()
            obstacle.unlink()
            obstacle.parent.rmdir()
            proxy.cut()
            line = await running.out_line()
            assert await running.end() == 0
    assert line.startswith("received 3 files") and "FAILED" not in line
    assert_same(service.root / "x" / "tree", service.local / "tree")
