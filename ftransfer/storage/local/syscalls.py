"""The system calls that Python does not offer, and those whose failure or order matters.

The lowest layer of the local store: every other file of it takes a Kernel, so that a test can pass
one that fails, or one that records the order of syncs. All methods block; only executor jobs call
them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from contextlib import suppress
from io import FileIO

from ftransfer.storage.base import Space

_SYS_OPENAT2 = 437  # the same number on every Linux architecture since 2019, except alpha
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_FALLOC_FL_KEEP_SIZE = 1
_TMPFS_MAGIC = 0x01021994
_SYNC_FILE_RANGE_WRITE = 2
_LINUX = sys.platform == "linux"
_MAX_OFFSET = (1 << 63) - 1
# Errors of a file system that does not support a call; a fallback follows.
UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP})

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A handle only for stat and lookups: opening one has no effect on a fifo or a device. Other systems
# may lack it.
PATH_FLAGS: int = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) | os.O_CLOEXEC
HAS_PATH_FLAG = hasattr(os, "O_PATH")


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class Kernel:
    """Direct access to the operating system. Safe to use from many threads."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._how_of_flags: dict[tuple[int, bool], _OpenHow] = {}
        self.has_sync_all = _LINUX and hasattr(self._libc, "syncfs")

    def open_beneath(
        self, folder: int, path: bytes, flags: int, *, stays_on_mount: bool = False
    ) -> int:
        """Open a path below a folder with openat2, through no link; return the descriptor.

        Raises:
            OSError: ELOOP if a link is in the path; EXDEV if `stays_on_mount` and the path leaves
                the mount of the folder; ENOSYS where the kernel has no openat2.
        """
        if not _LINUX:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        how = self._how_of_flags.get((flags, stays_on_mount))
        if how is None:
            resolve = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS
            how = _OpenHow(flags, 0, resolve | (_RESOLVE_NO_XDEV if stays_on_mount else 0))
            self._how_of_flags[flags, stays_on_mount] = how
        while True:
            found = self._libc.syscall(
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(folder),
                ctypes.c_char_p(path),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
            if found >= 0:
                return int(found)
            if ctypes.get_errno() != errno.EINTR:
                raise _last_error()

    def has_open_beneath(self, folder: int) -> bool:
        """Return whether openat2 works here; a sandbox may forbid it although the kernel has it."""
        try:
            release(self.open_beneath(folder, b".", PATH_FLAGS | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def rename(self, source: str, target: str, source_folder: int, target_folder: int) -> None:
        """Move a thing to a name atomically, replacing what has it."""
        os.rename(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder)

    def rename_new(self, source: str, target: str, source_folder: int, target_folder: int) -> None:
        """Move a thing atomically to a name that nothing has.

        Raises:
            OSError: EEXIST if something has the name.
        """
        try:
            self._rename_noreplace(source, target, source_folder, target_folder)
            return
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        try:
            os.link(
                source,
                target,
                src_dir_fd=source_folder,
                dst_dir_fd=target_folder,
                follow_symlinks=False,
            )
        except OSError as error:
            # EPERM: a folder, or a file system without hard links. Then the best that remains is to
            # check first. Another program could interfere; this one cannot, since the caller holds
            # the lock of the name.
            if error.errno not in UNSUPPORTED | {errno.EPERM, errno.EACCES, errno.EMLINK}:
                raise
            if exists(target, target_folder):
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            self.rename(source, target, source_folder, target_folder)
            return
        os.unlink(source, dir_fd=source_folder)

    def _rename_noreplace(
        self, source: str, target: str, source_folder: int, target_folder: int
    ) -> None:
        self._rename2(source, target, source_folder, target_folder, _RENAME_NOREPLACE)

    def _rename_exchange(self, one: str, other: str, folder: int) -> None:
        self._rename2(one, other, folder, folder, _RENAME_EXCHANGE)

    def _rename2(
        self, source: str, target: str, source_folder: int, target_folder: int, flag: int
    ) -> None:
        if not _LINUX or not hasattr(self._libc, "renameat2"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        done = self._libc.renameat2(
            ctypes.c_int(source_folder),
            ctypes.c_char_p(os.fsencode(source)),
            ctypes.c_int(target_folder),
            ctypes.c_char_p(os.fsencode(target)),
            ctypes.c_uint(flag),
        )
        if done != 0:
            raise _last_error()

    def exchange(self, one: str, other: str, folder: int) -> None:
        """Exchange two names in one folder in one step.

        Where the system cannot, the second thing has a third name in the folder for a moment.
        """
        try:
            self._rename_exchange(one, other, folder)
            return
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        aside = f".{os.urandom(8).hex()}.replaced"
        self.rename(other, aside, folder, folder)
        try:
            self.rename(one, other, folder, folder)
        except BaseException:
            self.rename(aside, other, folder, folder)
            raise
        self.rename(aside, one, folder, folder)

    def reserve(self, descriptor: int, offset: int, size: int) -> bool:
        """Reserve space for `size` bytes from `offset`; return whether that was done.

        The file's size stays the same. Not every file system can do it. It is skipped in memory,
        since it would take a third of the time of writing, before the first byte can be received.

        Raises:
            OSError: ENOSPC or EDQUOT.
        """
        if offset + size > _MAX_OFFSET:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if size <= 0:
            return True
        if not self._is_in_memory(descriptor):
            try:
                self._fallocate(descriptor, offset, size)
                return True
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
        return False

    def _is_in_memory(self, descriptor: int) -> bool:
        if not _LINUX or not hasattr(self._libc, "fstatfs"):
            return False
        found = (ctypes.c_long * 32)()  # larger than struct statfs, whose first field is the type
        return not self._libc.fstatfs(ctypes.c_int(descriptor), found) and found[0] == _TMPFS_MAGIC

    def _fallocate(self, descriptor: int, offset: int, size: int) -> None:
        if not _LINUX or not hasattr(self._libc, "fallocate"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        while self._libc.fallocate(
            ctypes.c_int(descriptor),
            ctypes.c_int(_FALLOC_FL_KEEP_SIZE),
            ctypes.c_int64(offset),
            ctypes.c_int64(size),
        ):
            if ctypes.get_errno() != errno.EINTR:
                raise _last_error()

    def space(self, descriptor: int) -> Space:
        """Return what an ordinary user can still store on the file system of a descriptor."""
        found = os.fstatvfs(descriptor)
        return Space(
            found.f_bavail * found.f_frsize,
            found.f_favail if found.f_files else None,
            found.f_files,
        )

    def begin_sync(self, descriptor: int, offset: int, size: int) -> None:
        """Start writing a part of a file to the medium, so that `sync_file` has less to do.

        It is only a hint.
        """
        if _LINUX and hasattr(self._libc, "sync_file_range"):
            # fsync will report any error.
            self._libc.sync_file_range(
                ctypes.c_int(descriptor),
                ctypes.c_int64(offset),
                ctypes.c_int64(size),
                ctypes.c_uint(_SYNC_FILE_RANGE_WRITE),
            )

    def sync_file(self, descriptor: int) -> None:
        """Write a file's content and attributes to the medium."""
        if sys.platform == "darwin":
            try:
                # On macOS, fsync stops at the cache of the drive.
                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
                return
            except OSError as error:
                if error.errno not in UNSUPPORTED | {errno.ENOTTY}:
                    raise
        os.fsync(descriptor)

    def sync_folder(self, descriptor: int) -> None:
        """Write the names in a folder to the medium."""
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some file systems (FUSE, SMB) have nothing to sync for a folder and return EINVAL.
            if error.errno not in UNSUPPORTED:
                raise

    def sync_all(self, descriptor: int) -> None:
        """Write the whole file system of a descriptor to the medium. Only if has_sync_all.

        Since Linux 5.8 it reports the write errors of all its files since the descriptor was
        opened.
        """
        if self._libc.syncfs(ctypes.c_int(descriptor)) != 0:
            raise _last_error()


def release(handle: int) -> None:
    """Close a descriptor that needs no further check: unwritten or synced.

    It is closed after close(2), whatever that returns. Raising would hide the result of the work,
    and leave the next descriptors open.
    """
    try:  # not `suppress`: this runs for each of ten thousand small files
        os.close(handle)
    except OSError:
        pass


def release_file(file: FileIO) -> None:
    """Close a file object as `release`. Closing it twice is no error."""
    with suppress(OSError):
        file.close()


def exists(name: str, folder: int) -> bool:
    """Return whether anything, even a dead link, has a name in an open folder."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
