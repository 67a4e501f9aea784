"""What lies outside a share, and whether it was touched.

Content, attributes and, on Linux, inotify tell.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

SECRET = b"canary: not to be read"
# Whatever can be told of a file or folder, save that it was only looked at.
_ANY = 0x1 | 0x2 | 0x4 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
_EXCHANGE = 2
_AT_FDCWD = -100


class Canary:
    """The folder `outside` with a secret in it, and a folder and a file below. Made by `canary`."""

    def __init__(self, folder: Path, *, watched: bool = True) -> None:
        self.folder = folder
        (folder / "folder").mkdir(parents=True)
        for name in ("secret", "folder/secret"):
            (folder / name).write_bytes(SECRET)
        self._before = self._state()
        self._watching = (
            _watch([folder, folder / "folder"]) if watched and sys.platform == "linux" else -1
        )

    def check(self, after: str = "") -> None:
        """Fail if anything of it was opened, made, changed or removed since the last check."""
        assert not self._events(), f"something outside was opened after {after}"
        assert self._state() == self._before, f"something outside was changed after {after}"
        self._events()  # those of this very look

    def close(self) -> None:
        if self._watching >= 0:
            os.close(self._watching)

    def _state(self) -> dict[str, tuple[object, ...]]:
        state: dict[str, tuple[object, ...]] = {}
        for path in sorted([self.folder, *self.folder.rglob("*")]):
            found = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            state[str(path)] = (
                found.st_mode,
                found.st_ino,
                found.st_mtime_ns,
                found.st_ctime_ns,
                found.st_size,
                content,
            )
        return state

    def _events(self) -> bytes:
        if self._watching < 0:
            return b""
        try:
            return os.read(self._watching, 1 << 16)
        except BlockingIOError:
            return b""


@contextlib.contextmanager
def canary(folder: Path, *, watched: bool = True) -> Iterator[Canary]:
    """Make the folder, and check at the end that nobody was there.

    Args:
        watched: Whether it is an offence to open something there; false where the test itself goes
            there.
    """
    made = Canary(folder, watched=watched)
    try:
        made._events()
        yield made
        made.check("all")
    finally:
        made.close()


def exchange(one: str | Path, other: str | Path) -> None:
    """Exchange two names in one step. Raises OSError where the system cannot."""
    libc = _libc()
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_EXCHANGE)
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _watch(folders: list[Path]) -> int:
    libc = _libc()
    watching = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watching >= 0
    for folder in folders:
        assert libc.inotify_add_watch(watching, os.fsencode(folder), ctypes.c_uint32(_ANY)) >= 0
    return int(watching)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
