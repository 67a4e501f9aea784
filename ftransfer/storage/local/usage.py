"""Usage below a folder, counted through no link and with a bounded number of handles."""

from __future__ import annotations

import errno
import os

from ftransfer.names import RESERVED_PREFIX, SafeName
from ftransfer.storage.base import (
    THING_BYTES,
    Usage,
)
from ftransfer.storage.local.descent import Descent
from ftransfer.storage.local.partial_records import RECORD, RECORDS
from ftransfer.storage.local.root import Root
from ftransfer.storage.local.syscalls import FOLDER_FLAGS
from ftransfer.storage.local.threads import Work

_NOT_COUNTED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM})


def usage(root: Root, folder: SafeName) -> Work[Usage]:
    """Return the usage below a folder, without following links.

    The root includes partials, but not the staging area's folders and records.
    """
    try:
        descent = Descent(
            root.resolver.open_below(root.handle, folder.parts, FOLDER_FLAGS), root.kernel
        )
    except OSError as error:
        if error.errno not in _NOT_COUNTED:
            raise
        return Usage()
    way = list(folder.parts)
    left: list[list[str]] = []  # for each folder on the path, its subfolders still to be counted
    try:
        total = yield from _count(descent.handle, way, left)
        while left:
            if not left[-1]:
                left.pop()
                if left:
                    descent.leave()
                    way.pop()
                continue
            last = left[-1].pop()
            try:
                descent.enter(last)
            except OSError as error:
                if error.errno not in _NOT_COUNTED:
                    raise
                continue
            way.append(last)
            total += yield from _count(descent.handle, way, left)
        return total
    finally:
        descent.close()


def _count(handle: int, way: list[str], left: list[list[str]]) -> Work[Usage]:
    """Count the content of one folder, and note its subfolders."""
    size = things = 0
    folders: list[str] = []
    left.append(folders)
    is_hidden, has_records = way[:1] == [RESERVED_PREFIX], tuple(way) == RECORDS
    with os.scandir(handle) as found:
        for item in found:
            if item.is_dir(follow_symlinks=False):
                folders.append(item.name)
                is_free = is_hidden or (not way and item.name == RESERVED_PREFIX)
                cost = 0
            else:
                is_free = has_records and item.name.endswith(RECORD)
                cost = _size_of(item) if item.is_file(follow_symlinks=False) else 0
            if not is_free:
                size += cost or THING_BYTES
                things += 1
            yield
    return Usage(size, things)


def _size_of(item: os.DirEntry[str]) -> int:
    try:
        return item.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
