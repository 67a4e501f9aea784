"""What a plan would do, and what it leaves alone: reported without doing it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence

from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.plan import Plan
from ftransfer.client.trees.report import DID, TreeItem, left_out_item
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import AlreadyThere, FolderNotEmpty, Forbidden
from ftransfer.names import escape, parse_name
from ftransfer.storage.base import FOLDER, OTHER, Entry
from ftransfer.transfer.selection import everything


def report_untouched(plan: Plan, run: TreeRun) -> None:
    """Report what is neither copied nor removed, and why. A dry run reports the same."""
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
        run.failed(entry.name, AlreadyThere.about(entry.name, f"{entry.why}"))
    for entry in plan.kept:
        what = (
            "cannot be read"
            if entry.why == entry.name
            else f"holds what must stay: {escape(entry.why)}"
        )
        message = f"is not removed: the folder {what}"
        run.item(TreeItem(entry.name, "kept", error=FolderNotEmpty.about(entry.name, message)))


def is_whole(entry: Entry, run: TreeRun) -> bool:
    """Return whether a folder is removed with all its content: every name takes part."""
    return entry.kind == FOLDER and run.options.wanted is everything


ListSource = Callable[..., AsyncGenerator[Sequence[Entry], None]]


async def report_plan(plan: Plan, run: TreeRun, source: ListSource, options: TreeOptions) -> None:
    """Report what would be done.

    Args:
        source: Lists a folder of the source, as Store.scan.
    """
    for entry, count in plan.staged_with_counts():
        if count:
            run.removed(entry, count)
        await _report_staged(entry, run, source, options)
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


async def _report_staged(
    entry: Entry, run: TreeRun, source: ListSource, options: TreeOptions
) -> None:
    """Report what would be made in place of something of another kind."""
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
                        run.item(TreeItem(below_it.name, DID[below_it.kind], below_it.size))
    run.item(TreeItem(entry.name, DID[entry.kind], entry.size))
