"""Two sorted listings side by side: the actions that make one tree like the other.

Pure: it sees entries, not stores or servers. Both listings are in the order of
Store.scan(recursive=True), so that memory holds one batch of each and the chain of folders above
them, however large the trees are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ftransfer.names import escape, sort_key
from ftransfer.storage.base import DEAD_LINK, FILE, FOLDER, FOLDER_LINK, LINK, OTHER, Entry
from ftransfer.transfer.selection import everything
from ftransfer.transfer.tree_actions import Action, ActionKind, Rules

_OWNER = 0o700
_FIRST_OF_32_BITS_NS = -(2**31) * 1_000_000_000


class _Open:
    """A folder of the source that the walk is in, and its entry in the destination."""

    __slots__ = ("kind", "entry", "is_unlocked", "there")

    def __init__(self, entry: Entry, there: Entry | None, kind: ActionKind | None) -> None:
        self.entry = entry
        self.there = there
        self.kind = kind  # FOLDER, FOLDER_IF_COPIED, or None while nothing directly in it changes
        self.is_unlocked = there is None or there.mode & _OWNER == _OWNER


class _Doomed:
    """A folder of the destination that is to be removed, and what is known of its content."""

    __slots__ = ("count", "entry", "keeps", "source")

    def __init__(self, entry: Entry, source: Entry | None = None) -> None:
        self.entry = entry
        self.source = source  # what replaces it
        self.count = 1  # names to remove: those in it, and itself
        self.keeps = ""  # the first name in it that must stay


class _Actions:
    """The actions that were found and not yet taken."""

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def add(self, kind: ActionKind, entry: Entry, things: int = 0, why: str = "") -> None:
        self._actions.append(Action(kind, entry, things, why))

    def take(self) -> Sequence[Action]:
        found, self._actions = self._actions, []
        return found


class _Shield:
    """A name of the source below which nothing is done, on either side."""

    def __init__(self) -> None:
        self._prefix = ""

    def cover(self, entry: Entry) -> None:
        self._prefix = f"{entry.name}/"

    def covers(self, name: str) -> bool:
        return bool(self._prefix) and name.startswith(self._prefix)


class Comparison:
    """The walk through two listings, or through the ranges of them that may differ.

    A name is never removed if it takes no part, or if it cannot be read or transferred, on either
    side; nor is a folder that contains such a name.
    """

    def __init__(self, rules: Rules) -> None:
        self.unchanged = 0  # names that need no action
        self._rules = rules
        self._found = _Actions()
        self._open: list[_Open] = []  # the folders of the source above the current name
        # The folders above the current name that only the destination has, or that are replaced.
        self._doomed: list[_Doomed] = []
        self._shield = _Shield()

    async def actions(
        self, source: AsyncIterator[Sequence[Entry]], there: AsyncIterator[Sequence[Entry]]
    ) -> AsyncIterator[Sequence[Action]]:
        """Yield the actions that make `there` like `source`, in one range.

        After the last range, call `finish` for the rest.
        """
        here, other = _Cursor(source), _Cursor(there)
        while await here.fill() | await other.fill():
            self._compare_batches(here, other)
            if found := self._found.take():
                yield found

    def resume(self, folders: Sequence[Entry]) -> Sequence[Action]:
        """Continue after a range that is the same on both sides.

        Args:
            folders: The folders that contain the position, the outermost first. They were counted
                as unchanged with the range; that is not certain yet.
        """
        self._leave(f"{folders[-1].name}/" if folders else "")
        for entry in folders[len(self._open) :]:
            self._open.append(_Open(entry, entry, None))
            self.unchanged -= 1
        return self._found.take()

    def finish(self) -> Sequence[Action]:
        """Close the open folders at the end; return their actions."""
        self._leave("")
        return self._found.take()

    def _compare_batches(self, here: _Cursor, other: _Cursor) -> None:
        """Compare until one side needs more entries."""
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
        """Compare one name of the source with its counterpart in the destination."""
        if self._shield.covers(entry.name):
            return
        self._leave(entry.name)
        if not self._rules.wanted(entry.name, entry.kind == FOLDER):
            return
        if entry.unreadable or entry.kind == OTHER:
            self._shield.cover(entry)
            self._found.add(
                ActionKind.UNREADABLE if entry.unreadable else ActionKind.LEAVE_OUT, entry
            )
        elif (
            there is not None
            and there.kind != entry.kind
            and not (there.kind == FILE and entry.kind == LINK)
        ):
            self._clash(entry, there)
        elif entry.kind == FOLDER:
            self._enter(entry, there)
        else:
            self._file(entry, there)

    def _clash(self, entry: Entry, there: Entry) -> None:
        """Decide on a name that has another kind in the destination."""
        if there.kind == FOLDER:
            if not self._rules.delete:
                self._refuse(
                    entry, "is a folder there, which is replaced only where things may be removed"
                )
            elif there.unreadable or not self._rules.wanted(there.name, True):
                self._refuse(entry, "is a folder there that cannot be read, or takes no part")
            else:
                self._doomed.append(_Doomed(there, entry))  # until its content is known
        elif there.kind == OTHER and there.why == FOLDER_LINK:
            self._refuse(
                entry,
                "is a link to a folder there, through which nothing is written; remove the link, or"
                " copy to what it leads to",
            )
        elif there.kind == OTHER and (there.why != DEAD_LINK or entry.kind == FOLDER):
            self._refuse(
                entry,
                "is something there that is not replaced: a link that leads elsewhere, or no file;"
                " remove it",
            )
        elif not self._rules.wanted(there.name, False):
            self._refuse(entry, "is something there that takes no part")
        else:
            # Also for a file in place of a dead link: the link may lead to a folder by the time
            # that the file arrives, if this run has made that folder.
            self._stage(entry, 1 if entry.kind == FOLDER else 0)

    def _refuse(self, entry: Entry, why: str) -> None:
        self._shield.cover(entry)
        self._found.add(ActionKind.REFUSE, entry, why=why)

    def _stage(self, entry: Entry, count: int) -> None:
        self._touch_parent(entry.name, ActionKind.FOLDER)
        self._shield.cover(entry)
        self._found.add(ActionKind.STAGE, entry, count)

    def _enter(self, entry: Entry, there: Entry | None) -> None:
        if there is None:
            self._touch_parent(entry.name, ActionKind.FOLDER)
        is_same = (
            there is not None
            and _is_same_time(entry, there)
            and _folder_mode(entry) == _folder_mode(there)
        )
        self._open.append(_Open(entry, there, None if is_same else ActionKind.FOLDER))

    def _file(self, entry: Entry, there: Entry | None) -> None:
        kind = self._compare(entry, there)
        if kind is None:
            self.unchanged += 1
            return
        if kind in (ActionKind.COPY, ActionKind.LINK):
            self._touch_parent(entry.name, ActionKind.FOLDER)
        elif kind is not ActionKind.SET:
            self._touch_parent(entry.name, ActionKind.FOLDER_IF_COPIED)
        self._found.add(kind, entry)

    def _compare(self, entry: Entry, there: Entry | None) -> ActionKind | None:
        if entry.kind == LINK:
            return None if there is not None and there.target == entry.target else ActionKind.LINK
        if there is None or there.size != entry.size:
            return ActionKind.COPY
        is_same_time = _is_same_time(entry, there)
        if self._rules.checksum:
            return (
                ActionKind.COMPARE
                if is_same_time and there.mode == entry.mode
                else ActionKind.COMPARE_AND_SET
            )
        if not is_same_time:
            return ActionKind.COPY
        return None if there.mode == entry.mode else ActionKind.SET

    def _extra(self, there: Entry) -> None:
        """Handle a name that only the destination has."""
        if self._shield.covers(there.name):
            return
        self._leave(there.name)
        if not self._rules.delete:
            return
        if (
            there.unreadable
            or there.kind == OTHER
            or not self._rules.wanted(there.name, there.kind == FOLDER)
        ):
            for doomed in self._doomed:
                doomed.keeps = doomed.keeps or there.name
            if there.unreadable and not self._doomed:
                self._found.add(ActionKind.KEEP, there, why=there.name)
            return
        # All of it is removed with the folder that is replaced
        if self._doomed and self._doomed[0].source is not None:
            self._doomed[0].count += 1
        elif there.kind == FOLDER:
            if there.mode & _OWNER != _OWNER:
                self._found.add(ActionKind.UNLOCK, there)
            self._found.add(ActionKind.ENTER, there)
            self._doomed.append(_Doomed(there))
        else:
            self._remove(there)

    def _remove(self, there: Entry) -> None:
        self._touch_parent(there.name, ActionKind.FOLDER)
        self._found.add(ActionKind.REMOVE, there)
        if self._doomed:
            self._doomed[-1].count += 1

    def _touch_parent(self, name: str, kind: ActionKind) -> None:
        """Record that something directly in the parent folder changes, or may change."""
        depth = name.count("/")
        if not self._doomed:
            # A parent folder may itself take no part
            depth = min(depth, len(self._open))
        if not 0 < depth <= len(self._open):
            return  # the root, whose attributes are the user's own
        above = self._open[depth - 1]
        if above.kind is not ActionKind.FOLDER:
            above.kind = kind
        if not above.is_unlocked and above.there is not None:
            above.is_unlocked = True
            self._found.add(ActionKind.UNLOCK, above.there)

    def _leave(self, name: str) -> None:
        """Close the folders that the walk has left: their content is done."""
        while self._doomed and not name.startswith(f"{self._doomed[-1].entry.name}/"):
            self._close_doomed(self._doomed.pop())
        while self._open and not name.startswith(f"{self._open[-1].entry.name}/"):
            left = self._open.pop()
            if left.kind is None:
                self.unchanged += 1
            else:
                self._found.add(left.kind, left.entry)

    def _close_doomed(self, doomed: _Doomed) -> None:
        if doomed.source is not None:
            if doomed.keeps:
                self._found.add(
                    ActionKind.REFUSE,
                    doomed.source,
                    why=f"is a folder there that must stay, because of {escape(doomed.keeps)}",
                )
            else:
                self._touch_parent(doomed.source.name, ActionKind.FOLDER)
                self._found.add(ActionKind.STAGE, doomed.source, doomed.count)
            return
        if doomed.keeps:
            self._found.add(ActionKind.KEEP, doomed.entry, why=doomed.keeps)
            return
        self._touch_parent(doomed.entry.name, ActionKind.FOLDER)
        # With a selection, other names may have appeared meanwhile: a folder is removed only when
        # it is empty.
        whole = self._rules.wanted is everything
        self._found.add(
            ActionKind.REMOVE_TREE if whole else ActionKind.REMOVE,
            doomed.entry,
            doomed.count if whole else 1,
        )
        if self._doomed:
            self._doomed[-1].count += doomed.count


def _folder_mode(entry: Entry) -> int:
    """Return the mode of a folder as a store keeps it: always with the owner's bits."""
    return entry.mode | _OWNER


def _is_same_time(entry: Entry, there: Entry) -> bool:
    """Return whether two times are equal, or both too early for a 32-bit file system."""
    return (
        entry.mtime_ns == there.mtime_ns
        or max(entry.mtime_ns, there.mtime_ns) <= _FIRST_OF_32_BITS_NS
    )


class _Cursor:
    """The entries of one listing, in order."""

    def __init__(self, batches: AsyncIterator[Sequence[Entry]]) -> None:
        self._batches = batches
        self.entries: list[Entry] = []  # the next one last
        self.has_ended = False

    async def fill(self) -> bool:
        """Read until there is an entry; return whether there is one."""
        while not self.entries and not self.has_ended:
            batch = await anext(self._batches, None)
            self.has_ended = batch is None
            self.entries = list(reversed(batch or ()))
        return bool(self.entries)
