"""How a tree that is read in one go is cut into groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftransfer.names import ROOT
from ftransfer.storage.base import SmallFile
from ftransfer.storage.local import LocalStore


@pytest.fixture(autouse=True)
def _no_time_slice_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a group would end early."""
    monkeypatch.setattr("ftransfer.system.turns.TimeSlice.is_over", False)


async def group_sizes(folder: Path, max_items: int) -> list[int]:
    store = await LocalStore.open(folder)
    try:
        groups = [group async for group in store.read_tree(ROOT, 1 << 20, max_items)]
    finally:
        await store.close()
    assert all(isinstance(item, SmallFile) for group in groups for item in group)
    return [len(group) for group in groups]


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}").write_bytes(b"x")


async def test_first_groups_are_small(tmp_path: Path) -> None:
    fill(tmp_path / "all", 1000)
    assert await group_sizes(tmp_path, 512) == [64, 128, 256, 512, 41]


async def test_group_that_is_nearly_full_ends_with_a_folder(tmp_path: Path) -> None:
    for number in range(5):
        fill(tmp_path / f"{number}", 31)
    assert await group_sizes(tmp_path, 64) == [64, 64, 32]
    assert await group_sizes(tmp_path, 40) == [32] * 5
