"""Trees from and to a server: compare, then do only what differs. What is common to both directions.

First the two listings are compared as they stream in, and what is to be done is noted in spools; so the totals are known before
the first byte moves. Then small files go packed in one command, larger ones by themselves with resume, and folders get their
mtimes last.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ftransfer.digest import Digest
from ftransfer.errors import Forbidden, FtransferError
from ftransfer.names import SafeName, escape, parse_name
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry, SmallFile
from ftransfer.transfer.packs import MAX_PACKED_BYTES
from ftransfer.transfer.records import Progress, ProgressCallback
from ftransfer.transfer.selection import Wanted, everything
from ftransfer.transfer.spool import Spool
from ftransfer.transfer.tree import Action, Doing, Rules


class TreeOptions(NamedTuple):
    """How a tree is copied.

    `delete` removes what the source does not have; `dry_run` only says what would be done; `checksum` compares files of the same
    size by digest and not by mtime; `links` copies links as links; `wanted` says which names take part (transfer.selection).
    """

    delete: bool = False
    dry_run: bool = False
    checksum: bool = False
    links: bool = False
    wanted: Wanted = everything

    @property
    def rules(self) -> Rules:
        return Rules(delete=self.delete, checksum=self.checksum, links=self.links, wanted=self.wanted)


class TreeItem(NamedTuple):
    """What became of one name: `did` is "copied", "linked", "made", "removed" or "failed" (then `error` says why).

    `name` is relative to the root of the tree, `size` in bytes, `digest` that of a file that was copied.
    """

    name: str
    did: str
    size: int = 0
    digest: Digest = ""
    error: FtransferError | None = None


class TreeReport(NamedTuple):
    """What became of a tree: counts of names, bytes of content that were moved (in a dry run: would be), and seconds."""

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


OnItem = Callable[[TreeItem], None]
_DID = {FILE: "copied", FOLDER: "made", LINK: "linked"}


def items_of(files: Sequence[SmallFile]) -> list[TreeItem]:
    """Give what is said of small things that were moved."""
    names, kinds, _, _, contents, digests, _, _ = zip(*files, strict=True)
    return list(map(TreeItem, names, map(_DID.__getitem__, kinds), map(len, contents), digests))


class TreeRun:
    """The account of one tree, over all attempts that it takes."""

    def __init__(self, options: TreeOptions, on_item: OnItem | None, progress: ProgressCallback | None) -> None:
        self.options = options
        self.report = TreeReport(dry_run=options.dry_run)
        self._on_item = on_item
        self._progress = progress
        self._plan: Plan | None = None
        self.is_finding = asyncio.Event()  # things move, and it is not known yet how much there is
        self._is_found = False  # whether all that there is stands in the plan, or has been done
        self._total = self._files = 0  # bytes and files, as far as they are known
        self._counted: tuple[int, int] | None = None  # the files and bytes of all, if they were counted apart
        self._done = 0
        self._told = 0
        self._under_way = ("", 0)  # the file that is moving, and how far it was at most
        self._moved: Callable[[], None] = lambda: None

    def attempt(self, moved: Callable[[], None]) -> None:
        """Begin an attempt. `moved` is called whenever there is progress: new bytes, or a name that is done.

        What failed in the attempt before is tried again in this one, and counts as it ends here.
        """
        self._moved = moved
        self.report = self.report._replace(failed=0)

    def begin(self, plan: Plan) -> None:
        """Take in a plan that has all that is to be done."""
        earlier = self.report.copied + self.report.folders + self.report.links
        # What an earlier attempt has copied is unchanged by now; it is not counted twice.
        self.report = self.report._replace(unchanged=max(0, plan.unchanged - earlier))
        self.found(plan)

    def find(self, plan: Plan) -> None:
        """Begin without knowing what there is: what is not done at once comes into the plan as it is found."""
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
        self._total, self._files = self._done + plan.size_bytes, self.report.copied + plan.file_count

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
            bytes=report.bytes + size_bytes,
        )
        self._done += size_bytes
        if self._on_item is not None:
            for item in items:
                self._on_item(item)
        if did["failed"] < len(items):
            self._moved()
        self._tell(items[-1].name, 0)

    def stored(self, files: Sequence[SmallFile], errors: Sequence[FtransferError | None]) -> None:
        """Say what became of small things that were stored together."""
        items = items_of(files)
        if any(errors):
            told = zip(items, errors, strict=True)
            items = [item if error is None else TreeItem(item.name, "failed", error=error) for item, error in told]
        self.items(items)

    def removed(self, entry: Entry, count: int) -> None:
        """Say that a thing is gone, and with it `count` things in all."""
        self.report = self.report._replace(removed=self.report.removed + count - 1)
        self.item(TreeItem(entry.name, "removed", entry.size))

    @property
    def removes_whole_folders(self) -> bool:
        """Whether a folder to be removed goes with all that is in it: no name in it can be one that takes no part."""
        return self.options.wanted is everything

    def failed(self, name: str, error: FtransferError) -> None:
        self.item(TreeItem(name, "failed", error=error))

    def within(self, name: str, count: int) -> None:
        """Say that `count` bytes of a file that is under way are in place; the first time, those of an earlier attempt."""
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
        self._progress(Progress(name, self._told, self._total, files=files, all_files=self._files, is_estimate=not is_known))


class Plan:
    """What is to be done, by kind, each in the order of the walk. Files up to `packed_bytes` travel packed."""

    def __init__(self, packed_bytes: int = MAX_PACKED_BYTES) -> None:
        self.packed_bytes = packed_bytes
        self._open()

    def clear(self) -> None:
        """Begin anew, with nothing to be done."""
        self.close()
        self._open()

    def _open(self) -> None:
        self.replaced = Spool()
        self.small = Spool()
        self.large = Spool()
        self.compared = Spool()
        self.links = Spool()
        self.folders = Spool()
        self.removed = Spool()
        self.unread = Spool()
        self.unchanged = 0

    @property
    def size_bytes(self) -> int:
        return self.small.size_bytes + self.large.size_bytes

    @property
    def file_count(self) -> int:
        return self.small.count + self.large.count

    def add_copy(self, entry: Entry) -> None:
        (self.small if entry.size <= self.packed_bytes else self.large).add(entry)

    def add(self, action: Action) -> None:
        match action.doing:
            case Doing.COPY:
                self.add_copy(action.entry)
            case Doing.COMPARE:
                self.compared.add(action.entry)
            case Doing.LINK:
                self.links.add(action.entry)
            case Doing.FOLDER:
                self.folders.add(action.entry)
            case Doing.REMOVE | Doing.REMOVE_TREE:
                self.removed.add(action.entry)
            case Doing.REPLACE:
                self.replaced.add(action.entry)
            case Doing.UNREAD:
                self.unread.add(action.entry)

    def add_all(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self.add(action)

    def close(self) -> None:
        for spool in (self.replaced, self.small, self.large, self.compared, self.links, self.folders, self.removed, self.unread):
            spool.close()

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def tell_unread(plan: Plan, run: TreeRun) -> None:
    """Report the folders of the source that could not be listed: what is in them was neither copied nor removed."""
    for entry in plan.unread:
        run.failed(
            entry.name, Forbidden(f"{escape(entry.name)}: the folder cannot be read; its owner should look at it", name=entry.name)
        )


def tell_plan(plan: Plan, run: TreeRun) -> None:
    """Report what would be done."""
    for spool, did in (
        (plan.small, "copied"),
        (plan.large, "copied"),
        (plan.compared, "copied"),
        (plan.links, "linked"),
        (plan.folders, "made"),
        (plan.removed, "removed"),
    ):
        for entry in spool:
            run.item(TreeItem(entry.name, did, entry.size))


def relative_entry(entry: Entry, root: SafeName) -> Entry:
    """Give an entry with its name relative to `root`, which it is below."""
    if root.is_root:
        return entry
    name = entry.name[len(str(root)) + 1 :]
    return entry._replace(name=name)


def below(root: SafeName, name: str) -> SafeName:
    """Give the whole name of something that is relative to `root`."""
    return SafeName(root.parts + parse_name(name).parts)
