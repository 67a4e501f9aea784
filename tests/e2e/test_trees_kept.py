"""What a tree keeps, and what it reports as left out: modes, links, special files, names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeItem, TreeReport
from ftransfer.errors import NotAFile
from ftransfer.transfer.selection import selection
from tests.support.programs import run_program
from tests.support.service import Service, serve

TIME_NS = 1_500_000_000_000_000_000


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


class Ways:
    """A source and a destination, and the copy from the one to the other."""

    def __init__(self, service: Service, direction: str) -> None:
        here, there = service.local / "tree", service.root / "tree"
        self.source, self.dest = (here, there) if direction == "put" else (there, here)
        self.direction = direction
        self._service = service
        self._here = here

    async def copy(
        self, options: TreeOptions | None = None, items: list[TreeItem] | None = None
    ) -> TreeReport:
        on_item = None if items is None else items.append
        async with self._service.client() as client:
            if self.direction == "put":
                return await client.put_tree(self._here, "tree", options=options, on_item=on_item)
            return await client.get_tree("tree", self._here, options=options, on_item=on_item)


@pytest.fixture(params=["put", "get"])
def ways(request: pytest.FixtureRequest, service: Service) -> Ways:
    made = Ways(service, request.param)
    made.source.mkdir()
    return made


@pytest.mark.parametrize("names", [[], ["f"], ["sub/f"]])
async def test_new_top_folder_is_like_that_of_the_source(ways: Ways, names: list[str]) -> None:
    for name in names:
        (ways.source / name).parent.mkdir(exist_ok=True)
        (ways.source / name).write_bytes(b"x")
    ways.source.chmod(0o700)
    os.utime(ways.source, ns=(TIME_NS, TIME_NS))
    await ways.copy()
    about = ways.dest.stat()
    assert (about.st_mode & 0o7777, about.st_mtime_ns) == (0o700, TIME_NS)


async def test_top_folder_that_is_there_stays_as_it_is(ways: Ways) -> None:
    ways.source.chmod(0o700)
    ways.dest.mkdir()
    ways.dest.chmod(0o751)
    (ways.source / "f").touch()
    await ways.copy()
    assert ways.dest.stat().st_mode & 0o7777 == 0o751


@pytest.mark.parametrize("bits", [0o2775, 0o1777])
async def test_set_gid_and_sticky_bits_of_folders_stay(ways: Ways, bits: int) -> None:
    for root in (ways.source, ways.dest):
        (root / "team").mkdir(parents=True)
        (root / "team").chmod(bits)
    (ways.source / "team" / "f").touch()
    await ways.copy()
    assert (ways.dest / "team").stat().st_mode & 0o7777 == bits


async def test_change_of_mode_alone_sends_nothing(ways: Ways) -> None:
    (ways.source / "big").write_bytes(bytes(5 << 20))
    await ways.copy()
    (ways.source / "big").chmod(0o600)
    report = await ways.copy()
    assert (report.copied, report.bytes, report.updated) == (0, 0, 1)
    assert (ways.dest / "big").stat().st_mode & 0o777 == 0o600


async def test_nothing_goes_through_a_link_to_a_folder_and_all_else_is_done(ways: Ways) -> None:
    (ways.source / "d").mkdir()
    (ways.source / "d" / "x").write_bytes(b"new")
    (ways.source / "e").write_bytes(b"e")
    real = ways.dest.parent / "real"
    real.mkdir()
    ways.dest.mkdir()
    (ways.dest / "d").symlink_to("../real")
    for _ in range(2):
        items: list[TreeItem] = []
        report = await ways.copy(TreeOptions(delete=True), items)
        assert [item.name for item in items if item.did == "failed"] == ["d"] and report.failed == 1
    assert report.copied == 0, "at rest"
    assert (ways.dest / "d").is_symlink() and list(real.iterdir()) == []
    assert (ways.dest / "e").read_bytes() == b"e"


async def test_put_onto_a_link_to_a_folder_is_refused(service: Service) -> None:
    (service.root / "releases").mkdir()
    (service.root / "current").symlink_to("releases")
    for size in (1, 5 << 20):
        (service.local / "f").write_bytes(bytes(size))
        async with service.client() as client:
            with pytest.raises(NotAFile):
                await client.put(service.local / "f", "current")
    assert (service.root / "current").is_symlink() and list(
        (service.root / "releases").iterdir()
    ) == []


def make_unmovable(root: Path) -> dict[str, str]:
    """Make one of each thing that a tree cannot move; return a word of what is said of it."""
    (root / "a").write_bytes(b"a")
    (root / "real").mkdir()
    (root / "out").symlink_to("/etc/passwd")
    (root / "nowhere").symlink_to("nothing")
    (root / "folder").symlink_to("real")
    os.mkfifo(root / "fifo")
    (root / "real" / ".ftransfer-notes").write_bytes(b"mine")
    return {
        "out": "outside",
        "nowhere": "nowhere",
        "folder": "link to a folder",
        "fifo": "neither",
        "real/.ftransfer-notes": "reserved",
    }


@pytest.mark.parametrize("is_there", [True, False])
async def test_each_thing_that_is_left_out_is_told(ways: Ways, is_there: bool) -> None:
    left_out = make_unmovable(ways.source)
    if is_there:
        ways.dest.mkdir()
        (ways.dest / "something").touch()
    for dry_run in (True, False, False):
        items: list[TreeItem] = []
        report = await ways.copy(TreeOptions(dry_run=dry_run), items)
        told = {item.name: str(item.error) for item in items if item.did == "left out"}
        assert told.keys() == left_out.keys() and report.left_out == len(left_out)
        assert all(word in told[name] for name, word in left_out.items())
    assert not (ways.dest / "folder").exists(), "no empty folder stands for what is behind a link"
    assert (ways.dest / "a").read_bytes() == b"a"


async def test_what_is_left_out_protects_its_name(ways: Ways) -> None:
    make_unmovable(ways.source)
    ways.dest.mkdir()
    for name in ("out", "nowhere", "fifo"):
        (ways.dest / name).write_bytes(b"precious")
    (ways.dest / "folder").mkdir()
    (ways.dest / "folder" / "x").write_bytes(b"precious")
    (ways.dest / "gone").touch()
    report = await ways.copy(TreeOptions(delete=True))
    assert report.removed == 1 and not (ways.dest / "gone").exists()
    assert all(
        (ways.dest / name).read_bytes() == b"precious"
        for name in ("out", "nowhere", "fifo", "folder/x")
    )


async def test_command_that_leaves_something_out_says_so_and_ends_with_1(
    ways: Ways, service: Service
) -> None:
    (ways.source / "f").write_bytes(b"x")
    (ways.source / "l").symlink_to("nothing")
    words: list[str | int] = (
        ["put", "-r", *service.address, "tree"]
        if ways.direction == "put"
        else ["get", "-r", *service.address, "tree", "tree"]
    )
    done = await run_program(*words, folder=service.local)
    assert done.code == 1 and "l: left out" in done.err and "1 left out" in done.text
    shutil.rmtree(ways.dest)
    done = await run_program(*words, "--json", folder=service.local)
    records = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [record["name"] for record in records if record["did"] == "left out"] == ["l"]
    assert records[-1]["left_out"] == 1


async def test_folder_that_holds_what_is_excluded_is_kept_and_told(ways: Ways) -> None:
    (ways.dest / "gone").mkdir(parents=True)
    (ways.dest / "gone" / "keep.tmp").touch()
    (ways.dest / "gone" / "other").touch()
    for dry_run in (True, False):
        items: list[TreeItem] = []
        options = TreeOptions(delete=True, dry_run=dry_run, wanted=selection(exclude=["*.tmp"]))
        report = await ways.copy(options, items)
        assert [(item.name, item.did) for item in items if item.did != "removed"] == [
            ("gone", "kept")
        ]
        assert (report.removed, report.kept, report.is_complete) == (1, 1, False)
    assert (ways.dest / "gone" / "keep.tmp").exists() and not (
        ways.dest / "gone" / "other"
    ).exists()


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to be another user"
)
async def test_link_whose_target_cannot_be_read_now_protects_its_copy(service: Service) -> None:
    source = service.local / "tree"
    (source / ".store").mkdir(parents=True)
    (source / ".store" / "z").write_bytes(b"z")
    (source / "link").symlink_to(".store/z")
    async with service.client() as client:
        await client.put_tree(source, "tree")
    (source / ".store").chmod(0)
    for folder in (source, *service.local.parents[:4]):
        folder.chmod(folder.stat().st_mode | 0o005)
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    words: list[str | int] = ["sync", *service.address, "put", str(source), "tree", "--delete"]
    done = await run_program(
        *words, folder=service.local, prefix=prefix, environment={"HOME": str(service.local)}
    )
    if done.code == 126 or "Permission denied" in done.err:
        pytest.skip("another user cannot run this installation")
    assert done.code == 1 and "link" in done.err
    assert (service.root / "tree" / "link").read_bytes() == b"z" and (
        service.root / "tree" / ".store" / "z"
    ).exists()
