"""Dates that the wire cannot carry: the file is copied with one that it can."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.trees.options import TreeOptions
from ftransfer.protocol.live import Change
from tests.support.service import Service, end_frame, frame, serve

YEAR_2300 = 10_413_792_000
YEAR_1601 = -11_644_473_600
DATES = [YEAR_2300, YEAR_1601]
LARGE = 5 << 20


def make(root: Path, date: int) -> None:
    (root / "deep").mkdir(parents=True)
    for name in ("beside", "deep/beside", "odd", "deep/odd"):
        (root / name).write_bytes(b"x")
    (root / "large").write_bytes(bytes(LARGE))
    (root / "link").symlink_to("beside")
    for name in ("odd", "deep/odd", "large", "deep"):
        os.utime(root / name, (date, date))
    os.utime(root / "link", (date, date), follow_symlinks=False)


def content(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("there", [True, False])
async def test_tree_with_odd_dates_is_put_and_is_then_at_rest(
    service: Service, date: int, links: bool, there: bool
) -> None:
    make(service.local / "tree", date)
    if there:
        (service.root / "tree").mkdir()
        (service.root / "tree" / "something").touch()
    async with service.client() as client:
        report = await client.put_tree(
            service.local / "tree", "tree", options=TreeOptions(links=links, delete=True)
        )
        assert report.failed == 0
        assert content(service.local / "tree") == content(service.root / "tree")
        again = await client.put_tree(
            service.local / "tree", "tree", options=TreeOptions(links=links, delete=True)
        )
    assert (again.copied, again.folders, again.failed) == (0, 0, 0)


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("there", [True, False])
async def test_tree_with_odd_dates_is_got_and_is_then_at_rest(
    service: Service, date: int, links: bool, there: bool
) -> None:
    make(service.root / "tree", date)
    dest = service.local / "tree"
    if there:
        dest.mkdir()
        (dest / "something").touch()
    async with service.client() as client:
        report = await client.get_tree("tree", dest, options=TreeOptions(links=links, delete=True))
        assert report.failed == 0
        assert content(service.root / "tree") == content(dest)
        again = await client.get_tree("tree", dest, options=TreeOptions(links=links, delete=True))
    assert (again.copied, again.folders, again.failed) == (0, 0, 0)


@pytest.mark.parametrize("date", DATES)
async def test_single_files_folders_and_listings_with_odd_dates(
    service: Service, date: int
) -> None:
    make(service.root / "tree", date)
    async with service.client() as client:
        await client.mkdir("again")
        for name in ("odd", "large"):
            await client.get(f"tree/{name}", service.local / name)
            await client.put(service.local / name, f"again/{name}")
        for path in ("tree", "tree/deep"):
            assert [entry.name for entry in await client.dir(path)]
        assert (await client.stat("tree/deep")).kind == "dir"
        assert (await client.stat("tree/odd")).size == 1
    assert content(service.root / "again") == {"odd": b"x", "large": bytes(LARGE)}


@pytest.mark.parametrize("date", DATES)
async def test_watch_tells_of_files_with_odd_dates_and_goes_on(service: Service, date: int) -> None:
    async with service.client() as client, client.watching("") as events:
        make(service.root / "tree", date)
        (service.root / "last").touch()
        async for event in events:
            if isinstance(event, Change) and event.name == "last":
                break
        assert (await client.stat("tree/odd")).size == 1


async def test_pack_with_a_date_and_a_mode_out_of_range_is_stored(service: Service) -> None:
    """A pack from another client may hold such values."""
    from blake3 import blake3

    from ftransfer.digest import digest_of

    columns = {
        "name": '["a","b"]',
        "mtime_ns": f"[{10**30},1]",
        "mode": "[-1,420]",
        "size": "[1,1]",
        "digest": f'["{digest_of(b"x")}","{digest_of(b"x")}"]',
    }
    index = ("{" + ",".join(f'"{key}":{value}' for key, value in columns.items()) + "}").encode()
    async with service.peer() as peer:
        await peer.send(
            b"mput\n"
            + frame(b"P", len(index).to_bytes(4, "big") + blake3(index).digest() + index + b"xx")
            + frame(b"F")
        )
        assert (await peer.frame())[0] == b"O"
        kind, values = await peer.json()
        assert kind == b"R" and (values["stored"], values["failed"]) == (2, 0)
        await peer.send(
            b'put "c" {"size":0,"mtime_ns":-%d}\n' % 10**30 + end_frame(0, digest_of(b""))
        )
        assert (await peer.json())[0] == b"R"
