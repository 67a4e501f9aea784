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
    """Chance that can be had again: drawn from words, such as the seed, the case and the number of
    the attempt.
    """

    def __init__(self, *words: object) -> None:
        super().__init__("/".join(map(str, words)))

    def content(self, size: int) -> bytes:
        """Give bytes like no others: a piece of a pool at a random place."""
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
    """What may stand below one folder: for each name the digests that are right (ABSENT: or
    nothing), and the one at the end.

    A name that is not in the ledger is wrong, and so is any other content.
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
        """Say that a command brings this content to the name, or takes the name away; before that
        it holds what it held.
        """
        self.allowed.setdefault(name, {ABSENT}).add(digest)
        self.final[name] = digest

    def moved(self, root: Path) -> Ledger:
        """Give the same for a copy of the folder."""
        return Ledger(root, self.allowed, self.final)

    def found(self) -> dict[str, Digest]:
        """Give the digest of every file below the root that is under a name of its own.

        A command may still be at work there. A name that goes just now is not there any more.
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
        """Say what is not as it should be in the end: contents, and things left behind."""
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
    """Give the hidden places below a folder and what is in them; they should be gone when nobody
    uses them.
    """
    every = (
        os.path.relpath(os.path.join(folder, name), root)
        for folder, names, files in os.walk(root)
        for name in names + files
    )
    return [path for path in every if any(map(is_reserved, path.split(os.sep)))]
