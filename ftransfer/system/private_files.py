"""Small files that only their owner may read: keys, known hosts, saved logins.

They are written atomically, by one process at a time. A leaf; everything here blocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ftransfer.errors import BadFile

_MAX_SECRET_BYTES = 4096


def state_folder() -> Path:
    """Return the folder for this user's state; it may not exist yet."""
    if sys.platform == "linux":
        # As platformdirs does; importing it takes longer than everything else that a client needs
        # to trust a server on this machine.
        return (
            Path(
                os.environ.get("XDG_STATE_HOME", "").strip() or os.path.expanduser("~/.local/state")
            )
            / "ftransfer"
        )
    from platformdirs import user_state_path

    return user_state_path("ftransfer")


def read_private(path: Path) -> str:
    """Return the text of a file, or "" if there is none.

    Raises:
        BadFile: The file cannot be read, or is not text; or others may change it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            _refuse_writable(str(path), os.fstat(file.fileno()))
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BadFile(f"{path}: it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: it is not a text file; mend it or remove it") from error


def check_private(path: str, what: str) -> None:
    """Check the mode of a file with secrets that other code reads. A missing file passes.

    Logs a warning if others may read it.

    Raises:
        BadFile: Others may change it.
    """
    with contextlib.suppress(FileNotFoundError):
        _refuse_writable(path, os.stat(path))
        warn_if_readable(path, what)


def warn_if_readable(path: str, what: str) -> None:
    """Log a warning if everybody may read a file, or it belongs to another user.

    Its group may read it, as that of a service.
    """
    found = os.stat(path)
    warning = ""
    if found.st_mode & stat.S_IROTH:
        warning = (
            f"everybody on this machine may read {what} in it; chmod o-r {path} takes that away"
        )
    elif found.st_uid not in (0, os.geteuid()):
        warning = (
            f"it belongs to another user (uid {found.st_uid}), who may read and change {what} in it"
        )
    if warning:
        import logging  # not needed by a command that has no warning

        logging.getLogger("ftransfer.private").warning("warning: %s: %s", path, warning)


def _refuse_writable(path: str, found: os.stat_result) -> None:
    # A device is nobody's file; a pipe, as of a shell's <(command), is ours.
    if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadFile(f"{path}: others may change it; chmod go-w {path} takes that away")


def rewrite(path: Path, text: str) -> None:
    """Write as write_private, but keep mode, owner and group of an existing file.

    A service may have to read it.

    Raises:
        BadFile: The file cannot be written; or its owner cannot be kept.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise BadFile(f"{path}: it cannot be read: {error.strerror}") from error
    write_private(path, text, like=found)


def write_private(path: Path, text: str, *, like: os.stat_result | None = None) -> None:
    """Replace a file atomically and durably; a reader sees the old or the new content.

    Makes the folder if it is missing.

    Args:
        like: Mode, owner and group for the file; without it, only its owner may read it.

    Raises:
        BadFile: The file cannot be written.
    """
    # In the same folder, so that it can be renamed; the name is unpredictable, and no link is
    # followed.
    temp = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(
            temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                if like is not None:
                    _make_like(path, fd, like)
                os.fsync(fd)
            os.replace(temp, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temp)
            raise
    except OSError as error:
        raise BadFile(f"{path}: it cannot be written: {error.strerror}") from error


def _make_like(path: Path, fd: int, like: os.stat_result) -> None:
    own = os.fstat(fd)
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.fchown(fd, like.st_uid, like.st_gid)
        except PermissionError as error:
            owner = f"uid {like.st_uid}, gid {like.st_gid}"
            raise BadFile(
                f"{path}: it cannot be written without changing its owner ({owner}); do it as that"
                " user or as root"
            ) from error
    os.fchmod(fd, stat.S_IMODE(like.st_mode))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file against other processes that use this function.

    The lock is a file beside it.

    Raises:
        BadFile: The lock cannot be made.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadFile(f"{path}: it cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def read_secret(path: str) -> str:
    """Return the secret that a file holds: its text without the line end.

    Raises:
        BadFile: Others may read it, or it is no file, is empty, or has more than one line.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            mode = os.fstat(fd).st_mode
            # Checked on the open file: one checked by name could be swapped before it is opened. A
            # pipe, as of a shell's <(command), is ours.
            if mode & 0o077 and not stat.S_ISFIFO(mode):
                raise BadFile(
                    f"{path}: others may read this secret; chmod 600 {path} takes that away"
                )
            os.set_blocking(fd, True)
            data = file.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise BadFile(f"{path}: the secret cannot be read: {error.strerror}") from error
    text = _line(data, path)
    if not text:
        raise BadFile(f"{path}: the file must hold the secret and nothing else, on one line")
    return text


def read_piped_secret(pipe: BinaryIO) -> str:
    """Return the first line of a pipe without the line end; "" if there is none.

    Raises:
        BadFile: It is not a line of text.
    """
    return _line(pipe.readline(_MAX_SECRET_BYTES + 1), "stdin")


def _line(data: bytes, where: str) -> str:
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise BadFile(f"{where}: the secret is not text") from error
    if len(data) > _MAX_SECRET_BYTES or not (text.isprintable() or not text):
        raise BadFile(
            f"{where}: the secret must be one line of printable text, of at most"
            f" {_MAX_SECRET_BYTES} bytes"
        )
    return text
