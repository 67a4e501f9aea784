"""Commands that copy whole trees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ftransfer.client.base import ClientBase
from ftransfer.client.paths import RemoteName
from ftransfer.transfer.records import ProgressCallback

if TYPE_CHECKING:
    # Loaded when first used: a get of one file needs no trees.
    from ftransfer.client.trees.options import TreeOptions
    from ftransfer.client.trees.report import OnItem, TreeReport


class TreeCommands(ClientBase):
    """The commands of a Client that copy trees."""

    async def get_tree(
        self,
        path: RemoteName = "/",
        dest: str | os.PathLike[str] = ".",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Make the local folder `dest` like the folder `path` of the share ("/" is all of it).

        Only what differs is transferred.

        Args:
            on_item: Called with the outcome for each name.

        Raises:
            NotFound, NotAFolder: There is no such folder.
            NameRefused: `dest` is empty, or `path` is empty and names may be removed.
            FtransferError: What ended the whole copy; failures of single names are in the report
                instead.
        """
        from ftransfer.client.trees.transfers import TreeDownload

        return await TreeDownload(self, options, on_item, progress).get_tree(path, dest)

    async def get_matching(
        self,
        pattern: str,
        dest: str | os.PathLike[str] = ".",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Receive all files that match a pattern into the folder `dest`.

        `*`, `?` and `[…]` match within a name, `**` any folders.

        Raises:
            NotFound: No file matches. FtransferError: As get_tree.
        """
        from ftransfer.client.trees.transfers import TreeDownload

        return await TreeDownload(self, options, on_item, progress).get_matching(pattern, dest)

    async def put_tree(
        self,
        folder: str | os.PathLike[str],
        path: RemoteName = "/",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Make the folder `path` of the share like a local one; transfer only what differs.

        Raises as get_tree.
        """
        from ftransfer.client.trees.transfers import TreeUpload

        return await TreeUpload(self, options, on_item, progress).put_tree(folder, path)
