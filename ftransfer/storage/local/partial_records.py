"""The record of an incomplete upload, `<key>.json` beside its bytes in `<key>.data`.

A damaged record, or anything else in its place, counts as none: it must not prevent finding other
users' partials.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from io import FileIO

from ftransfer.limits import clamp_time
from ftransfer.names import RESERVED_PREFIX
from ftransfer.storage.base import Partial
from ftransfer.storage.local.staging import PARTIALS
from ftransfer.storage.local.syscalls import release

CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
RECORDS = (RESERVED_PREFIX, PARTIALS)  # where the records are, from the root of the share
RECORD = ".json"
DATA = ".data"
NEW_RECORD = ".new"
_MAX_RECORD_BYTES = 1 << 17  # a name and an owner, each byte escaped as six
FILE_MODE = 0o600


def change_record(folder: int, key: str, whole: int | None) -> None:
    """Rewrite a record with the number of bytes in place; None means the size of the file."""
    try:
        record = dict(json.loads(_read_record(folder, key)))
    except (ValueError, TypeError, RecursionError) as error:
        raise OSError(
            errno.EIO, os.strerror(errno.EIO)
        ) from error  # someone has damaged our record
    record.pop("whole", None)
    write_record(
        folder,
        key,
        json.dumps(record if whole is None else {**record, "whole": whole}).encode("ascii"),
    )


def write_record(folder: int, key: str, text: bytes) -> None:
    handle = os.open(key + NEW_RECORD, CREATE_FLAGS | os.O_TRUNC, FILE_MODE, dir_fd=folder)
    try:
        with FileIO(handle, "w") as file:
            while text:
                text = text[file.write(text) :]
        os.rename(key + NEW_RECORD, key + RECORD, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        unlink(key + NEW_RECORD, folder)
        raise


def read_partial(folder: int, key: str) -> Partial | None:
    """Read a partial's record; return None if it is missing, damaged, unreadable or no record."""
    try:
        return parse_record(folder, key)[0]
    except OSError:
        # Whatever is in the place of one record must not prevent finding other uploads.
        return None


def parse_record(folder: int, key: str) -> tuple[Partial | None, bool]:
    """Read a partial's record, and whether its bytes were written out of order.

    The partial is None if the record is missing or damaged. Raises OSError if it cannot be read
    now.
    """
    try:
        record = json.loads(_read_record(folder, key))
        found = os.stat(key + DATA, dir_fd=folder, follow_symlinks=False)
        size, whole = record["size"], record.get("whole")
        partial = Partial(
            str(record["name"]),
            str(record["owner"]),
            str(record["source"]),
            found.st_size if whole is None else max(0, min(int(whole), found.st_size)),
            None if size is None else int(size),
            clamp_time(found.st_mtime_ns),
        )
        return partial, whole is not None
    except (
        FileNotFoundError,
        IsADirectoryError,
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
        RecursionError,
        AttributeError,
    ):
        return None, False
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link
            return None, False
        raise


def _read_record(folder: int, key: str) -> bytes:
    handle = os.open(
        key + RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
    )
    try:
        return os.read(handle, _MAX_RECORD_BYTES)
    finally:
        release(handle)


def unlink_record(key: str, folder: int) -> None:
    """Remove a record, and the new one of a process that was killed while rewriting it."""
    unlink(key + RECORD, folder)
    unlink(key + NEW_RECORD, folder)


def unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
