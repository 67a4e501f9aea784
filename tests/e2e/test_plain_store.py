"""A store that has nothing but the core, served to a real client: everything works, by the
defaults alone.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import ChannelError
from ftransfer.gateways.native.listener import Server
from ftransfer.names import parse_name
from ftransfer.service.share import Share
from ftransfer.storage import small_files
from ftransfer.transfer.selection import hidden_names
from tests.support.plain_store import PlainStore
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import Service
from tests.support.stores import get, put, small
from tests.support.trees import assert_same, make_tree

SIZE = 4 << 20


@pytest.fixture
def store() -> PlainStore:
    return PlainStore()


@pytest.fixture
async def service(store: PlainStore, tmp_path: Path) -> AsyncIterator[Service]:
    server = await Server.start(Share(store, hiding=hidden_names([".secret"])), port=0)
    try:
        yield Service(server, tmp_path, tmp_path)
    finally:
        await server.stop(0)


async def test_files_go_both_ways(service: Service, store: PlainStore, tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "note").write_bytes(b"small")
    async with service.client() as client:
        await client.mkdir("d/e", parents=True)
        for name in ("a", "note"):
            await client.put(tmp_path / name, f"d/{name}")
            await client.get(f"d/{name}", tmp_path / f"{name}.back")
            assert (tmp_path / f"{name}.back").read_bytes() == (tmp_path / name).read_bytes()
        assert (await client.checksum("d/a")).digest == digest_of(data)
        await client.rename("d/a", "d/e/b")
        assert await get(store, "d/e/b") == data
        assert await client.remove("d", recursive=True) == 4


async def test_put_resumes(service: Service, store: PlainStore, tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    (tmp_path / "a").write_bytes(data)
    async with Proxy(service.address, [Faults(up=Fault(cut_at=SIZE // 2))]) as proxy:
        async with service.client_at(proxy.address) as client:
            with pytest.raises(ChannelError):
                await client.put(tmp_path / "a")
        await service.all_gone()
        async with service.client_at(proxy.address) as client:
            [partial] = await client.partials()
            assert 0 < partial.kept < SIZE
            receipt = await client.put(tmp_path / "a")
            assert receipt.kept == partial.kept and not await client.partials()
    assert await get(store, "a") == data


async def test_get_resumes(service: Service, store: PlainStore, tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    await put(store, "a", data)
    async with Proxy(service.address, [Faults(down=Fault(cut_at=SIZE // 2))]) as proxy:
        async with service.client_at(proxy.address) as client:
            with pytest.raises(ChannelError):
                await client.get("a", tmp_path / "a")
        async with service.client_at(proxy.address) as client:
            receipt = await client.get("a", tmp_path / "a")
    assert 0 < receipt.kept < SIZE
    assert (tmp_path / "a").read_bytes() == data


async def test_trees_go_both_ways_in_packs(service: Service, tmp_path: Path) -> None:
    tree = {f"d{number % 5}/f{number}": os.urandom(number * 7) for number in range(300)}
    make_tree(tmp_path / "tree", {**tree, "large": os.urandom(SIZE)})
    (tmp_path / "tree/empty").mkdir()
    async with service.client() as client:
        report = await client.put_tree(tmp_path / "tree", "tree")
        assert report.is_complete and report.copied == len(tree) + 1
        await client.get_tree("tree", tmp_path / "back")
        assert_same(tmp_path / "tree", tmp_path / "back")
        # Only what differs is sent again: trees are compared by lines
        (tmp_path / "tree/d0/f0").write_bytes(b"other")
        again = await client.put_tree(tmp_path / "tree", "tree")
        assert again.copied + again.updated == 1
        await client.get_tree("tree", tmp_path / "back")
    assert_same(tmp_path / "tree", tmp_path / "back")


async def test_hidden_names_are_seen_by_nobody(service: Service, store: PlainStore) -> None:
    await small_files.write_small(store, [small("d/.secret/f"), small("d/g")])
    async with service.client() as client:
        batches = [batch async for batch in client.iter_dir("", recursive=True)]
        assert [entry.name for batch in batches for entry in batch] == ["d", "d/g"]
    assert await store.stat(parse_name("d/.secret/f"))
