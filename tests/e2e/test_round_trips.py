"""A tree costs round trips for its operations, not for each file.

On a long path they would add up to minutes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ftransfer.client.client import Client
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeReport
from tests.support.proxy import Proxy
from tests.support.service import Service, serve

FILES = 1_000
# At 50 ms each they are half a second. What streams both ways is counted as if each side waited for
# the other.
MOST = 10


def make_tree(root: Path) -> None:
    for number in range(FILES):
        path = root / f"d{number % 20}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4096))


async def turns(
    service: Service, command: Callable[[Client], Awaitable[TreeReport]]
) -> tuple[int, TreeReport]:
    """Run a command of a new client; return its possible waits for the server, and the report."""
    async with Proxy(service.address) as proxy:
        async with service.client_at(proxy.address) as client:
            report = await command(client)
        return sum(passage.turns for passage in proxy.passages), report


@pytest.mark.parametrize("verb", ["get", "put"])
async def test_trees_cost_few_round_trips(tmp_path: Path, verb: str) -> None:
    async with serve(tmp_path) as service:
        here, there = service.local / "tree", service.root / "tree"
        if verb == "get":
            here, there = there, here
        make_tree(here)

        def copy(client: Client, *, delete: bool = False) -> Awaitable[TreeReport]:
            chosen = TreeOptions(delete=delete)
            if verb == "get":
                return client.get_tree("tree", there, options=chosen)
            return client.put_tree(here, "tree", options=chosen)

        fresh, report = await turns(service, copy)
        assert report.copied == FILES
        unchanged, report = await turns(service, copy)
        assert (report.copied, report.unchanged) == (0, FILES + 20)
        shutil.rmtree(there / "d3")
        shutil.rmtree(here / "d4")
        changed, report = await turns(service, lambda client: copy(client, delete=True))
        assert (report.copied, report.removed) == (50, 51)
    assert max(fresh, unchanged, changed) <= MOST, (fresh, unchanged, changed)


async def test_turns_are_counted(tmp_path: Path) -> None:
    async with serve(tmp_path) as service, Proxy(service.address) as proxy:
        async with service.client_at(proxy.address) as client:
            for _ in range(50):
                await client.dir()
        assert proxy.passages[0].turns >= 50
