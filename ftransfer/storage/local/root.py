"""The open root of a local store: opens, describes and syncs things below it.

All methods block and raise OSError; the layers above run them in jobs and translate. The root owns
the handle from which every other one is opened.
"""

from __future__ import annotations

import copy
import errno
import os
import stat
import threading
from typing import Literal

from blake3 import blake3

from ftransfer.errors import Forbidden, NotAFile, NotAFolder, NotFound, StoreFailed
from ftransfer.limits import clamp_time
from ftransfer.names import SafeName, escape
from ftransfer.storage.base import FILE, FOLDER, Entry, Hides
from ftransfer.storage.local.links import Links
from ftransfer.storage.local.resolver import NameResolver
from ftransfer.storage.local.syscalls import (
    FOLDER_FLAGS,
    HAS_PATH_FLAG,
    PATH_FLAGS,
    Kernel,
    release,
)

Resolver = Literal["auto", "openat2", "walk"]

# With these flags an open never waits, be it for a fifo without a writer, a terminal or a device.
READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOCKS = 64
_MAX_MADE = 4096


class Root:
    """One open folder, its resolver, and the locks of names between the jobs of one store."""

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        *,
        durable: bool,
        resolver: Resolver,
        kernel: Kernel,
    ) -> None:
        """Open the folder.

        Raises:
            NotFound, NotAFolder, Forbidden, StoreFailed: The message contains the owner's path.
        """
        self.path = path
        self.kernel = kernel
        self.durable = durable
        self.handle = _open_root(path)
        try:
            self.resolver = NameResolver(
                self.handle, kernel, uses_openat2=_choose(resolver, kernel, self.handle)
            )
            self.umask = _read_umask()
        except BaseException:
            release(self.handle)
            raise
        self.links = Links(self.handle)
        self.hides: Hides | None = None  # names omitted from trees
        self._made: set[tuple[int, int]] = set()
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def without_links(self) -> Root:
        """Return a view with the same handle and locks that follows no link. Do not close it."""
        view = copy.copy(self)
        view.resolver = self.resolver.without_links()
        return view

    def is_in_place(self) -> bool:
        """Return whether the path still leads to this folder."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.handle))
        except OSError:
            return False

    def hiding(self, hides: Hides) -> Root:
        """Return a view that hides some names (views.hiding). Do not close it."""
        view = copy.copy(self)
        view.hides = hides
        view.resolver = self.resolver.hiding(hides)
        return view

    def close(self) -> None:
        release(self.handle)

    def lock_of(self, folder: os.stat_result, last: str) -> threading.Lock:
        """Return the lock to hold while a name in a folder is checked and replaced."""
        return self._locks[hash((folder.st_ino, last)) % _LOCKS]

    def note_made(self, folder: os.stat_result) -> None:
        """Remember a folder that this store has just made."""
        if len(self._made) >= _MAX_MADE:
            self._made.clear()
        self._made.add((folder.st_dev, folder.st_ino))

    def has_made(self, folder: os.stat_result) -> bool:
        """Return whether this store has recently made a folder.

        Its content came through the store, which makes no special files.
        """
        return (folder.st_dev, folder.st_ino) in self._made

    def stat(self, name: SafeName) -> os.stat_result:
        """Return the stat of what a name leads to, without opening it."""
        handle = self.resolver.open(name.parts, PATH_FLAGS)
        try:
            return os.fstat(handle)
        finally:
            release(handle)

    def open_folder(self, name: SafeName) -> int:
        """Open a folder for listing, changing and syncing.

        Raises:
            OSError.
            NotAFolder: A file has the name.
        """
        handle = self.resolver.open(name.parts, PATH_FLAGS)
        try:
            found = os.fstat(handle)
            if not stat.S_ISDIR(found.st_mode):
                raise NotAFolder.about(name, "is not a folder")
            if name.is_root and not found.st_nlink and not self.is_in_place():
                raise NotFound("/: the shared folder has been removed")  # else it would look empty
            return os.open(".", FOLDER_FLAGS, dir_fd=handle)
        finally:
            release(handle)

    def open_served(self, name: SafeName) -> tuple[int, os.stat_result]:
        """Open a regular file or a folder for reading; it never waits or affects anything else.

        Raises:
            OSError.
            NotAFile: A fifo, socket or device has the name.
        """
        if HAS_PATH_FLAG:
            refuse_special(self.stat(name), name)
        handle = self.resolver.open(name.parts, READ_FLAGS)
        try:
            found = os.fstat(handle)
            refuse_special(found, name)  # something else may have the name now
        except BaseException:
            release(handle)
            raise
        return handle, found

    def sync_folder(self, handle: int) -> None:
        if self.durable:
            self.kernel.sync_folder(handle)

    def mode_for(self, announced: int | None, default: int = 0o666) -> int:
        """Return the permission bits for a new thing: those announced, or the default.

        Set-uid, set-gid and sticky bits are dropped.
        """
        return default & ~self.umask if announced is None else announced & 0o777


def is_served(mode: int) -> bool:
    """Return whether an st_mode is that of a regular file or a folder."""
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def refuse_special(found: os.stat_result, name: SafeName | str) -> None:
    if not is_served(found.st_mode):
        raise NotAFile.about(name, "is neither a file nor a folder")


def entry_of(name: str, found: os.stat_result) -> Entry:
    """Describe a regular file or folder, with its identity."""
    if stat.S_ISDIR(found.st_mode):
        return Entry(
            name,
            FOLDER,
            0,
            clamp_time(found.st_mtime_ns),
            found.st_mode & 0o777,
            identity_of(found),
        )
    return Entry(
        name,
        FILE,
        found.st_size,
        clamp_time(found.st_mtime_ns),
        found.st_mode & 0o777,
        identity_of(found),
        ctime_ns=found.st_ctime_ns,
    )


def identity_of(found: os.stat_result) -> str:
    """Return 16 hexadecimal digits that stay the same until the content changes.

    The device number is not included, since reboots change it.
    """
    return blake3(b"%d %d %d" % (found.st_ino, found.st_size, found.st_mtime_ns)).hexdigest(
        length=8
    )


def times_of(mtime_ns: int) -> tuple[int, int]:
    """Return (atime, mtime) in nanoseconds for os.utime, within the range that it takes.

    That is about the years 1678 to 2262.
    """
    mtime_ns = clamp_time(mtime_ns)
    return mtime_ns, mtime_ns


def _open_root(path: str | bytes | os.PathLike[str]) -> int:
    text = escape(os.fsdecode(path))
    try:
        return os.open(path, FOLDER_FLAGS)
    except FileNotFoundError as error:
        raise NotFound(f"{text}: there is no such folder; check its name, or create it") from error
    except NotADirectoryError as error:
        raise NotAFolder(f"{text}: is not a folder, and only a folder can be shared") from error
    except PermissionError as error:
        raise Forbidden(f"{text}: may not be read by this user") from error
    except (OSError, ValueError) as error:
        raise StoreFailed(f"{text}: cannot be opened") from error


def _choose(resolver: Resolver, kernel: Kernel, root: int) -> bool:
    if resolver == "walk":
        return False
    has_openat2 = kernel.has_open_beneath(root)
    if resolver == "openat2" and not has_openat2:
        raise StoreFailed("openat2: this system does not have it; choose another resolver")
    return has_openat2


def _read_umask() -> int:
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
            raise
    # Elsewhere reading it means setting it for a moment for all threads: once, at the start.
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
