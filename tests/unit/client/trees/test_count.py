"""What is told of a tree while it moves: files and bytes, done and in all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftransfer.client.client import connect
from ftransfer.client.trees import count
from ftransfer.transfer.records import Progress
from tests.support.programs import start_server
from tests.support.service import serve

LARGE = 6 << 20  # more than what travels packed


def make_tree(folder: Path) -> int:
    """Make files, small and large; return how many bytes they have."""
    for name, size in (
        ("a", 10),
        ("b/c", 20),
        ("b/d", 30),
        ("large", LARGE),
        ("b/larger", LARGE + 1),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.urandom(size))
    return 2 * LARGE + 61


@pytest.mark.parametrize("verb", ["get", "put"])
@pytest.mark.parametrize("is_fresh", [True, False])
async def test_totals_are_known_when_all_has_been_found(
    tmp_path: Path, verb: str, is_fresh: bool
) -> None:
    told: list[Progress] = []
    async with serve(tmp_path) as service, service.client() as client:
        total = make_tree((service.root if verb == "get" else service.local) / "tree")
        target = (service.local if verb == "get" else service.root) / "tree"
        if not is_fresh:  # then the two are compared before anything moves
            target.mkdir()
            (target / "a").write_bytes(b"old")
        await (client.get_tree if verb == "get" else client.put_tree)(
            "tree" if verb == "get" else service.local / "tree",
            service.local / "tree" if verb == "get" else "tree",
            progress=told.append,
        )
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert (told[-1].done, told[-1].total, told[-1].files, told[-1].all_files) == (
        total,
        total,
        5,
        5,
    )
    sure = [progress for progress in told if not progress.is_estimate]
    assert sure and {(progress.total, progress.all_files) for progress in sure} == {(total, 5)}
    assert told[0].is_estimate is is_fresh
    assert all(
        progress.done <= (progress.total or 0)
        and (progress.files or 0) <= (progress.all_files or 0)
        for progress in told
    )


@pytest.mark.parametrize("verb", ["get", "put"])
async def test_tree_that_takes_long_is_counted_while_it_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(count, "COUNT_AFTER_S", 0.0)
    (tmp_path / "share").mkdir()
    source = (tmp_path / "share" if verb == "get" else tmp_path) / "tree"
    for number in range(60):
        (source / f"{number % 5}" / f"{number}").parent.mkdir(parents=True, exist_ok=True)
        (source / f"{number % 5}" / f"{number}").write_bytes(os.urandom(50_000))
    told: list[Progress] = []
    async with (
        start_server(tmp_path / "share", "--rate", "1M") as server,
        connect(*server.addresses[0]) as client,
    ):
        if verb == "get":
            await client.get_tree("tree", tmp_path / "copy", progress=told.append)
        else:
            await client.put_tree(source, "tree", progress=told.append)
    under_way = [
        progress for progress in told if not progress.is_estimate and progress.done < 3_000_000
    ]
    assert {(progress.total, progress.all_files) for progress in under_way} == {(3_000_000, 60)}
    assert told[-1].done == told[-1].total == 3_000_000


async def test_nobody_counts_if_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(count, "COUNT_AFTER_S", 0.0)
    async with serve(tmp_path) as service, service.client() as client:
        make_tree(service.root / "tree")
        await client.get_tree("tree", service.local / "tree")
        assert len(service.server.sessions) == 1
        async with service.client() as other:
            assert other.hello.session == 2  # no connection was made in between
