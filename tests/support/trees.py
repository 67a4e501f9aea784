"""Folders with content that breaks bad code, and the comparison of two of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

# Names to contents; None is an empty folder.
AWKWARD: Mapping[str, bytes | None] = {
    "a.txt": b"a",
    "a": None,
    "a.b/c.txt": b"c",
    "sub/deep/deeper/x.txt": b"x" * 5000,
    "sub/y": b"",
    "empty": None,
    "射频仿真/天线15.doc": b"doc",
    "bytes \udcff/\udc80": b"bytes",
    "line\nfeed": b"lf",
    "-rf": b"dash",
    "big.bin": bytes(range(256)) * (3 << 12),
    "large/only.bin": os.urandom(2 << 20),
}


def make_tree(root: Path, tree: Mapping[str, bytes | None]) -> None:
    """Make files and folders, with mtimes that no clock would give."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(1_500_000_000_000_000_001, 1_500_000_000_000_000_001 + len(name)))
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            os.utime(path, ns=(1_400_000_000_000_000_001, 1_400_000_000_000_000_001))


def picture(root: Path) -> dict[str, tuple[object, ...]]:
    """Return the content of a folder without .ftransfer: names to kind, content, mode and mtime."""
    found: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if name.startswith(".ftransfer"):
            continue
        about = path.lstat()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("dir", about.st_mode & 0o777, about.st_mtime_ns)
        elif path.is_file():
            found[name] = ("file", path.read_bytes(), about.st_mode & 0o777, about.st_mtime_ns)
        else:
            found[name] = ("special",)
    return found


def assert_same(one: Path, other: Path) -> None:
    """Compare two folders: every name, content, mode and mtime."""
    first, second = picture(one), picture(other)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == set()


@contextlib.asynccontextmanager
async def deep_tree(top: Path, depth: int) -> AsyncIterator[None]:
    """Make `depth` nested folders `d`, each beside a file `f`: deeper than any path may be.

    It is removed at the end, since neither Python nor pytest can.
    """
    await asyncio.to_thread(_make_deep_tree, top, depth)
    try:
        yield
    finally:
        await asyncio.to_thread(subprocess.run, ["rm", "-rf", str(top)], check=True)


def _make_deep_tree(top: Path, depth: int) -> None:
    top.mkdir(parents=True)
    handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=handle))
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
