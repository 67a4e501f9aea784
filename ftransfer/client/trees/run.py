"""The progress and outcome of one copy of a tree, in either direction."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.plan import Plan
from ftransfer.client.trees.report import OnItem, TreeItem, TreeReport, items_of
from ftransfer.errors import FtransferError
from ftransfer.storage.base import Entry, SmallFile
from ftransfer.transfer.records import Progress, ProgressCallback


class TreeRun:
    """The progress and outcome of one copy of a tree, over all its attempts."""

    def __init__(
        self, options: TreeOptions, on_item: OnItem | None, progress: ProgressCallback | None
    ) -> None:
        self.options = options
        self.report = TreeReport(dry_run=options.dry_run)
        self._on_item = on_item
        self._progress = progress
        self._plan: Plan | None = None
        self.is_finding = asyncio.Event()  # set once files move while the totals are unknown
        self._is_found = False  # whether everything is in the plan or done
        self._total = self._files = 0  # bytes and files, as far as known
        self._counted: tuple[int, int] | None = None  # files and bytes, if counted separately
        self._done = 0
        self._reported = 0
        self._under_way = ("", 0)  # the file in transfer, and its highest progress
        self._moved: Callable[[], None] = lambda: None
        # Whether to set mode and time of the tree's root: if this command has made it
        self.sets_root = False

    def attempt(self, moved: Callable[[], None]) -> None:
        """Begin an attempt.

        Failures of the attempt before are tried again, and count as they end here.

        Args:
            moved: Called on any progress: new bytes, or a completed name.
        """
        self._moved = moved
        self.report = self.report._replace(failed=0, left_out=0, kept=0)

    def begin(self, plan: Plan) -> None:
        """Begin with a complete plan."""
        earlier = self.report.copied + self.report.folders + self.report.links + self.report.updated
        # What an earlier attempt has copied is unchanged by now; do not count it twice.
        self.report = self.report._replace(unchanged=max(0, plan.unchanged - earlier))
        self.found(plan)

    def find(self, plan: Plan) -> None:
        """Begin without known totals: the plan is filled as names are found."""
        self._plan, self._is_found = plan, False
        self.is_finding.set()

    @property
    def is_watched(self) -> bool:
        """Return whether anybody receives the progress."""
        return self._progress is not None

    def counted(self, files: int, size_bytes: int) -> None:
        """Set the totals of a tree that is still being listed as it is transferred."""
        self._counted = (files, size_bytes)

    def found(self, plan: Plan) -> None:
        """Record that everything is done or in the plan."""
        self._plan, self._is_found = None, True
        self.is_finding.clear()
        self._total, self._files = (
            self._done + plan.size_bytes,
            self.report.copied + plan.file_count,
        )

    def item(self, item: TreeItem) -> None:
        """Report the outcome for one name."""
        self.items([item])

    def items(self, items: Sequence[TreeItem]) -> None:
        """Report the outcomes for names that were completed together."""
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
        self._show(items[-1].name, 0)

    def stored(self, files: Sequence[SmallFile], errors: Sequence[FtransferError | None]) -> None:
        """Report the outcomes for small items that were stored together."""
        items = items_of(files)
        if any(errors):
            outcomes = zip(items, errors, strict=True)
            items = [
                item if error is None else TreeItem(item.name, "failed", error=error)
                for item, error in outcomes
            ]
        self.items(items)

    def removed(self, entry: Entry, count: int) -> None:
        """Report that something was removed, `count` names in all."""
        self.report = self.report._replace(removed=self.report.removed + count - 1)
        self.item(TreeItem(entry.name, "removed", entry.size))

    def failed(self, name: str, error: FtransferError) -> None:
        """Report that one name failed."""
        self.item(TreeItem(name, "failed", error=error))

    def within(self, name: str, count: int) -> None:
        """Report that `count` bytes of a file are in place; at first those of an earlier try."""
        last, furthest = self._under_way
        if name != last:
            self._under_way = (name, count)
        elif count > furthest:
            self._under_way = (name, count)
            self._moved()
        self._show(name, count)

    def _show(self, name: str, count: int) -> None:
        if self._progress is None:
            return
        # While one file is in transfer, others may wait for their answers: never go back.
        self._reported = max(self._reported, self._done + count)
        if self._plan is not None:
            files, size_bytes = self._counted or (0, 0)
            self._total = max(size_bytes, self._reported + self._plan.size_bytes)
            self._files = max(files, self.report.copied + self._plan.file_count)
        is_known = self._is_found or self._counted is not None
        files = min(self._files, self.report.copied + (count > 0))
        self._progress(
            Progress(
                name,
                self._reported,
                self._total,
                files=files,
                all_files=self._files,
                is_estimate=not is_known,
            )
        )
