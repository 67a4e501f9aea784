"""Listings of a tree: what they cost where names are long, and that the path is right after it."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

from ftransfer.names import ROOT
from ftransfer.storage.local import LocalStore
from tests.support.trees import deep_tree

DEPTH = 2000


async def test_deep_tree_takes_no_memory_for_each_path(tmp_path: Path) -> None:
    async with deep_tree(tmp_path / "top", DEPTH):
        store = await LocalStore.open(tmp_path, durable=False)
        count = largest = 0
        gc.collect()
        tracemalloc.start()
        try:
            async for batch in store.scan(ROOT, recursive=True):
                count += len(batch)
                largest = max(largest, sum(len(entry.name) for entry in batch))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await store.close()
    assert count > DEPTH
    # All paths together are eight million characters.
    assert largest < 1_000_000, (largest, peak)
    assert peak < 4_000_000, peak


async def test_names_behind_a_deep_folder_have_their_own_path(tmp_path: Path) -> None:
    names = ["a", "a/b", "a/b/c", "a/b/c/d", "a/b/e", "a/f", "a/g", "a/g/h", "i"]
    for name in names:
        (tmp_path / name).mkdir()
    store = await LocalStore.open(tmp_path, durable=False)
    found = [entry.name async for batch in store.scan(ROOT, recursive=True) for entry in batch]
    await store.close()
    assert found == names
