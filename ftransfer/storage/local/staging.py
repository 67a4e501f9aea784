"""The staging area: the hidden folder `.ftransfer` in the root of a share, for unpublished content.

It is on the file system of the share, so that publishing is one rename. It is made when first
needed and removed when the last store leaves it empty. Locks (flock) show what is in use; the
kernel drops them with the process, so a kill -9 leaves nothing locked. Every store holds a shared
lock on the area, and an exclusive one on its folder in `temp`.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ftransfer.errors import StoreFailed
from ftransfer.names import RESERVED_PREFIX
from ftransfer.storage.local.folding import folded_spellings
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, release

_log = logging.getLogger(__name__)

TEMP = "temp"
PARTIALS = "partials"
_FLAGS = FOLDER_FLAGS | os.O_NOFOLLOW
_ATTEMPTS = (
    100  # another store may remove the empty area between any two of our calls, but not so often
)


class StagingArea:
    """The handles of one store in the staging area. Methods block; any thread may call them."""

    def __init__(self, root: int, hidden: set[tuple[int, int]]) -> None:
        """Open nothing yet.

        Args:
            hidden: Gets the device and inode of the area if its name has other spellings.
        """
        self._root = root
        self._hidden = hidden
        self._mutex = threading.Lock()
        self._place: int | None = None
        self._partials: int | None = None
        self._temp: int | None = None
        self._temp_name = ""
        self._count = itertools.count()

    def collect(self) -> None:
        """Remove what killed stores left in `temp`. Makes nothing."""
        with self._mutex:
            if self._place is None:
                self._place = self._enter(make=False)
            if self._place is None:
                return
            temp = _open_folder(self._place, TEMP)
            if temp is None:
                return
            try:
                for name in os.listdir(temp):
                    _collect_one(temp, name)
            finally:
                release(temp)

    def temp(self) -> int:
        """Return the handle of this store's temporary folder, made if missing. Do not close it."""
        with self._mutex:
            if self._temp is None:
                self._temp = self._make_temp()
            return self._temp

    def partials(self, *, make: bool) -> int | None:
        """Return the handle of the folder of partials; None if missing and not `make`.

        Do not close it.
        """
        with self._mutex:
            if self._partials is None:
                place = self._open_place(make=make)
                if place is None:
                    return None
                if make:
                    _make_folder(place, PARTIALS)
                self._partials = _open_folder(place, PARTIALS)
            return self._partials

    def new_name(self) -> str:
        """Return a name that is unique in this store's temporary folder."""
        return f"{next(self._count)}"

    def close(self) -> None:
        """Release the handles, and remove the folder if it is empty and no other store uses it."""
        with self._mutex:
            try:
                if self._temp is not None and self._place is not None:
                    self._remove_temp(self._place, self._temp)
            finally:
                for handle in (self._temp, self._partials):
                    if handle is not None:
                        release(handle)
                if self._place is not None:
                    self._leave(self._place)
                    release(self._place)
                self._temp = self._partials = self._place = None

    def _remove_temp(self, place: int, own: int) -> None:
        temp = os.open(TEMP, _FLAGS, dir_fd=place)
        try:
            _empty_and_remove(temp, self._temp_name, own)
        finally:
            release(temp)

    def _open_place(self, *, make: bool) -> int | None:
        if self._place is None:
            self._place = self._enter(make=make)
        return self._place

    def _enter(self, *, make: bool) -> int | None:
        for _ in range(_ATTEMPTS):
            if make:
                _make_folder(self._root, RESERVED_PREFIX)
            place = _open_folder(self._root, RESERVED_PREFIX)
            if place is None:
                if make:
                    continue
                return None
            is_ours = False
            try:
                with _where_lockable():
                    fcntl.flock(place, fcntl.LOCK_SH)
                is_ours = _is_there(self._root, RESERVED_PREFIX, place)
            finally:
                if not is_ours:
                    release(place)
            if is_ours:
                self._hide(place)
                return place
        raise StoreFailed(f"{RESERVED_PREFIX} keeps disappearing; another program is removing it")

    def _hide(self, place: int) -> None:
        if folded_spellings(self._root, RESERVED_PREFIX):
            about = os.fstat(place)
            self._hidden.add((about.st_dev, about.st_ino))

    def _make_temp(self) -> int:
        place = self._open_place(make=True)
        assert place is not None  # make=True
        _make_folder(place, TEMP)
        temp = _open_folder(place, TEMP)
        if temp is None:
            raise StoreFailed(
                f"the hidden folder {RESERVED_PREFIX}/{TEMP} went away; another program must have"
                " removed it"
            )
        try:
            for _ in range(_ATTEMPTS):
                name = f"{os.getpid()}-{os.urandom(8).hex()}"
                os.mkdir(name, 0o700, dir_fd=temp)
                own = _open_folder(temp, name)
                if own is None:
                    continue
                if _take(temp, name, own):
                    self._temp_name = name
                    return own
        finally:
            release(temp)
        raise StoreFailed(
            f"no temporary folder can be made in {RESERVED_PREFIX}; another program must be"
            " removing it"
        )

    def _leave(self, place: int) -> None:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another store uses it, and will remove it
        for folder, name in ((place, TEMP), (place, PARTIALS), (self._root, RESERVED_PREFIX)):
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                    _log.warning(
                        "the hidden folder %s cannot be removed: %s",
                        RESERVED_PREFIX,
                        error.strerror,
                    )


def try_lock(handle: int) -> bool:
    """Lock an open file or folder exclusively; return False if another descriptor holds a lock."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _where_lockable() -> Iterator[None]:
    """Ignore a lock that fails because the file system cannot lock folders, such as NFS.

    There, nothing ever counts as dead.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def _make_folder(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        pass


def _open_folder(parent: int, name: str) -> int | None:
    try:
        return os.open(name, _FLAGS, dir_fd=parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        # Someone put a link or a file there. Following the link would write outside the share.
        raise StoreFailed(
            f"{RESERVED_PREFIX} in the root of the share is not a folder of ftransfer; move it away"
        ) from error


def _is_there(parent: int, name: str, handle: int) -> bool:
    """Return whether a name still leads to what was opened by it."""
    try:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def _take(temp: int, name: str, own: int) -> bool:
    """Lock a new temporary folder; return False if it is lost, and close its handle.

    A store that starts at the same moment may treat it as dead.
    """
    is_ours = False
    try:
        is_locked = True
        with _where_lockable():
            is_locked = try_lock(own)
        is_ours = is_locked and _is_there(temp, name, own)
    finally:
        if not is_ours:
            release(own)
    return is_ours


def _collect_one(temp: int, name: str) -> None:
    try:
        folder = _open_folder(temp, name)
    except StoreFailed:
        return  # not ours: leave it
    if folder is None:
        return
    try:
        with _where_lockable():
            if try_lock(folder):
                _empty_and_remove(temp, name, folder)
    finally:
        release(folder)


def _empty_and_remove(parent: int, name: str, folder: int) -> None:
    for file in os.listdir(folder):
        try:
            os.unlink(file, dir_fd=folder)
        except (
            IsADirectoryError,
            PermissionError,
        ):  # a new folder that was being filled; the error depends on the system
            below = os.open(file, _FLAGS, dir_fd=folder)
            try:
                _empty_and_remove(folder, file, below)
            finally:
                release(below)
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
