"""The local folder that receives a tree: made if it is missing, finished at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Sequence

from ftransfer.errors import FtransferError, NotAFolder
from ftransfer.storage.base import Entry
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.own_files import set_own_folder
from ftransfer.system.threads import io_pool, run_job


class LocalFolder:
    """An open destination.

    `was_missing` tells whether it was made, or would be in a dry run. Set `source` to the entry of
    the source's root, and `is_done` when everything else is done.
    """

    def __init__(self, path: str, *, is_copy: bool) -> None:
        self.store: LocalStore
        self.was_missing = False
        self.source: Entry | None = None
        self.is_done = False
        self._path = path
        self._is_copy = is_copy
        self._missing: list[str] = []  # the missing folders, the innermost first
        self._usual_mode: int | None = None  # that of a new folder

    def prepare(self, *, dry_run: bool) -> str:
        """Make the folder if it is missing; return the folder to open. Blocking. Raises OSError.

        A dry run makes nothing: if the folder is missing, the nearest existing parent is opened
        instead, and not read.
        """
        path = self._path
        while path and not os.path.exists(path):
            self._missing.append(path)
            path = os.path.dirname(path)
        self.was_missing = bool(self._missing)
        if dry_run:
            return path or "."
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        if self._missing:
            os.mkdir(self._path)
            if self._is_copy:
                # Private until it gets the mode of the source. It is empty so far.
                self._usual_mode = os.stat(self._path).st_mode
                os.chmod(self._path, 0o700)
        elif not os.path.isdir(self._path):
            raise FileExistsError
        return self._path

    def finish(self) -> None:
        """Set mode and time of a new folder. Blocking. If refused, they stay unchanged."""
        with contextlib.suppress(OSError):
            if self.source is not None:
                set_own_folder(self._path, mtime_ns=self.source.mtime_ns, mode=self.source.mode)
            elif self._usual_mode is not None:
                os.chmod(self._path, self._usual_mode & 0o7777)

    def undo(self) -> None:
        """Remove the new folders, up to the first that is not empty. Blocking."""
        _remove_empty(self._missing)


@contextlib.asynccontextmanager
async def opened_folder(
    path: str, *, durable: bool, dry_run: bool, is_copy: bool = False
) -> AsyncIterator[LocalFolder]:
    """Open the folder that receives a tree; make it if it is missing.

    If the block fails and nothing has arrived, the new folders are removed, so that the same
    command finds the same state next time.

    Args:
        is_copy: Whether a new folder gets mode and time of the source.
    """
    folder = LocalFolder(path, is_copy=is_copy)
    try:
        opened = await run_job(io_pool(), lambda: folder.prepare(dry_run=dry_run))
    except FileExistsError as error:
        raise NotAFolder.about(path, "is not a folder") from error
    except OSError as error:
        raise FtransferError.about(path, f"cannot be made: {error.strerror}") from error
    folder.store = await LocalStore.open(opened, durable=durable)
    try:
        try:
            yield folder
        finally:
            await folder.store.close()
        if folder.is_done and not dry_run:
            await run_job(io_pool(), folder.finish)
    except BaseException:
        if not dry_run:
            await run_job(io_pool(), folder.undo)
        raise


def _remove_empty(folders: Sequence[str]) -> None:
    with contextlib.suppress(OSError):
        for folder in folders:
            os.rmdir(folder)
