"""Trees to the server: only differences are moved, groups are acknowledged, round trips are few."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import pytest

from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeItem
from ftransfer.digest import digest_of
from ftransfer.errors import NotFound, ReadOnly, StoreFailed
from ftransfer.limits import Limits
from ftransfer.storage.base import FILE, SmallFile
from ftransfer.storage.local import LocalStore
from ftransfer.transfer.selection import selection
from tests.support.service import Service, serve
from tests.support.trees import AWKWARD, assert_same, make_tree


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        make_tree(service.local / "tree", AWKWARD)
        yield service


async def test_tree_arrives_whole_and_a_second_time_nothing_moves(service: Service) -> None:
    async with service.client() as client:
        first = await client.put_tree(service.local / "tree", "there/tree")
        assert_same(service.local / "tree", service.root / "there" / "tree")
        assert first.failed == 0 and first.copied == sum(
            content is not None for content in AWKWARD.values()
        )
        second = await client.put_tree(service.local / "tree", "there/tree")
    assert (second.copied, second.folders, second.bytes, second.failed) == (0, 0, 0, 0)


async def test_tree_into_the_root_of_the_share(service: Service) -> None:
    async with service.client() as client:
        await client.put_tree(service.local / "tree")
    assert_same(service.local / "tree", service.root)


async def test_tree_to_a_server_that_takes_small_frames(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=Limits(max_chunk_bytes=50_000)) as service:
        make_tree(
            service.local / "tree",
            {
                f"d/{size}": bytes(size)
                for size in (0, 100, 9_000, 15_000, 17_000, 18_000, 49_000, 60_000)
            },
        )
        async with service.client() as client:
            assert (await client.put_tree(service.local / "tree", "tree")).copied == 8
        assert_same(service.local / "tree", service.root / "tree")


async def test_empty_tree_makes_its_folder(service: Service) -> None:
    (service.local / "nothing").mkdir()
    async with service.client() as client:
        await client.put_tree(service.local / "nothing", "a/b")
    assert (service.root / "a" / "b").is_dir()


async def test_tree_that_is_not_there_yet_arrives_with_its_folders_as_they_are(
    service: Service,
) -> None:
    tree = service.local / "new"
    make_tree(tree, {"only/deep/large.bin": bytes(3 << 20), "closed/x": b"x", "empty": None})
    (tree / "closed").chmod(0o555)  # it must be filled before it is closed
    for folder in ("only/deep", "only", "closed", "empty"):
        os.utime(tree / folder, ns=(10**18, 10**18))
    async with service.client() as client:
        report = await client.put_tree(tree, "some/where")
    (tree / "closed").chmod(0o755)
    (service.root / "some/where/closed").chmod(0o755)
    assert (report.copied, report.folders, report.failed) == (2, 4, 0)
    assert_same(tree, service.root / "some/where")


async def test_receipts_say_what_was_stored(service: Service) -> None:
    items: list[TreeItem] = []
    async with service.client() as client:
        await client.put_tree(service.local / "tree", "tree", on_item=items.append)
    told = {item.name: item.digest for item in items if item.did == "copied"}
    assert told == {
        name: digest_of(content) for name, content in AWKWARD.items() if content is not None
    }


async def test_only_what_differs_is_moved(service: Service) -> None:
    items: list[TreeItem] = []
    async with service.client() as client:
        await client.put_tree(service.local / "tree", "tree")
        (service.local / "tree" / "a.txt").write_bytes(b"new content")
        (service.root / "tree" / "big.bin").unlink()
        await client.put_tree(service.local / "tree", "tree", on_item=items.append)
    assert {item.name for item in items if item.did == "copied"} == {"a.txt", "big.bin"}
    assert_same(service.local / "tree", service.root / "tree")


async def test_delete_removes_what_is_not_there_and_nothing_that_takes_no_part(
    service: Service,
) -> None:
    (service.root / "tree" / "mine" / "deep").mkdir(parents=True)
    (service.root / "tree" / "mine" / "deep" / "x").write_bytes(b"x")
    (service.root / "tree" / "mine" / "keep.tmp").write_bytes(b"x")
    async with service.client() as client:
        await client.put_tree(service.local / "tree", "tree")
        assert (service.root / "tree" / "mine" / "deep" / "x").exists()
        options = TreeOptions(delete=True, wanted=selection(exclude=["*.tmp"]))
        report = await client.put_tree(service.local / "tree", "tree", options=options)
        assert report.removed == 2 and report.failed == 0
        assert (service.root / "tree" / "mine" / "keep.tmp").exists()
        await client.put_tree(service.local / "tree", "tree", options=TreeOptions(delete=True))
    assert_same(service.local / "tree", service.root / "tree")


async def test_dry_run_changes_nothing(service: Service) -> None:
    (service.root / "extra").write_bytes(b"x")
    items: list[TreeItem] = []
    async with service.client() as client:
        options = TreeOptions(delete=True, dry_run=True)
        await client.put_tree(service.local / "tree", "/", options=options, on_item=items.append)
    assert [path.name for path in service.root.iterdir()] == ["extra"]
    assert ("extra", "removed") in {(item.name, item.did) for item in items}


async def test_file_and_folder_that_change_places(service: Service) -> None:
    (service.root / "a.txt").mkdir()
    (service.root / "a.txt" / "inside").write_bytes(b"x")
    (service.root / "empty").write_bytes(b"a file where a folder is meant")
    async with service.client() as client:
        report = await client.put_tree(service.local / "tree")
        assert report.failed == 1, (
            "a folder with content is not replaced unless things may be removed"
        )
        report = await client.put_tree(service.local / "tree", options=TreeOptions(delete=True))
    assert report.failed == 0
    assert_same(service.local / "tree", service.root)


@pytest.mark.parametrize("direction", ["get", "put"])
async def test_checksum_finds_what_size_and_mtime_hide(service: Service, direction: str) -> None:
    make_tree(service.root / "tree", AWKWARD)
    path = service.root / "tree" / "sub" / "deep" / "deeper" / "x.txt"
    before = path.stat()
    path.write_bytes(b"y" * 5000)
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    os.utime(service.root / "tree" / "a.txt", ns=(1, 1))

    async def copy(options: TreeOptions) -> int:
        async with service.client() as client:
            if direction == "get":
                report = await client.get_tree("tree", service.local / "tree", options=options)
            else:
                report = await client.put_tree(service.local / "tree", "tree", options=options)
        assert report.failed == 0
        return report.copied

    assert await copy(TreeOptions(checksum=True)) == 1
    assert_same(service.local / "tree", service.root / "tree")
    assert await copy(TreeOptions(checksum=True)) == 0


async def test_links_as_links(service: Service) -> None:
    (service.local / "tree" / "link").symlink_to("a.txt")
    async with service.client() as client:
        await client.put_tree(service.local / "tree", "tree", options=TreeOptions(links=True))
        again = await client.put_tree(
            service.local / "tree", "tree", options=TreeOptions(links=True)
        )
    assert os.readlink(service.root / "tree" / "link") == "a.txt"
    assert (again.links, again.copied) == (0, 0)


async def test_folder_that_is_not_there(service: Service) -> None:
    async with service.client() as client:
        with pytest.raises(NotFound):
            await client.put_tree(service.local / "nothing", "x")


async def test_disk_that_fails_while_a_new_tree_is_read_ends_the_command(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(
        self: LocalStore, *_: object, **__: object
    ) -> AsyncGenerator[Sequence[SmallFile], None]:
        yield [SmallFile("a", FILE, 0, 0o644, b"a", digest_of(b"a"))]
        raise StoreFailed("the disk has failed")

    monkeypatch.setattr(LocalStore, "read_tree", failing)
    async with service.client() as client, asyncio.timeout(30):
        with pytest.raises(StoreFailed):
            await client.put_tree(service.local / "tree", "tree")


async def test_read_only_share_takes_no_tree(tmp_path: Path) -> None:
    async with serve(tmp_path, read_only=True) as service:
        make_tree(service.local / "tree", AWKWARD)
        async with service.client() as client:
            with pytest.raises(ReadOnly):
                await client.put_tree(service.local / "tree", "tree")
        assert list(service.root.iterdir()) == []
