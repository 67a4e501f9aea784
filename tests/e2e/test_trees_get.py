"""Trees from the server: only differences are moved, and nothing lands outside."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from blake3 import blake3

from ftransfer.client.client import connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeItem
from ftransfer.digest import digest_of
from ftransfer.errors import DigestMismatch, FtransferError, NotAFolder, NotFound
from ftransfer.limits import Limits
from ftransfer.shell.formatting import tree_line
from ftransfer.transfer.packs import MAX_PACKED_BYTES
from ftransfer.transfer.selection import selection
from tests.support.service import Service, fake_server, frame, serve
from tests.support.trees import AWKWARD, assert_same, make_tree


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        make_tree(service.root / "tree", AWKWARD)
        yield service


async def test_tree_arrives_whole_and_a_second_time_nothing_moves(service: Service) -> None:
    async with service.client() as client:
        first = await client.get_tree("tree", service.local / "tree")
        assert_same(service.root / "tree", service.local / "tree")
        assert first.failed == 0 and first.copied == sum(
            content is not None for content in AWKWARD.values()
        )
        second = await client.get_tree("tree", service.local / "tree")
    assert (second.copied, second.folders, second.bytes, second.failed) == (0, 0, 0, 0)
    assert second.unchanged == first.copied + first.folders


async def test_only_what_differs_is_moved(service: Service) -> None:
    items: list[TreeItem] = []
    async with service.client() as client:
        await client.get_tree("tree", service.local)
        (service.root / "tree" / "a.txt").write_bytes(b"new content")
        (service.local / "big.bin").unlink()
        report = await client.get_tree("tree", service.local, on_item=items.append)
    assert {item.name for item in items if item.did == "copied"} == {"a.txt", "big.bin"}
    assert report.bytes == len(b"new content") + (3 << 20)
    assert_same(service.root / "tree", service.local)


async def test_few_differences_among_many_files(service: Service) -> None:
    many = {f"{top}/{number // 50:02}/{number:04}": b"" for top in "abc" for number in range(1000)}
    make_tree(service.root / "many", many)
    async with service.client() as client:
        await client.get_tree("many", service.local / "many")
        (service.root / "many" / "a" / "07" / "0377").write_bytes(b"new content")
        (service.root / "many" / "c" / "19" / "0999").unlink()
        (service.local / "many" / "c" / "00" / "0003").rename(
            service.local / "many" / "c" / "00" / "more"
        )
        report = await client.get_tree(
            "many", service.local / "many", options=TreeOptions(delete=True)
        )
        assert_same(service.root / "many", service.local / "many")
        assert (report.copied, report.removed, report.folders) == (2, 2, 3)
        assert report.unchanged == 3063 - 1 - 2 - 3
        again = await client.put_tree(
            service.local / "many", "many", options=TreeOptions(delete=True)
        )
    assert (again.copied, again.removed, again.folders, again.unchanged) == (0, 0, 0, 3062)


async def test_nothing_is_removed_unless_asked(service: Service) -> None:
    (service.local / "mine" / "deep").mkdir(parents=True)
    (service.local / "mine" / "deep" / "x").write_bytes(b"x")
    async with service.client() as client:
        await client.get_tree("tree", service.local)
        assert (service.local / "mine" / "deep" / "x").exists()
        report = await client.get_tree("tree", service.local, options=TreeOptions(delete=True))
    assert report.removed == 3
    assert_same(service.root / "tree", service.local)


async def test_dry_run_changes_nothing_and_tells_what_it_would(service: Service) -> None:
    (service.local / "extra").write_bytes(b"x")
    options = TreeOptions(delete=True, dry_run=True)
    items: list[TreeItem] = []
    async with service.client() as client:
        report = await client.get_tree("tree", service.local, options=options, on_item=items.append)
        await client.get_tree("tree", service.local / "nowhere", options=options)
    assert report.bytes == sum(len(content) for content in AWKWARD.values() if content is not None)
    assert tree_line(report, "get").startswith(f"would receive {report.copied} files, ")
    assert [path.name for path in service.local.iterdir()] == ["extra"]
    assert ("extra", "removed") in {(item.name, item.did) for item in items}
    assert sum(item.did == "copied" for item in items) == sum(
        content is not None for content in AWKWARD.values()
    )


async def test_file_and_folder_that_change_places(service: Service) -> None:
    (service.local / "a.txt").mkdir()
    (service.local / "a.txt" / "inside").write_bytes(b"x")
    (service.local / "empty").write_bytes(b"a file where a folder is meant")
    async with service.client() as client:
        report = await client.get_tree("tree", service.local)
        assert report.failed == 1, (
            "a folder with content is not replaced unless things may be removed"
        )
        report = await client.get_tree("tree", service.local, options=TreeOptions(delete=True))
    assert report.failed == 0
    assert_same(service.root / "tree", service.local)


async def test_patterns_choose_what_takes_part(service: Service) -> None:
    options = TreeOptions(delete=True, wanted=selection(exclude=["*.bin", "sub/"]))
    (service.local / "mine.bin").write_bytes(b"kept: it does not take part")
    async with service.client() as client:
        await client.get_tree("tree", service.local, options=options)
    names = {str(path.relative_to(service.local)) for path in service.local.rglob("*")}
    assert "mine.bin" in names and "a.txt" in names
    assert not {"big.bin", "sub"} & names


async def test_links_as_links_and_as_what_they_lead_to(service: Service) -> None:
    (service.root / "tree" / "link").symlink_to("a.txt")
    (service.root / "tree" / "out").symlink_to("/etc/hostname")
    async with service.client() as client:
        await client.get_tree("tree", service.local / "followed")
        await client.get_tree("tree", service.local / "links", options=TreeOptions(links=True))
        again = await client.get_tree(
            "tree", service.local / "links", options=TreeOptions(links=True)
        )
    assert (service.local / "followed" / "link").read_bytes() == (
        service.root / "tree" / "a.txt"
    ).read_bytes()
    assert not (service.local / "followed" / "link").is_symlink()
    assert os.readlink(service.local / "links" / "link") == "a.txt"
    assert not (service.local / "links" / "out").exists()
    assert again.links == 0


async def test_glob(service: Service) -> None:
    async with service.client() as client:
        report = await client.get_matching("tree/*.txt", service.local / "top")
        assert report.copied == 1 and [path.name for path in (service.local / "top").iterdir()] == [
            "a.txt"
        ]
        await client.get_matching("tree/**/*.txt", service.local / "all")
        assert {
            str(path.relative_to(service.local / "all"))
            for path in (service.local / "all").rglob("*.txt")
        } == {name for name in AWKWARD if name.endswith(".txt")}
        with pytest.raises(NotFound):
            await client.get_matching("tree/*.nothing", service.local)


async def test_tree_that_is_not_there_or_no_folder(service: Service) -> None:
    async with service.client() as client:
        for dest in ("fresh", "used"):
            (service.local / "used").mkdir(exist_ok=True)
            (service.local / "used" / "x").touch()
            with pytest.raises(NotFound):
                await client.get_tree("nothing", service.local / dest)
            with pytest.raises(NotAFolder):
                await client.get_tree("tree/a.txt", service.local / dest)
        with pytest.raises(NotAFolder):
            await client.get_tree("tree", service.root / "tree" / "a.txt")
        assert (await client.get_tree("tree", service.local / "fine")).failed == 0


async def test_file_that_cannot_be_read_fails_alone(service: Service) -> None:
    items: list[TreeItem] = []
    (service.local / "x").touch()
    (service.root / "tree" / "big.bin").write_bytes(bytes(MAX_PACKED_BYTES + 1))
    async with service.client() as client:

        def vanish(item: TreeItem) -> None:
            items.append(item)
            (service.root / "tree" / "big.bin").unlink(missing_ok=True)

        report = await client.get_tree("tree", service.local, on_item=vanish)
        assert report.failed == 1
        assert [item.name for item in items if item.error is not None] == ["big.bin"]
        assert (await client.get_tree("tree", service.local)).failed == 0


async def test_more_names_than_the_window(tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        many = {f"{number % 7}/{number:05}": b"x" for number in range(9000)}
        await asyncio.to_thread(make_tree, service.root, many)
        (service.local / "x").touch()
        async with service.client() as client:
            report = await client.get_tree("", service.local)
        assert report.copied == 9000 and report.failed == 0


LISTING = [{"name": "t/a", "kind": "file", "size": 1, "mtime_ns": 1, "mode": 420}]


def pack(*names: str, arrives: Callable[[bytes], bytes] = bytes) -> bytes:
    values = {"name": "", "mtime_ns": 1, "mode": 420, "size": 1, "digest": digest_of(b"x")}
    head = json.dumps(
        {key: [value] * len(names) for key, value in values.items()} | {"name": names}
    ).encode()
    return frame(
        b"P",
        len(head).to_bytes(4, "big") + blake3(head).digest() + arrives(head) + b"x" * len(names),
    )


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "t/../../evil", "other/evil", "t/b", "evil", "t/.ftransfer/x", "t"]
)
@pytest.mark.parametrize("fresh", [True, False])
async def test_server_that_sends_other_names_writes_nothing(
    tmp_path: Path, name: str, fresh: bool
) -> None:
    if fresh and name == "t/b":
        pytest.skip("all of the folder was asked for")
    dest = tmp_path / "in" / "dest"
    dest.mkdir(parents=True)
    said = frame(b"H", b'{"protocol":1}')
    if not fresh:
        (dest / "x").touch()
        said += frame(b"L", json.dumps(LISTING).encode()) + frame(
            b"R", b'{"entries":%d}' % len(LISTING)
        )
    async with fake_server(said + pack(name) + frame(b"R", b"{}")) as address:
        with pytest.raises(FtransferError):
            async with connect(*address, retry=NO_RETRY, limits=Limits(close_s=0.1)) as client:
                await client.get_tree("t", dest)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {"in/dest/x"}


@pytest.mark.parametrize("fresh", [True, False])
async def test_one_bit_flipped_in_a_name_is_noticed_and_nothing_is_published(
    tmp_path: Path, fresh: bool
) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    names = ["t/a", "t/b", "t/c"]
    said = frame(b"H", b'{"protocol":1}')
    if not fresh:
        (dest / "x").touch()
        said += frame(
            b"L", json.dumps([{**LISTING[0], "name": name} for name in [*names, "t/d"]]).encode()
        )
        said += frame(b"R", b'{"entries":4}')
    said += pack(*names, arrives=lambda head: head.replace(b"t/c", b"t/" + bytes([ord("c") ^ 7])))
    async with fake_server(said + frame(b"R", b"{}")) as address:
        with pytest.raises(DigestMismatch):
            async with connect(*address, retry=NO_RETRY, limits=Limits(close_s=0.1)) as client:
                await client.get_tree("t", dest)
    assert [path.name for path in dest.iterdir() if path.name != "x"] == []


async def test_cancelled_tree_can_be_run_again(service: Service) -> None:
    (service.local / "x").touch()
    async with service.client() as client:
        begun = asyncio.Event()
        task = asyncio.create_task(
            client.get_tree("tree", service.local, on_item=lambda item: begun.set())
        )
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        report = await client.get_tree("tree", service.local, options=TreeOptions(delete=True))
        assert report.failed == 0
    assert_same(service.root / "tree", service.local)
