"""One of each kind of store, and what tests do with any of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    FtransferError,
    StoreFailed,
)
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.storage.base import (
    FILE,
    Entry,
    SmallFile,
    Store,
    UploadSpec,
    Writer,
)
from ftransfer.storage.local import LocalStore
from ftransfer.storage.memory import MemoryStore
from tests.support.plain_store import PlainStore

MTIME = 1_700_000_000_123_456_789
SOURCE = "laptop:/home/a/f:1:2:3"


# Stores that have links, threads and parts.
LOCAL_STORES = ("openat2", "walk")
STORES = ("memory", "plain", *LOCAL_STORES)


@contextlib.asynccontextmanager
async def open_store(kind: str, folder: Path) -> AsyncIterator[Store]:
    """Open a store for a test, and look for descriptors that it leaves behind."""
    before = _open_descriptors()
    store = await _make_store(kind, folder)
    yield store
    await store.close()
    assert _open_descriptors() == before, "descriptors have leaked"


async def _make_store(kind: str, folder: Path) -> Store:
    match kind:
        case "plain":
            return PlainStore()
        case "memory":
            return MemoryStore()
        case "openat2":
            try:
                return await LocalStore.open(folder, resolver="openat2")
            except StoreFailed:
                pytest.skip("this kernel has no openat2")
        case _:
            return await LocalStore.open(folder, resolver="walk")


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def named(text: str) -> SafeName:
    return parse_name(text)


def small(
    name: str,
    data: bytes = b"content",
    *,
    mtime_ns: int = MTIME,
    mode: int = 0o644,
    digest: str = "",
) -> SmallFile:
    return SmallFile(name, FILE, mtime_ns, mode, data, digest or digest_of(data))


async def put(store: Store, name: str, data: bytes = b"content") -> Entry:
    writer = await store.open_write(
        named(name), UploadSpec(size=len(data), mtime_ns=MTIME, mode=0o640)
    )
    await writer.write(data)
    return await writer.commit(digest_of(data))


async def get(store: Store, name: str) -> bytes:
    reader = await store.open_read(named(name))
    try:
        return await reader.read(0, 1 << 24)
    finally:
        await reader.close()


async def listing(store: Store, folder: SafeName = ROOT, *, recursive: bool = False) -> list[Entry]:
    return [entry async for batch in store.scan(folder, recursive=recursive) for entry in batch]


async def begin(
    store: Store, name: str, source: str = SOURCE, *, size: int | None = 10, owner: str = "ann"
) -> Writer:
    return await store.open_write(named(name), UploadSpec(size=size, source=source, owner=owner))


async def leave_partial(
    store: Store, name: str, data: bytes, source: str = SOURCE, *, owner: str = "ann"
) -> None:
    writer = await begin(store, name, source, owner=owner)
    await writer.write(data)
    await writer.suspend()


def is_error(result: object, kind: type[FtransferError]) -> bool:
    return type(result) is kind


_CORE = frozenset(name for name in vars(Store) if not name.startswith("_")) | {"durable"}


class CoreOnly:
    """A store without its options: what is asked of it beyond the core is not there."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name not in _CORE:
            raise AttributeError(name)
        return getattr(self._store, name)


def core_of(store: Store) -> Store:
    """Return a store that answers as this one, and leaves everything else to the defaults."""
    return cast(Store, CoreOnly(store))
