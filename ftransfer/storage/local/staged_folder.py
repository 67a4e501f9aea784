"""A new folder that is filled under a temporary name: one rename publishes all its files.

A folder inherits from the folder in which it is made. So this is used only where nothing is
inherited: neither a group nor an access list.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from ftransfer.storage.local.syscalls import FOLDER_FLAGS, release

_DEFAULT_ACL = "system.posix_acl_default"


class NewFolder:
    """A folder under a temporary name, whose files have their final names. Close it."""

    def __init__(self, temp: int, temporary: str) -> None:
        """Make it in the store's temporary folder. Raises OSError."""
        self.temporary = temporary
        self.is_published = False
        self.is_whole = True  # False: a file in it failed, and may still be there in part
        self._temp = temp
        os.mkdir(temporary, 0o777, dir_fd=temp)
        try:
            self.handle = os.open(temporary, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=temp)
        except BaseException:
            os.rmdir(temporary, dir_fd=temp)
            raise

    def close(self) -> None:
        """Release the handle; remove the folder if it was not published and is empty."""
        release(self.handle)
        if not self.is_published:
            with suppress(OSError):  # what stays is removed with the store's temporary folder
                os.rmdir(self.temporary, dir_fd=self._temp)


def can_stand_in(temp: int, folder: int, about: os.stat_result) -> bool:
    """Return whether a folder made in `temp` is like one made in `folder` (stat: `about`)."""
    own = os.fstat(temp)
    is_alike = (own.st_gid, own.st_dev) == (about.st_gid, about.st_dev) and not (
        own.st_mode | about.st_mode
    ) & stat.S_ISGID
    return is_alike and not _passes_on_access(temp) and not _passes_on_access(folder)


def _passes_on_access(folder: int) -> bool:
    if not hasattr(os, "getxattr"):
        return True  # another system, with other access lists
    try:
        os.getxattr(folder, _DEFAULT_ACL)
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.EOPNOTSUPP)
    return True
