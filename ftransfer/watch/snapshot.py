"""What was in a folder when last listed, and what the differences to now mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ftransfer.protocol.live import CHANGED, CREATED, MOVED, REMOVED, Change
from ftransfer.storage.base import FOLDER, Entry


class Stamp(NamedTuple):
    """What distinguishes one state of a name from another."""

    kind: str
    size: int
    mtime_ns: int


def stamp_of(entry: Entry) -> Stamp:
    return Stamp(entry.kind, entry.size, entry.mtime_ns)


class Snapshot:
    """Names and stamps, folder by folder, so that a whole subtree can be removed at once.

    About 300 bytes for each name.
    """

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, Stamp]] = {"": {}}

    def get(self, name: str) -> Stamp | None:
        folder, _, last = name.rpartition("/")
        return self._folders.get(folder, {}).get(last)

    def has_folder(self, name: str) -> bool:
        """Return whether a name is a real folder, "" for the root; false for a link to one."""
        return name in self._folders

    def missing_folders(self, name: str) -> Iterator[str]:
        """Yield the missing folders above a name, the innermost first."""
        while not self.has_folder(name := name.rpartition("/")[0]):
            yield name

    def set(self, name: str, stamp: Stamp) -> None:
        """Record a name. Its parent folder must exist already."""
        folder, _, last = name.rpartition("/")
        self._folders[folder][last] = stamp
        if stamp.kind == FOLDER:
            self._folders.setdefault(name, {})

    def pop(self, name: str) -> Iterator[tuple[str, Stamp]]:
        """Remove a name; if it is a folder, first everything below it.

        Trees may be deeper than the call stack.
        """
        above = [(name, self.children(name))]
        while above:
            here, children = above[-1]
            child = next(children, None)
            if child is not None:
                above.append((child, self.children(child)))
                continue
            above.pop()
            self._folders.pop(here, None)
            folder, _, last = here.rpartition("/")
            stamp = self._folders.get(folder, {}).pop(last, None)
            if stamp is not None:
                yield here, stamp

    def folders(self) -> list[str]:
        """Return the names of all current folders, the root first."""
        return list(self._folders)

    def children(self, folder: str) -> Iterator[str]:
        """Yield the names now in a folder, whatever is added or removed meanwhile."""
        prefix = f"{folder}/" if folder else ""
        return (f"{prefix}{last}" for last in list(self._folders.get(folder, ())))


@dataclass
class Differences:
    """What was removed, created and changed since the last comparison, collected by name."""

    gone: list[tuple[str, Stamp]] = field(default_factory=list)
    come: list[tuple[str, Stamp]] = field(default_factory=list)
    changed: list[tuple[str, Stamp]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.gone or self.come or self.changed)

    def update(self, snapshot: Snapshot, name: str, now: Stamp | None) -> None:
        """Compare one name with the snapshot, and update the snapshot."""
        before = snapshot.get(name)
        if now is None or (before is not None and before.kind != now.kind):
            self.gone += snapshot.pop(name)
            before = None
        if now is None or not snapshot.has_folder(name.rpartition("/")[0]):
            return
        if before is None:
            self.come.append((name, now))
        elif before != now and now.kind != FOLDER:  # a folder's time changes with each name in it
            self.changed.append((name, now))
        snapshot.set(name, now)

    def changes(self) -> Iterator[Change]:
        """Yield removals inside out, then moves and creations outside in, then changes.

        A removed name and a new name are one moved object if they have the same stamp, and no other
        name has that stamp.
        """
        went, came = _by_stamp(self.gone), _by_stamp(self.come)
        moved = {came[stamp]: name for stamp, name in went.items() if stamp in came}
        sources = set(moved.values())
        for name, stamp in self.gone:
            if name not in sources:
                yield Change(REMOVED, name, stamp.kind)
        for name, stamp in self.come:
            what = MOVED if name in moved else CREATED
            yield Change(
                what, name, stamp.kind, stamp.size, stamp.mtime_ns, old=moved.get(name, "")
            )
        for name, stamp in self.changed:
            yield Change(CHANGED, name, stamp.kind, stamp.size, stamp.mtime_ns)


def _by_stamp(names: Iterable[tuple[str, Stamp]]) -> dict[Stamp, str]:
    """Return the names whose stamp no other name has."""
    found: dict[Stamp, str] = {}
    double: set[Stamp] = set()
    for name, stamp in names:
        if stamp in found:
            double.add(stamp)
        found[stamp] = name
    return {stamp: name for stamp, name in found.items() if stamp not in double}
