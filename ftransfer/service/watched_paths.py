"""Which sessions watch which paths, found by folder: a path elsewhere costs nothing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

from ftransfer.names import sort_key

T = TypeVar("T")


def key_range(name: str) -> tuple[bytes, bytes]:
    """Return the first sort key of a name and all below it, and the first key after these."""
    key = sort_key(name)
    return key, key + b"\1"


class WatchedPaths(Generic[T]):
    """Paths, each with those who watch it.

    A path that is lost is reported once, until it is back.
    """

    def __init__(self) -> None:
        self._keys: list[bytes] = []  # in order
        self._of_key: dict[bytes, tuple[str, set[T]]] = {}
        self._of_watcher: dict[T, set[bytes]] = {}
        self._lost: set[bytes] = set()

    def add(self, path: str, watcher: T) -> None:
        key = sort_key(path)
        if key not in self._of_key:
            self._of_key[key] = path, set()
            insort(self._keys, key)
        self._of_key[key][1].add(watcher)
        self._of_watcher.setdefault(watcher, set()).add(key)

    def discard(self, path: str, watcher: T) -> None:
        self._discard(sort_key(path), watcher)

    def discard_all(self, watcher: T) -> None:
        """Remove a watcher with all its paths."""
        for key in list(self._of_watcher.get(watcher, ())):
            self._discard(key, watcher)

    def _discard(self, key: bytes, watcher: T) -> None:
        keys = self._of_watcher.get(watcher, set())
        if key not in keys:
            return
        keys.discard(key)
        if not keys:
            del self._of_watcher[watcher]
        watchers = self._of_key[key][1]
        watchers.discard(watcher)
        if not watchers:
            del self._of_key[key]
            del self._keys[bisect_left(self._keys, key)]
            self._lost.discard(key)

    def mark_lost(self, folder: str) -> Iterator[tuple[str, set[T]]]:
        """Yield existing paths that vanish with a folder, with those who watch them."""
        for key in self._within(folder):
            if key not in self._lost:
                self._lost.add(key)
                yield self._of_key[key]

    def mark_found(self, folder: str) -> None:
        """Note that a folder exists, and with it the lost paths below it."""
        if self._lost:
            self._lost.difference_update(self._within(folder))

    def _within(self, folder: str) -> list[bytes]:
        first, behind = key_range(folder)
        return self._keys[bisect_left(self._keys, first) : bisect_left(self._keys, behind)]
