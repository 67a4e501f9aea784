"""The watched folder as the operating system shows it: where it is, and what lies in it now."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from ftransfer.limits import clamp_time
from ftransfer.storage.base import FILE, FOLDER, LINK
from ftransfer.watch.snapshot import Stamp

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class WatchedFolder:
    """A folder that was at `path` when `remember` was called. Works in any thread."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.realpath(path)
        self._identity: tuple[int, int] | None = None

    def remember(self) -> None:
        """Take what is now at the path as the folder."""
        self._identity = self._current_identity()

    def is_in_place(self) -> bool:
        """Return whether the path still leads to the folder.

        What a store has open is that folder in any case.
        """
        return self._current_identity() == self._identity

    def stamps(self, names: Iterable[str]) -> dict[str, Stamp | None]:
        """Return the current stamp of each name below the folder; None if it does not exist.

        Links are not followed.
        """
        return {name: self._stamp(name) for name in names}

    def _stamp(self, name: str) -> Stamp | None:
        try:
            about = _lstat(self.path, name)
        except (OSError, ValueError):
            return None
        mode, mtime_ns = about.st_mode, clamp_time(about.st_mtime_ns)
        if stat.S_ISREG(mode):
            return Stamp(FILE, about.st_size, mtime_ns)
        if stat.S_ISDIR(mode):
            return Stamp(FOLDER, 0, mtime_ns)
        return Stamp(LINK, 0, mtime_ns) if stat.S_ISLNK(mode) else None

    def _current_identity(self) -> tuple[int, int] | None:
        try:
            about = os.stat(self.path)
        except OSError:
            return None
        return about.st_dev, about.st_ino


def _lstat(folder: str, name: str) -> os.stat_result:
    """Return the status of a name below a folder, even if the whole path is too long for one call.

    Raises:
        OSError: Nothing can be found there.
    """
    try:
        return os.lstat(os.path.join(folder, name))
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    *above, last = name.split("/")
    handle = os.open(folder, _OPEN_FOLDER)
    try:
        for part in above:
            below = os.open(part, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        return os.lstat(last, dir_fd=handle)
    finally:
        os.close(handle)
