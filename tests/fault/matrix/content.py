"""Content of files drawn from a seed, and a Ledger of what may stand under each name."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ftransfer.digest import Digest, digest_of
from ftransfer.names import is_reserved

ABSENT = ""  # in the place of a digest: nothing has the name
_POOL_BYTES = 24 << 20


class Dice(random.Random):
    """Reproducible randomness: drawn from words, such as the seed, the case and the attempt."""

    def __init__(self, *words: object) -> None:
        super().__init__("/".join(map(str, words)))

    def content(self, size: int) -> bytes:
        """Return bytes that occur nowhere else: a slice of a pool at a random place."""
        pool = _pool()
        start = self.randrange(len(pool) - size)
        return pool[start : start + size]


_made: list[bytes] = []


def _pool() -> bytes:
    if not _made:
        _made.append(random.Random(0).randbytes(_POOL_BYTES))
    return _made[0]


@dataclass(slots=True)
class Ledger:
    """What may be below one folder.

    For each name, the permitted digests (ABSENT: no file), and the final one. A name that is not in
    the ledger is wrong, and so is any other content.
    """

    root: Path
    allowed: dict[str, set[Digest]] = field(default_factory=dict)
    final: dict[str, Digest] = field(default_factory=dict)

    def put(self, name: str, data: bytes, *, mtime_ns: int | None = None) -> Digest:
        """Write a file that is there at the start, and stays unless `expect` says more."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if mtime_ns is not None:
            os.utime(path, ns=(mtime_ns, mtime_ns))
        digest = digest_of(data)
        self.allowed[name] = {digest}
        self.final[name] = digest
        return digest

    def expect(self, name: str, digest: Digest) -> None:
        """Record that a command writes this content to the name, or removes it.

        Until it has, the old content is permitted too.
        """
        self.allowed.setdefault(name, {ABSENT}).add(digest)
        self.final[name] = digest

    def moved(self, root: Path) -> Ledger:
        """Return a ledger for a copy of the folder."""
        return Ledger(root, self.allowed, self.final)

    def found(self) -> dict[str, Digest]:
        """Return the digests of all files below the root, except hidden ones.

        A command may still be running there. A name that vanishes meanwhile is left out.
        """
        found: dict[str, Digest] = {}
        for name in _names(self.root):
            with contextlib.suppress(FileNotFoundError):
                found[name] = digest_of((self.root / name).read_bytes())
        return found

    def faults(self, acknowledged: Iterable[tuple[str, Digest]] = ()) -> Faults:
        """Compare what is there with what may be there, and with what was acknowledged."""
        there = self.found()
        faults = Faults()
        for name in sorted(self.allowed.keys() | there.keys()):
            digest = there.get(name, ABSENT)
            if digest not in self.allowed.get(name, {ABSENT}):
                faults.wrong.append(f"{name} holds {digest[:8] or 'nothing'}")
        for name, digest in acknowledged:
            if there.get(name, ABSENT) != digest:
                faults.lost.append(f"{name} was acknowledged")
        return faults

    def unfinished(self) -> list[str]:
        """Return what is wrong at the end: contents, and leftovers."""
        there = self.found()
        names = sorted(self.final.keys() | there.keys())
        not_right = [
            name for name in names if there.get(name, ABSENT) != self.final.get(name, ABSENT)
        ]
        complaints = [f"{name} is not right in the end" for name in not_right]
        return complaints + [f"{name} was left behind" for name in left_behind(self.root)]


@dataclass(slots=True)
class Faults:
    """What a comparison has found, in words."""

    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def _names(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_reserved(name)]
        for file in files:
            yield os.path.relpath(os.path.join(folder, file), root)


def left_behind(root: Path) -> list[str]:
    """Return the .ftransfer folders below a folder with their content.

    They should be gone when nobody uses them.
    """
    every = (
        os.path.relpath(os.path.join(folder, name), root)
        for folder, names, files in os.walk(root)
        for name in names + files
    )
    return [path for path in every if any(map(is_reserved, path.split(os.sep)))]
