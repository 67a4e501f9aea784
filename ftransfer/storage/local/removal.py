"""Removing things below an open root, even full folders: in steps, through no link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from itertools import islice

from ftransfer.errors import (
    FolderNotEmpty,
    NameRefused,
    StoreFailed,
)
from ftransfer.names import SafeName
from ftransfer.storage.local.descent import Descent
from ftransfer.storage.local.root import Root, refuse_special
from ftransfer.storage.local.syscalls import release
from ftransfer.storage.local.threads import Work
from ftransfer.storage.oserrors import LEAVES_HIDDEN, Override, translated


def remove(root: Root, name: SafeName, *, recursive: bool) -> Work[int]:
    """Remove a thing; return the number of things removed."""
    if name.is_root:
        raise NameRefused("/: the root of the share cannot be removed")
    with translated(name, _REMOVAL):
        parent = root.open_folder(name.parent)
        try:
            found = os.stat(name.last, dir_fd=parent, follow_symlinks=False)
            root.resolver.refuse_hidden(found)
            count = 0
            if stat.S_ISDIR(found.st_mode):
                if recursive:
                    count, keeps = yield from _empty(root, parent, name)
                    if keeps:
                        raise FolderNotEmpty.about(name, LEAVES_HIDDEN)
                os.rmdir(name.last, dir_fd=parent)
            else:
                if not stat.S_ISLNK(found.st_mode):
                    refuse_special(found, name)
                os.unlink(name.last, dir_fd=parent)
            root.sync_folder(parent)
        finally:
            release(parent)
    return count + 1


# Errors of the system for a folder with a mount on it or below.
_REMOVAL: Override = {
    errno.EXDEV: (StoreFailed, "another file system is mounted there or below; unmount it first"),
    errno.EBUSY: (StoreFailed, "is in use by the system, perhaps as a mount point"),
    errno.ESTALE: (StoreFailed, "was moved while it was being removed; look what is left of it"),
}
_CHUNK = 1024  # names
# How often something new may appear in folders that are being removed.
_MOST_RETURNS = 1000


class _Emptying:
    """A folder that is being emptied."""

    def __init__(self, last: str, whole: str) -> None:
        self.last = last
        self.whole = whole  # its name from the root of the share
        self.keeps = False  # something in it, or below, is hidden and stays
        self.kept: set[str] = set()  # its subfolders for which this is true
        self.folders: list[str] = []
        self.is_read = False  # to its end


def _empty(root: Root, parent: int, name: SafeName) -> Work[tuple[int, bool]]:
    """Remove everything in a folder but what is hidden, through no link and on no other mount.

    Return the number of things removed, and whether hidden ones stay.

    Each folder on the path holds one chunk of names at a time; the number of handles is bounded.
    """
    count = returns = 0
    descent = Descent(os.dup(parent), root.kernel, stays_on_mount=True)
    try:
        descent.enter(name.last)
        levels = [_Emptying(name.last, str(name))]
        while True:
            level = levels[-1]
            if level.folders:
                try:
                    descent.enter(level.folders[-1])
                except FileNotFoundError:
                    level.folders.pop()
                else:
                    last = level.folders.pop()
                    levels.append(_Emptying(last, f"{level.whole}/{last}"))
            elif not level.is_read:
                count += yield from _remove_files(root, descent.handle, level)
            elif len(levels) == 1:
                return count, level.keeps
            elif level.keeps:
                levels.pop()
                levels[-1].keeps = True
                levels[-1].kept.add(level.last)
                descent.leave()
            else:
                levels.pop()
                descent.leave()
                try:
                    count += _remove_if_there(os.rmdir, level.last, descent.handle)
                except OSError as error:
                    returns += 1
                    if (
                        error.errno not in (errno.ENOTEMPTY, errno.EEXIST)
                        or returns > _MOST_RETURNS
                    ):
                        raise
                    levels[-1].folders.append(level.last)  # something new is in it
            yield
    finally:
        descent.close()


def _remove_files(root: Root, folder: int, level: _Emptying) -> Work[int]:
    """Remove the files of the next chunk of a folder, note its subfolders; return the number."""
    with os.scandir(folder) as found:
        # Hidden things stay, and are found each time the folder is read: no chunk counts them.
        seen = (item for item in found if not _keeps(root, level, item.name))
        items = [(item.name, item.is_dir(follow_symlinks=False)) for item in islice(seen, _CHUNK)]
    level.is_read = len(items) < _CHUNK
    count = 0
    for name, is_folder in items:
        if is_folder:
            level.folders.append(name)
        else:
            count += _remove_if_there(os.unlink, name, folder)
            yield
    return count


def _keeps(root: Root, level: _Emptying, last: str) -> bool:
    if root.hides is None:
        return False
    is_kept = last in level.kept or root.hides(f"{level.whole}/{last}")
    level.keeps = level.keeps or is_kept
    return is_kept


def _remove_if_there(remove_it: Callable[..., None], name: str, folder: int) -> int:
    """Remove one thing; return 1, or 0 if another process has removed it."""
    try:
        remove_it(name, dir_fd=folder)
    except FileNotFoundError:
        return 0
    return 1
