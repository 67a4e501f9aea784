"""The shell's `get -r` and `put -r`: whole folders, of which only changes are transferred."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ftransfer.names import SafeName
from ftransfer.shell.context import ShellContext
from ftransfer.shell.errors import SomeFailed
from ftransfer.shell.formatting import explain, tree_line

if TYPE_CHECKING:
    from ftransfer.client.trees.report import TreeItem, TreeReport
    from ftransfer.errors import FtransferError


async def get_folder(shell: ShellContext, name: SafeName, dest: str) -> None:
    """Download a folder to where `cp -r` would put it."""
    from ftransfer.client.trees.destination import destination_of

    folder = await destination_of(str(name), dest)
    reporter = _TreeReporter(shell)
    async with shell.connection.use() as client:
        with shell.transfer("get -r") as bar:
            report = await client.get_tree(
                str(name), folder, on_item=reporter, progress=bar.callback
            )
    reporter.finish(report, "get")


async def put_folder(shell: ShellContext, folder: Path, name: SafeName) -> None:
    """Upload a folder as `name`."""
    reporter = _TreeReporter(shell)
    async with shell.connection.use() as client:
        with shell.transfer("put -r") as bar:
            report = await client.put_tree(
                folder, str(name), on_item=reporter, progress=bar.callback
            )
    reporter.finish(report, "put")


class _TreeReporter:
    """Reports each failed name at once, and the totals at the end."""

    def __init__(self, shell: ShellContext) -> None:
        self._shell = shell
        self._error: FtransferError | None = None

    def __call__(self, item: TreeItem) -> None:
        if item.error is not None:
            self._error = item.error
            self._shell.console.line(explain(item.error))

    def finish(self, report: TreeReport, verb: str) -> None:
        self._shell.console.line(tree_line(report, verb))
        # A name may fail in one attempt and succeed in the next: only the report has the result.
        if not report.is_complete and self._error is not None:
            raise SomeFailed(report.failed, self._error, left_out=report.left_out + report.kept)
