"""Who holds the data file of a partial: a writer by its lock (flock), or nobody."""

from __future__ import annotations

import errno
import os
from io import FileIO

from ftransfer.storage.local.partial_records import (
    DATA,
    FILE_MODE,
    unlink,
    unlink_record,
)
from ftransfer.storage.local.staging import try_lock
from ftransfer.storage.local.syscalls import release, release_file

_ATTEMPTS = 100


def open_data(folder: int, key: str, flags: int = 0) -> int:
    flags |= os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(key + DATA, flags, FILE_MODE, dir_fd=folder)
    except PermissionError:
        # A commit that was killed after setting the mode and before the rename left the announced
        # mode.
        os.chmod(key + DATA, FILE_MODE, dir_fd=folder)
        return os.open(key + DATA, flags, FILE_MODE, dir_fd=folder)


def open_locked(folder: int, key: str) -> FileIO | None:
    for _ in range(_ATTEMPTS):
        file = FileIO(open_data(folder, key, os.O_CREAT), "r+b")
        try:
            if not try_lock(file.fileno()):
                release_file(file)
                return None
            links = os.fstat(file.fileno()).st_nlink
            if links == 1:
                return file
            if links > 1:
                # Published by a hard link, and killed before this name was removed: the file now
                # belongs to the share and must not be written.
                unlink(key + DATA, folder)
        except BaseException:
            release_file(file)
            raise
        release_file(file)  # removed between our opening and locking it
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def is_live(folder: int, key: str) -> bool:
    handle = open_dead(folder, key)
    if handle is None:
        return True
    release(handle)
    return False


def open_dead(folder: int, key: str) -> int | None:
    """Open and lock a data file that no writer holds; return None if one does, or it is gone."""
    try:
        handle = open_data(folder, key)
    except FileNotFoundError:
        return None
    try:
        if try_lock(handle) and os.fstat(handle).st_nlink:
            return handle
    except BaseException:
        release(handle)
        raise
    release(handle)
    return None


def remove_dead(folder: int, key: str) -> bool:
    handle = open_dead(folder, key)
    if handle is None:
        return False
    try:
        unlink(key + DATA, folder)
        unlink_record(key, folder)
    finally:
        release(handle)
    return True
