"""What must be done to make one tree like another: two sorted listings side by side -> actions, one at a time.

Pure: it sees entries, not stores or servers. Both listings come in the order of Store.list(recursive=True), so that memory holds
one entry of each and the chain of folders above them, however large the trees are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import Enum
from typing import NamedTuple

from ftransfer.names import encode_name
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
    SKIP = "skip"  # the same on both sides


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


def sort_key(name: str) -> tuple[bytes, ...]:
    """Give the key by which recursive listings are ordered: each folder before its content, siblings by their bytes."""
    return tuple(encode_name(name).split(b"/"))


class Comparison:
    """The walk through two listings."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        # The folders of the source above the present name, each with whether something directly in it has changed or must change.
        self._open: list[tuple[Entry, bool]] = []
        # Folders that only the destination has, above the present name; each is removed when its content has been.
        self._doomed: list[Entry] = []
        # A folder of the destination that goes as a whole: its content needs no action.
        self._gone: Entry | None = None
        # A folder of the source that could not be listed: what the destination has in it stays.
        self._unread: Entry | None = None

    async def actions(self, source: AsyncIterator[Entry], there: AsyncIterator[Entry]) -> AsyncIterator[Action]:
        """Give the actions that make `there` like `source`."""
        here, other = _Cursor(source), _Cursor(there)
        await here.step()
        await other.step()
        while here.entry is not None or other.entry is not None:
            if other.entry is None or (here.entry is not None and here.key < other.key):
                assert here.entry is not None
                for action in self._meet(here.key, here.entry, None):
                    yield action
                await here.step()
            elif here.entry is None or other.key < here.key:
                for action in self._extra(other.key, other.entry):
                    yield action
                await other.step()
            else:
                for action in self._meet(here.key, here.entry, other.entry):
                    yield action
                await here.step()
                await other.step()
        for action in self._leave(()):
            yield action

    def _meet(self, key: tuple[bytes, ...], entry: Entry, there: Entry | None) -> list[Action]:
        """Compare one name of the source with what the destination has there."""
        actions = self._leave(key)
        if not self._rules.wanted(entry.name, entry.kind == FOLDER):
            return actions
        if entry.unread:
            self._unread = entry
            actions.append(Action(Doing.UNREAD, entry))
            return actions
        if there is not None and there.kind != entry.kind:
            # A folder with all that is in it goes only where things may be removed; else the copy will fail and say why.
            if there.kind != FOLDER or self._rules.delete:
                actions.append(Action(Doing.REPLACE, there))
            self._gone = there if there.kind == FOLDER else None
            there = None
        if entry.kind == FOLDER:
            self._open.append((entry, there is None or there.mtime_ns != entry.mtime_ns or there.mode != entry.mode))
            if there is None:
                self._touch_parent(depth=len(key) - 1)
            return actions
        doing = self._compare(entry, there)
        if doing is not Doing.SKIP:
            self._touch_parent(depth=len(key) - 1)
        actions.append(Action(doing, entry))
        return actions

    def _compare(self, entry: Entry, there: Entry | None) -> Doing:
        if entry.kind == LINK:
            return Doing.SKIP if there is not None and there.target == entry.target else Doing.LINK
        if there is None or there.size != entry.size:
            return Doing.COPY
        if self._rules.checksum:
            return Doing.COMPARE
        return Doing.SKIP if there.mtime_ns == entry.mtime_ns and there.mode == entry.mode else Doing.COPY

    def _extra(self, key: tuple[bytes, ...], there: Entry) -> list[Action]:
        """Handle a name that only the destination has."""
        actions = self._leave(key)
        if any(above is not None and there.name.startswith(above.name + "/") for above in (self._gone, self._unread)):
            return actions
        if not self._rules.delete or not self._rules.wanted(there.name, there.kind == FOLDER):
            return actions
        self._touch_parent(depth=len(key) - 1)
        if there.kind != FOLDER:
            actions.append(Action(Doing.REMOVE, there))
        elif self._rules.wanted is everything:
            actions.append(Action(Doing.REMOVE_TREE, there))
            self._gone = there
        else:
            self._doomed.append(there)
        return actions

    def _touch_parent(self, depth: int) -> None:
        if 0 < depth <= len(self._open):  # else it is the root, whose attributes are the user's own
            self._open[depth - 1] = (self._open[depth - 1][0], True)

    def _leave(self, key: tuple[bytes, ...]) -> list[Action]:
        """Close the folders that the walk has left: what is in them is done, so they can be set to their mtime, or removed."""
        actions = []
        while self._doomed and not _is_above(self._doomed[-1], key):
            actions.append(Action(Doing.REMOVE, self._doomed.pop()))
        while self._open and not _is_above(self._open[-1][0], key):
            entry, changed = self._open.pop()
            actions.append(Action(Doing.FOLDER if changed else Doing.SKIP, entry))
        return actions


class _Cursor:
    def __init__(self, entries: AsyncIterator[Entry]) -> None:
        self._entries = entries
        self.entry: Entry | None = None
        self.key: tuple[bytes, ...] = ()

    async def step(self) -> None:
        self.entry = await anext(self._entries, None)
        if self.entry is not None:
            self.key = sort_key(self.entry.name)


def _is_above(folder: Entry, key: tuple[bytes, ...]) -> bool:
    parts = sort_key(folder.name)
    return len(parts) < len(key) and key[: len(parts)] == parts
