"""What is told of a tree while it moves: files and bytes, done and in all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftransfer.transfer.records import Progress
from tests.support.service import serve

LARGE = 6 << 20  # more than what travels packed


def make_tree(folder: Path) -> int:
    """Make files, small and large; give how many bytes they have."""
    for name, size in (("a", 10), ("b/c", 20), ("b/d", 30), ("large", LARGE), ("b/larger", LARGE + 1)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.urandom(size))
    return 2 * LARGE + 61


@pytest.mark.parametrize("verb", ["get", "put"])
@pytest.mark.parametrize("is_fresh", [True, False])
async def test_totals_are_known_when_all_has_been_found(tmp_path: Path, verb: str, is_fresh: bool) -> None:
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
    assert (told[-1].done, told[-1].total, told[-1].files, told[-1].all_files) == (total, total, 5, 5)
    sure = [progress for progress in told if not progress.is_estimate]
    assert sure and {(progress.total, progress.all_files) for progress in sure} == {(total, 5)}
    assert told[0].is_estimate is is_fresh
    assert all(progress.done <= (progress.total or 0) and (progress.files or 0) <= (progress.all_files or 0) for progress in told)
