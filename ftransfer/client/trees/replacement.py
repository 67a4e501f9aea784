"""A replacement for an existing name: made beside it, and moved into place when complete."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ftransfer.client.trees.report import TreeItem
from ftransfer.client.trees.run import TreeRun
from ftransfer.digest import digest_of
from ftransfer.names import SafeName, encode_name, parse_name
from ftransfer.storage.base import Entry
from ftransfer.transfer.selection import everything
from ftransfer.transfer.spool import Spool


class StagedRun(TreeRun):
    """The run of one folder or file that is made beside its place; reported once in place."""

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

    def report_done(self) -> None:
        """Report what is in place now."""
        for batch in self._done_items.batches(256):
            self._parent.items(
                [TreeItem(entry.name, entry.kind, entry.size, entry.identity) for entry in batch]
            )

    def close(self) -> None:
        self._done_items.close()


@contextlib.contextmanager
def staged_run(parent: TreeRun, name: str) -> Iterator[StagedRun]:
    """Yield the run of a replacement that is made beside its place."""
    run = StagedRun(parent, name)
    try:
        yield run
    finally:
        run.close()


def name_beside(name: str) -> SafeName:
    """Return the temporary name for a replacement of `name`: the same each time."""
    safe = parse_name(name)
    return SafeName((*safe.parent.parts, f".{digest_of(encode_name(name))[:16]}.replacement"))
