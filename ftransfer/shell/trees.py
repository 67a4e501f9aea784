"""The shell's `get -r` and `put -r`: whole folders, of which only what differs is moved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ftransfer.names import SafeName
from ftransfer.shell.context import ShellContext
from ftransfer.shell.errors import SomeFailed
from ftransfer.shell.formatting import explain, tree_line

if TYPE_CHECKING:
    from ftransfer.client.trees.run import TreeItem, TreeReport
    from ftransfer.errors import FtransferError


async def get_folder(shell: ShellContext, name: SafeName, dest: str) -> None:
    """Receive a folder, to where cp would put it."""
    from ftransfer.client.trees.destination import destination_of

    folder = await destination_of(str(name), dest)
    told = _Told(shell)
    async with shell.line.use() as client:
        with shell.transfer("get -r") as bar:
            report = await client.get_tree(str(name), folder, on_item=told, progress=bar.callback)
    told.finish(report, "get")


async def put_folder(shell: ShellContext, folder: Path, name: SafeName) -> None:
    """Send a folder, to be called `name` in the share."""
    told = _Told(shell)
    async with shell.line.use() as client:
        with shell.transfer("put -r") as bar:
            report = await client.put_tree(folder, str(name), on_item=told, progress=bar.callback)
    told.finish(report, "put")


class _Told:
    """Tells the names that failed as they do, and the counts at the end."""

    def __init__(self, shell: ShellContext) -> None:
        self._shell = shell
        self._error: FtransferError | None = None

    def __call__(self, item: TreeItem) -> None:
        if item.error is not None:
            self._error = item.error
            self._shell.console.line(explain(item.error))

    def finish(self, report: TreeReport, verb: str) -> None:
        self._shell.console.line(tree_line(report, verb))
        # A name may have failed in one attempt and not in the next: only the report knows what has
        # come of all of them.
        if not report.is_complete and self._error is not None:
            raise SomeFailed(report.failed, self._error, left_out=report.left_out + report.kept)
