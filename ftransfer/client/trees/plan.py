"""The plan that makes one tree like another, in spools: totals are known before any byte moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from ftransfer.storage.base import FOLDER, Entry
from ftransfer.transfer.packs import MAX_PACKED_BYTES
from ftransfer.transfer.spool import Mark, Spool
from ftransfer.transfer.tree_actions import Action, ActionKind


class Plan:
    """What to do, by kind, each in the order of the walk.

    Files up to `packed_bytes` travel packed.
    """

    def __init__(self, packed_bytes: int = MAX_PACKED_BYTES) -> None:
        self.packed_bytes = packed_bytes
        self._open()

    def clear(self) -> None:
        """Empty the plan."""
        self.close()
        self._open()

    def _open(self) -> None:
        self.small = Spool()
        self.large = Spool()
        self.compared = Spool()
        self.compared_and_set = Spool()
        self.set = Spool()  # files that only need mode and time
        self.links = Spool()
        self.folders = Spool()
        self.folders_if_copied = Spool()
        self.unlocked = Spool()
        self.staged = Spool()
        self.removed = Spool()  # the size of a folder is the number of names removed with it
        self.kept = Spool()
        self.refused = Spool()
        self.unreadable = Spool()
        self.left_out = Spool()
        self.unchanged = 0
        self.staged_counts: list[int] = []  # names removed for each of `staged`; there are few
        self._entered: list[Mark] = []
        self._folders_with_copies: set[str] = set()

    @property
    def size_bytes(self) -> int:
        return self.small.size_bytes + self.large.size_bytes

    @property
    def file_count(self) -> int:
        return self.small.count + self.large.count

    def add_copy(self, entry: Entry) -> None:
        (self.small if entry.size <= self.packed_bytes else self.large).add(entry)

    def add(self, action: Action) -> None:
        entry = action.entry
        match action.kind:
            case ActionKind.COPY:
                self.add_copy(entry)
            case ActionKind.COMPARE:
                self.compared.add(entry)
            case ActionKind.COMPARE_AND_SET:
                self.compared_and_set.add(entry)
            case ActionKind.SET:
                self.set.add(entry)
            case ActionKind.LINK:
                self.links.add(entry)
            case ActionKind.FOLDER:
                self.folders.add(entry)
            case ActionKind.FOLDER_IF_COPIED:
                self.folders_if_copied.add(entry)
            case ActionKind.UNLOCK:
                self.unlocked.add(entry)
            case ActionKind.STAGE:
                self.staged.add(entry)
                self.staged_counts.append(action.things)
            case ActionKind.ENTER:
                self._entered.append(self.removed.mark())
            case ActionKind.REMOVE_TREE:
                self.removed.cut(self._entered.pop())
                self.removed.add(entry._replace(size=action.things))
            case ActionKind.REMOVE:
                if entry.kind == FOLDER:
                    self._entered.pop()
                self.removed.add(entry._replace(size=1) if entry.kind == FOLDER else entry)
            case ActionKind.KEEP:
                if not entry.unreadable:
                    self._entered.pop()
                self.kept.add(entry._replace(why=action.why))
            case ActionKind.REFUSE:
                self.refused.add(entry._replace(why=action.why))
            case ActionKind.UNREADABLE:
                self.unreadable.add(entry)
            case ActionKind.LEAVE_OUT:
                self.left_out.add(entry)

    def add_all(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self.add(action)

    def all_compared(self) -> Iterator[tuple[Entry, bool]]:
        """Yield the files whose digests decide, each with whether its mode or time differs too."""
        return chain(
            ((entry, False) for entry in self.compared),
            ((entry, True) for entry in self.compared_and_set),
        )

    def add_compared(self, entry: Entry, *, is_same: bool, differs_besides: bool) -> None:
        """Add the action that follows from comparing two digests."""
        if not is_same:
            self.add_copy(entry)
            self._folders_with_copies.add(entry.name.rpartition("/")[0])
        elif differs_besides:
            self.set.add(entry)
        else:
            self.unchanged += 1

    def settle_compared(self) -> None:
        """Decide on the folders, once all digests are known."""
        for entry in self.folders_if_copied:
            if entry.name in self._folders_with_copies:
                self.folders.add(entry)
            else:
                self.unchanged += 1

    def staged_with_counts(self) -> Iterator[tuple[Entry, int]]:
        return zip(self.staged, self.staged_counts, strict=True)

    def close(self) -> None:
        for value in vars(self).values():
            if isinstance(value, Spool):
                value.close()

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
