"""What must be done to make one tree like another: two sorted listings side by side -> actions.

Pure: it sees entries, not stores or servers. Both listings come in the order of Store.list(recursive=True), so that memory holds
one batch of each and the chain of folders above them, however large the trees are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import NamedTuple

from ftransfer.names import sort_key
from ftransfer.storage.base import FOLDER, LINK, Entry
from ftransfer.transfer.selection import Wanted, everything


class Doing(Enum):
    """What is to be done for one name."""

    COPY = "copy"  # a file that is missing or differs
    COMPARE = "compare"  # a file of the same size, whose digests decide
    LINK = "link"
    FOLDER = "folder"  # make it, or set its mode and mtime; comes after everything in it
    REMOVE = "remove"  # something that only the destination has; a folder comes after everything in it, and stays if not empty
    REMOVE_TREE = "remove tree"  # a folder that only the destination has, with all that is in it; where no name is left out
    REPLACE = "replace"  # something of another kind, which must go before its name can be used; an action for the name follows
    UNREAD = "unread"  # a folder of the source that could not be listed: nothing is done about what is in it


class Action(NamedTuple):
    """One step. `entry` is the source's, for REMOVE and REPLACE the destination's; names are relative to the trees' roots."""

    doing: Doing
    entry: Entry


class Rules(NamedTuple):
    """How trees are compared.

    Args:
        delete: Remove what the source does not have.
        checksum: Compare files of the same size by digest, whatever their mtimes.
        links: Copy links as links; else they count as what they lead to.
        wanted: Whether a name takes part at all (name, is_folder); what does not is neither copied nor removed.
    """

    delete: bool = False
    checksum: bool = False
    links: bool = False
    wanted: Wanted = everything


class Comparison:
    """The walk through two listings, or through the ranges of them that may differ."""

    def __init__(self, rules: Rules) -> None:
        self.unchanged = 0  # names about which there is nothing to do
        self._rules = rules
        self._found: list[Action] = []
        # The folders of the source above the present name, each with whether something directly in it has changed or must change.
        self._open: list[tuple[Entry, bool]] = []
        # Folders that only the destination has, above the present name; each is removed when its content has been.
        self._doomed: list[Entry] = []
        # A folder of the destination that goes as a whole: its content needs no action.
        self._gone: Entry | None = None
        # A folder of the source that could not be listed: what the destination has in it stays.
        self._unread: Entry | None = None

    async def actions(
        self, source: AsyncIterator[Sequence[Entry]], there: AsyncIterator[Sequence[Entry]]
    ) -> AsyncIterator[Sequence[Action]]:
        """Give the actions that make `there` like `source`, in one range; those that `finish` gives come after the last."""
        here, other = _Cursor(source), _Cursor(there)
        while await here.fill() | await other.fill():
            self._compare_batches(here, other)
            if self._found:
                yield self._take_found()

    def resume(self, folders: Sequence[Entry]) -> Sequence[Action]:
        """Go on behind a range that is the same on both sides, in a place that lies in these folders, the outermost first.

        What is the same has been counted as unchanged; of these folders it is not known yet.
        """
        self._leave(f"{folders[-1].name}/" if folders else "")
        for entry in folders[len(self._open) :]:
            self._open.append((entry, False))
            self.unchanged -= 1
        return self._take_found()

    def finish(self) -> Sequence[Action]:
        """Close what is open at the end."""
        self._leave("")
        return self._take_found()

    def _take_found(self) -> Sequence[Action]:
        found, self._found = self._found, []
        return found

    def _add(self, doing: Doing, entry: Entry) -> None:
        self._found.append(Action(doing, entry))

    def _compare_batches(self, here: _Cursor, other: _Cursor) -> None:
        """Go on until one side has to be filled again."""
        while here.entries and other.entries:
            entry, there = here.entries[-1], other.entries[-1]
            if entry.name == there.name:
                self._meet(here.entries.pop(), other.entries.pop())
            elif sort_key(entry.name) < sort_key(there.name):
                self._meet(here.entries.pop(), None)
            else:
                self._extra(other.entries.pop())
        while other.has_ended and here.entries:
            self._meet(here.entries.pop(), None)
        while here.has_ended and other.entries:
            self._extra(other.entries.pop())

    def _meet(self, entry: Entry, there: Entry | None) -> None:
        """Compare one name of the source with what the destination has there."""
        self._leave(entry.name)
        if not self._rules.wanted(entry.name, entry.kind == FOLDER):
            return
        if entry.unread:
            self._unread = entry
            self._add(Doing.UNREAD, entry)
            return
        if there is not None and there.kind != entry.kind:
            # A folder with all that is in it goes only where things may be removed; else the copy will fail and say why.
            if there.kind != FOLDER or self._rules.delete:
                self._add(Doing.REPLACE, there)
            self._gone = there if there.kind == FOLDER else None
            there = None
        if entry.kind == FOLDER:
            if there is None:
                self._touch_parent(entry.name)
            self._open.append((entry, there is None or there.mtime_ns != entry.mtime_ns or there.mode != entry.mode))
            return
        doing = self._compare(entry, there)
        if doing is None:
            self.unchanged += 1
            return
        self._touch_parent(entry.name)
        self._add(doing, entry)

    def _compare(self, entry: Entry, there: Entry | None) -> Doing | None:
        if entry.kind == LINK:
            return None if there is not None and there.target == entry.target else Doing.LINK
        if there is None or there.size != entry.size:
            return Doing.COPY
        if self._rules.checksum:
            return Doing.COMPARE
        return None if there.mtime_ns == entry.mtime_ns and there.mode == entry.mode else Doing.COPY

    def _extra(self, there: Entry) -> None:
        """Handle a name that only the destination has."""
        self._leave(there.name)
        if any(above is not None and there.name.startswith(above.name + "/") for above in (self._gone, self._unread)):
            return
        if not self._rules.delete or not self._rules.wanted(there.name, there.kind == FOLDER):
            return
        self._touch_parent(there.name)
        if there.kind != FOLDER:
            self._add(Doing.REMOVE, there)
        elif self._rules.wanted is everything:
            self._add(Doing.REMOVE_TREE, there)
            self._gone = there
        else:
            self._doomed.append(there)

    def _touch_parent(self, name: str) -> None:
        depth = name.count("/")
        if 0 < depth <= len(self._open):  # else it is the root, whose attributes are the user's own
            self._open[depth - 1] = (self._open[depth - 1][0], True)

    def _leave(self, name: str) -> None:
        """Close the folders that the walk has left: what is in them is done, so they can be set to their mtime, or removed."""
        while self._doomed and not name.startswith(self._doomed[-1].name + "/"):
            self._add(Doing.REMOVE, self._doomed.pop())
        while self._open and not name.startswith(self._open[-1][0].name + "/"):
            entry, changed = self._open.pop()
            if changed:
                self._add(Doing.FOLDER, entry)
            else:
                self.unchanged += 1


class _Cursor:
    def __init__(self, batches: AsyncIterator[Sequence[Entry]]) -> None:
        self._batches = batches
        self.entries: list[Entry] = []  # the next one last
        self.has_ended = False

    async def fill(self) -> bool:
        """Have an entry at hand; whether there is one."""
        while not self.entries and not self.has_ended:
            batch = await anext(self._batches, None)
            self.has_ended = batch is None
            self.entries = list(reversed(batch or ()))
        return bool(self.entries)
