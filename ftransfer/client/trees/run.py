"""Trees from and to a server: compare, then do only what differs. What is common to both
directions.

First the two listings are compared as they stream in, and what is to be done is noted in spools; so
the totals are known before the first byte moves. Then small files go packed in one command, larger
ones by themselves with resume, and folders get their mtimes last.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from ftransfer.digest import Digest, digest_of
from ftransfer.errors import (
    AlreadyThere,
    FolderNotEmpty,
    Forbidden,
    FtransferError,
    LeftOut,
    RemoteProtocolError,
)
from ftransfer.names import SafeName, encode_name, escape, parse_name
from ftransfer.storage.base import (
    DEAD_LINK,
    FILE,
    FOLDER,
    FOLDER_LINK,
    LINK,
    OTHER,
    RESERVED,
    SPECIAL,
    TOO_LONG,
    UNREADABLE,
    Entry,
    SmallFile,
)
from ftransfer.transfer.hiding import HiddenNames
from ftransfer.transfer.packs import MAX_PACKED_BYTES
from ftransfer.transfer.records import Progress, ProgressCallback
from ftransfer.transfer.selection import Wanted, everything, hidden_names
from ftransfer.transfer.spool import Mark, Spool
from ftransfer.transfer.treediff import Action, ActionKind, Rules

_MOST_PATTERNS = 1000


class _Spared:
    """The names of a selection that a server does not hide: what it hides may be there, though it
    is not told.
    """

    def __init__(self, inner: Wanted, hidden: HiddenNames, remote: SafeName) -> None:
        self.inner = inner
        self.hidden = hidden
        self.remote = remote

    def __call__(self, name: str, is_folder: bool) -> bool:
        whole = SafeName((*self.remote.parts, *name.split("/")))
        return self.inner(name, is_folder) and not self.hidden.covers(whole)


class TreeOptions(NamedTuple):
    """How a tree is copied.

    `delete` removes what the source does not have; `dry_run` only says what would be done;
    `checksum` compares files of the same size by digest and not by mtime; `links` copies links as
    links; `wanted` says which names take part (transfer.selection).
    """

    delete: bool = False
    dry_run: bool = False
    checksum: bool = False
    links: bool = False
    wanted: Wanted = everything

    @property
    def selects(self) -> bool:
        """Whether there may be names of the source that take no part."""
        return self.wanted is not everything and not (
            isinstance(self.wanted, _Spared) and self.wanted.inner is everything
        )

    def sparing(self, patterns: Sequence[str], remote: SafeName) -> TreeOptions:
        """Return the options by which nothing here is removed that the server would not tell of.
        Raises RemoteProtocolError.
        """
        if not (self.delete and patterns) or isinstance(self.wanted, _Spared):
            return self
        try:
            hidden = hidden_names(patterns[:_MOST_PATTERNS])
        except ValueError as error:
            raise RemoteProtocolError(
                "the server says a pattern of hidden names that is none"
            ) from error
        if len(patterns) > _MOST_PATTERNS:
            raise RemoteProtocolError(
                f"the server says more than {_MOST_PATTERNS} patterns of hidden names"
            )
        return self._replace(wanted=_Spared(self.wanted, hidden, remote))

    @property
    def rules(self) -> Rules:
        return Rules(
            delete=self.delete, checksum=self.checksum, links=self.links, wanted=self.wanted
        )


class TreeItem(NamedTuple):
    """What became of one name: `did` is "copied", "updated" (its mode or time was set, and nothing
    sent), "linked", "made", "removed"; or, and then `error` says why: "left out" (it cannot be
    moved), "kept" (a folder that should go) or "failed".

    `name` is relative to the root of the tree, `size` in bytes, `digest` that of a file that was
    copied.
    """

    name: str
    did: str
    size: int = 0
    digest: Digest = ""
    error: FtransferError | None = None


class TreeReport(NamedTuple):
    """What became of a tree: counts of names, bytes of content that were moved (in a dry run: would
    be), and seconds.
    """

    copied: int = 0
    folders: int = 0
    links: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    durable: bool = True
    updated: int = 0
    left_out: int = 0
    kept: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether the one tree is like the other now, as far as was asked."""
        return not (self.failed or self.left_out or self.kept)


OnItem = Callable[[TreeItem], None]
_DID = {FILE: "copied", FOLDER: "made", LINK: "linked"}


def items_of(files: Sequence[SmallFile]) -> list[TreeItem]:
    """Give what is said of small things that were moved."""
    names, kinds, _, _, contents, digests, _, _ = zip(*files, strict=True)
    return list(map(TreeItem, names, map(_DID.__getitem__, kinds), map(len, contents), digests))


class TreeRun:
    """The account of one tree, over all attempts that it takes."""

    def __init__(
        self, options: TreeOptions, on_item: OnItem | None, progress: ProgressCallback | None
    ) -> None:
        self.options = options
        self.report = TreeReport(dry_run=options.dry_run)
        self._on_item = on_item
        self._progress = progress
        self._plan: Plan | None = None
        self.is_finding = asyncio.Event()  # things move, and it is not known yet how much there is
        self._is_found = False  # whether all that there is stands in the plan, or has been done
        self._total = self._files = 0  # bytes and files, as far as they are known
        self._counted: tuple[int, int] | None = (
            None  # the files and bytes of all, if they were counted apart
        )
        self._done = 0
        self._told = 0
        self._under_way = ("", 0)  # the file that is moving, and how far it was at most
        self._moved: Callable[[], None] = lambda: None
        self.sets_root = (
            False  # whether the root of the tree gets its mode and time: if the command has made it
        )

    def attempt(self, moved: Callable[[], None]) -> None:
        """Begin an attempt. `moved` is called whenever there is progress: new bytes, or a name that
        is done.

        What failed in the attempt before is tried again in this one, and counts as it ends here.
        """
        self._moved = moved
        self.report = self.report._replace(failed=0, left_out=0, kept=0)

    def begin(self, plan: Plan) -> None:
        """Take in a plan that has all that is to be done."""
        earlier = self.report.copied + self.report.folders + self.report.links + self.report.updated
        # What an earlier attempt has copied is unchanged by now; it is not counted twice.
        self.report = self.report._replace(unchanged=max(0, plan.unchanged - earlier))
        self.found(plan)

    def find(self, plan: Plan) -> None:
        """Begin without knowing what there is: what is not done at once comes into the plan as it
        is found.
        """
        self._plan, self._is_found = plan, False
        self.is_finding.set()

    @property
    def is_watched(self) -> bool:
        """Whether anybody is told how far this is."""
        return self._progress is not None

    def counted(self, files: int, size_bytes: int) -> None:
        """Hear how much there is, of a tree that is found as it moves."""
        self._counted = (files, size_bytes)

    def found(self, plan: Plan) -> None:
        """Say that everything is done or in the plan."""
        self._plan, self._is_found = None, True
        self.is_finding.clear()
        self._total, self._files = (
            self._done + plan.size_bytes,
            self.report.copied + plan.file_count,
        )

    def item(self, item: TreeItem) -> None:
        """Say what became of one name."""
        self.items([item])

    def items(self, items: Sequence[TreeItem]) -> None:
        """Say what became of names that were done together."""
        if not items:
            return
        report = self.report
        did = Counter(item.did for item in items)
        size_bytes = sum(item.size for item in items if item.did == "copied")
        self.report = report._replace(
            copied=report.copied + did["copied"],
            folders=report.folders + did["made"],
            links=report.links + did["linked"],
            removed=report.removed + did["removed"],
            failed=report.failed + did["failed"],
            updated=report.updated + did["updated"],
            left_out=report.left_out + did["left out"],
            kept=report.kept + did["kept"],
            bytes=report.bytes + size_bytes,
        )
        self._done += size_bytes
        if self._on_item is not None:
            for item in items:
                self._on_item(item)
        if any(item.error is None for item in items):
            self._moved()
        self._tell(items[-1].name, 0)

    def stored(self, files: Sequence[SmallFile], errors: Sequence[FtransferError | None]) -> None:
        """Say what became of small things that were stored together."""
        items = items_of(files)
        if any(errors):
            told = zip(items, errors, strict=True)
            items = [
                item if error is None else TreeItem(item.name, "failed", error=error)
                for item, error in told
            ]
        self.items(items)

    def removed(self, entry: Entry, count: int) -> None:
        """Say that a thing is gone, and with it `count` things in all."""
        self.report = self.report._replace(removed=self.report.removed + count - 1)
        self.item(TreeItem(entry.name, "removed", entry.size))

    def failed(self, name: str, error: FtransferError) -> None:
        self.item(TreeItem(name, "failed", error=error))

    def within(self, name: str, count: int) -> None:
        """Say that `count` bytes of a file that is under way are in place; the first time, those of
        an earlier attempt.
        """
        last, furthest = self._under_way
        if name != last:
            self._under_way = (name, count)
        elif count > furthest:
            self._under_way = (name, count)
            self._moved()
        self._tell(name, count)

    def _tell(self, name: str, count: int) -> None:
        if self._progress is None:
            return
        # While one file is under way, others may wait for their answers: it never goes back.
        self._told = max(self._told, self._done + count)
        if self._plan is not None:
            files, size_bytes = self._counted or (0, 0)
            self._total = max(size_bytes, self._told + self._plan.size_bytes)
            self._files = max(files, self.report.copied + self._plan.file_count)
        is_known = self._is_found or self._counted is not None
        files = min(self._files, self.report.copied + (count > 0))
        self._progress(
            Progress(
                name,
                self._told,
                self._total,
                files=files,
                all_files=self._files,
                is_estimate=not is_known,
            )
        )


class _RunBelow(TreeRun):
    """The account of one folder or file that is made beside its place. It is told when it is in its
    place.
    """

    def __init__(self, parent: TreeRun, name: str) -> None:
        wanted = parent.options.wanted
        inside = (
            wanted
            if wanted is everything
            else lambda below, is_folder: wanted(f"{name}/{below}", is_folder)
        )
        super().__init__(parent.options._replace(delete=True, wanted=inside), None, None)
        self.sets_root = True
        self._parent = parent
        self._name = name
        self._done_items = Spool()

    def items(self, items: Sequence[TreeItem]) -> None:
        for item in items:
            name = f"{self._name}/{item.name}" if item.name else self._name
            if item.error is not None:
                self._parent.item(item._replace(name=name))
            elif item.did != "removed":  # what an earlier attempt has left beside it
                self._done_items.add(Entry(name, item.did, item.size, 0, 0, identity=item.digest))
        self.report = self.report._replace(
            failed=self.report.failed + sum(item.did == "failed" for item in items)
        )

    def within(self, name: str, count: int) -> None:
        self._parent.within(f"{self._name}/{name}" if name else self._name, count)

    def tell(self) -> None:
        """Tell what is in its place now."""
        for batch in self._done_items.batches(256):
            self._parent.items(
                [TreeItem(entry.name, entry.kind, entry.size, entry.identity) for entry in batch]
            )

    def close(self) -> None:
        self._done_items.close()


@contextlib.contextmanager
def run_below(parent: TreeRun, name: str) -> Iterator[_RunBelow]:
    """Have an account for what is made beside its place."""
    run = _RunBelow(parent, name)
    try:
        yield run
    finally:
        run.close()


def name_beside(name: str) -> SafeName:
    """Return the name under which something is made that is to take the place of what has `name`:
    the same each time.
    """
    safe = parse_name(name)
    return SafeName((*safe.parent.parts, f".{digest_of(encode_name(name))[:16]}.replacement"))


class Plan:
    """What is to be done, by kind, each in the order of the walk. Files up to `packed_bytes` travel
    packed.
    """

    def __init__(self, packed_bytes: int = MAX_PACKED_BYTES) -> None:
        self.packed_bytes = packed_bytes
        self._open()

    def clear(self) -> None:
        """Begin anew, with nothing to be done."""
        self.close()
        self._open()

    def _open(self) -> None:
        self.small = Spool()
        self.large = Spool()
        self.compared = Spool()
        self.compared_and_set = Spool()
        self.set = Spool()  # files of which only mode and time are to be set
        self.links = Spool()
        self.folders = Spool()
        self.folders_if_copied = Spool()
        self.unlocked = Spool()
        self.staged = Spool()
        self.removed = Spool()  # the size of a folder is how many things go with it
        self.kept = Spool()
        self.refused = Spool()
        self.unreadable = Spool()
        self.left_out = Spool()
        self.unchanged = 0
        self.staged_counts: list[int] = []  # how many things go for each of `staged`, which are few
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
        match action.doing:
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
        """Give the files whose digests decide, each with whether its mode or time differs
        besides.
        """
        return chain(
            ((entry, False) for entry in self.compared),
            ((entry, True) for entry in self.compared_and_set),
        )

    def add_compared(self, entry: Entry, *, is_same: bool, differs_besides: bool) -> None:
        """Note what two digests say."""
        if not is_same:
            self.add_copy(entry)
            self._folders_with_copies.add(entry.name.rpartition("/")[0])
        elif differs_besides:
            self.set.add(entry)
        else:
            self.unchanged += 1

    def settle_compared(self) -> None:
        """Decide about the folders, when all digests are known."""
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


_WHY = {
    DEAD_LINK: "a link that leads nowhere or outside",
    FOLDER_LINK: "a link to a folder, which is not followed; sync --links copies the link itself",
    UNREADABLE: "cannot be read just now",
    SPECIAL: "neither a file nor a folder",
    RESERVED: "names that begin with .ftransfer are reserved",
    TOO_LONG: "its path is longer than a name in a share can be",
}


def left_out_item(name: str, why: str) -> TreeItem:
    """Return what is said of something of the source that cannot be moved."""
    message = f"left out: {_WHY.get(why, 'it cannot be moved')}"
    return TreeItem(name, "left out", error=LeftOut.about(name, message))


def tell_untouched(plan: Plan, run: TreeRun) -> None:
    """Report what is neither copied nor removed, and why: the same in a dry run."""
    for entry in plan.left_out:
        run.item(left_out_item(entry.name, entry.why))
    for entry in plan.unreadable:
        shown = escape(entry.name)
        run.failed(
            entry.name,
            Forbidden(
                f"{shown}: the folder cannot be read; its owner should look at it", name=entry.name
            ),
        )
    for entry in plan.refused:
        run.failed(entry.name, AlreadyThere.about(entry.name, entry.why))
    for entry in plan.kept:
        what = (
            "cannot be read"
            if entry.why == entry.name
            else f"holds what must stay: {escape(entry.why)}"
        )
        message = f"is not removed: the folder {what}"
        run.item(TreeItem(entry.name, "kept", error=FolderNotEmpty.about(entry.name, message)))


def is_whole(entry: Entry, run: TreeRun) -> bool:
    """Whether a folder to be removed goes with all that is in it: no name in it can be one that
    takes no part.
    """
    return entry.kind == FOLDER and run.options.wanted is everything


ListSource = Callable[..., AsyncGenerator[Sequence[Entry], None]]


async def tell_plan(plan: Plan, run: TreeRun, source: ListSource, options: TreeOptions) -> None:
    """Report what would be done.

    Args:
        source: Lists a folder of the source, as Store.scan.
    """
    for entry, count in plan.staged_with_counts():
        if count:
            run.removed(entry, count)
        await _tell_staged(entry, run, source, options)
    for spool, did in (
        (plan.small, "copied"),
        (plan.large, "copied"),
        (plan.links, "linked"),
        (plan.set, "updated"),
    ):
        for entry in spool:
            run.item(TreeItem(entry.name, did, entry.size))
    for entry in plan.removed:
        run.removed(entry, entry.size if entry.kind == FOLDER else 1)
    for entry in plan.folders:
        run.item(TreeItem(entry.name, "made"))


async def _tell_staged(
    entry: Entry, run: TreeRun, source: ListSource, options: TreeOptions
) -> None:
    """Report what would be made in the place of something of another kind."""
    if entry.kind == FOLDER:
        async with contextlib.aclosing(
            source(parse_name(entry.name), recursive=True, links=options.links, others=True)
        ) as batches:
            async for batch in batches:
                for below_it in batch:
                    if not options.wanted(below_it.name, below_it.kind == FOLDER):
                        continue
                    if below_it.kind == OTHER:
                        run.item(left_out_item(below_it.name, below_it.why))
                    else:
                        run.item(TreeItem(below_it.name, _DID[below_it.kind], below_it.size))
    run.item(TreeItem(entry.name, _DID[entry.kind], entry.size))


def relative_entry(entry: Entry, root: SafeName) -> Entry:
    """Give an entry with its name relative to `root`, which it is below."""
    if root.is_root:
        return entry
    name = entry.name[len(str(root)) + 1 :]
    return entry._replace(name=name)


def below(root: SafeName, name: str) -> SafeName:
    """Give the whole name of something that is relative to `root`."""
    return SafeName(root.parts + parse_name(name).parts)
