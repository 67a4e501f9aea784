"""Incomplete uploads on disk: bytes in `<key>.data`, and their record in `<key>.json`.

The size of the data file is the number of valid bytes: they are written in order and never beyond
the end, so even after kill -9 all of them are valid. If they arrive out of order, the record has
their number up to the first gap. After a power cut the end may be zeros; the digest at the end of
the transfer detects that. The writer of a data file holds its lock (flock); a partial whose lock is
free is dead.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO
from weakref import WeakSet

from blake3 import blake3

from ftransfer.storage.base import Partial, UploadSpec
from ftransfer.storage.local.partial_locks import is_live, open_dead, open_locked, remove_dead
from ftransfer.storage.local.partial_records import (
    CREATE_FLAGS,
    DATA,
    FILE_MODE,
    NEW_RECORD,
    RECORD,
    change_record,
    parse_record,
    read_partial,
    unlink,
    unlink_record,
    write_record,
)
from ftransfer.storage.local.root import times_of
from ftransfer.storage.local.staging import StagingArea
from ftransfer.storage.local.syscalls import Kernel, release, release_file
from ftransfer.storage.local.threads import Work

# The most space reserved ahead of the bytes received. All uploads together reserve no more than
# 1/_AHEAD_PART of the free space, or _LEAST_AHEAD.
AHEAD_BYTES = 64 << 20
_AHEAD_PART = 10
_LEAST_AHEAD = 1 << 20


class PartialFile:
    """The open file with the bytes of an upload until it is published, and its folder's handle.

    `key` is "" for a temporary file, of which nothing is kept. `resumed_bytes` are from earlier
    attempts. The file system has reserved space up to `reserved`; where it cannot, this store has
    up to `promised`. `is_scattered` is true while bytes are written out of order; then the record,
    not the size of the file, has the number in place.
    """

    def __init__(
        self,
        file: FileIO,
        folder: int,
        data: str,
        key: str = "",
        resumed_bytes: int = 0,
        restarted: bool = False,
    ) -> None:
        self.file = file
        self.folder = folder
        self.data = data
        self.key = key
        self.resumed_bytes = resumed_bytes
        self.restarted = restarted
        self.reserved = 0
        self.promised = 0
        self.is_scattered = False

    def unwritten(self, end: int) -> int:
        """Return how many of the bytes up to `end` have not been written yet."""
        if not end:
            return 0
        try:
            return max(0, end - os.fstat(self.file.fileno()).st_size)
        except (ValueError, OSError):
            return 0  # closed: nothing more is written


def key_of(name: str, announced: UploadSpec) -> str:
    """Return the key of the partial that an upload would resume; "" if it names no source."""
    if not announced.source:
        return ""
    return f"{_prefix_of(name, announced.owner)}-{_hash(announced.source, 8)}"


def _prefix_of(name: str, owner: str) -> str:
    return _hash(f"{owner}\0{name}", 12)


def _hash(text: str, length: int) -> str:
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(length=length)


class Partials:
    """The partials of one share. Methods block; any thread may call them."""

    def __init__(self, staging: StagingArea, kernel: Kernel) -> None:
        self._staging = staging
        self._kernel = kernel
        # Trying a lock holds it for a moment; a new writer of this store would then find it taken.
        self._mutex = threading.Lock()
        self._uploads: WeakSet[PartialFile] = WeakSet()
        self._promising = threading.Lock()

    def begin(self, name: str, announced: UploadSpec, taken: PartialFile | None) -> PartialFile:
        """Make or find the file for an upload, and reserve space for the next bytes.

        Args:
            taken: The same upload, taken from an older writer of this store; on an error it is
                kept.

        Raises:
            OSError: ENOSPC if there is no space; then a new file is removed, an old one kept.
        """
        upload = taken if taken is not None else self._find_or_make(name, announced)
        try:
            handle = upload.file.fileno()
            if upload.key:
                upload.resumed_bytes = _take_up(upload.folder, upload.key, handle, name, announced)
            if announced.size is not None:
                if upload.resumed_bytes > announced.size:
                    os.ftruncate(handle, 0)
                    upload.resumed_bytes, upload.restarted = 0, True
                self._reserve(upload, announced.size)
        except BaseException:
            self.keep(upload, upload.resumed_bytes)
            raise
        return upload

    def _reserve(self, upload: PartialFile, size: int) -> None:
        """Refuse an upload that does not fit; reserve space for its next piece.

        It reserves no more than a part of the free space.

        Raises:
            OSError: ENOSPC.
        """
        handle = upload.file.fileno()
        with self._promising:
            others = [other for other in self._uploads if other is not upload]
            promised = sum(other.unwritten(other.promised) for other in others)
            free = self._kernel.space(handle).free_bytes - promised
            if free < size - upload.resumed_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            held = promised + sum(other.unwritten(other.reserved) for other in others)
            most = max(_LEAST_AHEAD, (free + held) // _AHEAD_PART)
            ahead = min(size - upload.resumed_bytes, AHEAD_BYTES, max(0, most - held))
            self._uploads.add(upload)
            if ahead and self._kernel.reserve(handle, upload.resumed_bytes, ahead):
                upload.reserved = upload.resumed_bytes + ahead
            else:
                upload.promised = upload.resumed_bytes + ahead

    def reserve_more(self, upload: PartialFile, offset: int, size: int) -> None:
        """Reserve space for the next piece of an upload at `offset`.

        It is a hint: the writer meets any error.
        """
        end = min(size, offset + AHEAD_BYTES)
        with suppress(OSError):
            if self._kernel.reserve(upload.file.fileno(), upload.reserved, end - upload.reserved):
                upload.reserved = end

    def drop(self, upload: PartialFile) -> None:
        """Remove the file and close it."""
        try:
            unlink(upload.data, upload.folder)
            self.forget(upload)
        finally:
            release_file(upload.file)

    def forget(self, upload: PartialFile) -> None:
        """Remove the record, after the data has been published or removed."""
        if upload.key:
            unlink_record(upload.key, upload.folder)

    def keep(self, upload: PartialFile, size: int) -> None:
        """Keep the first `size` bytes for a later attempt and close the file.

        Without any bytes or a source the file is removed.
        """
        if not upload.key or not size:
            self.drop(upload)
            return
        try:
            self.cut(upload, size)  # this also frees the space reserved after them
            # A failed commit may have set another
            os.fchmod(upload.file.fileno(), FILE_MODE)
        finally:
            release_file(upload.file)

    def note_whole(self, upload: PartialFile, whole: int) -> None:
        """Record the number of bytes in place before the first gap.

        From now on others may be written ahead of them.
        """
        if upload.key:
            upload.is_scattered = True
            change_record(upload.folder, upload.key, whole)

    def cut(self, upload: PartialFile, size: int) -> None:
        """Truncate to the first `size` bytes, all in place; the next is written after them."""
        os.ftruncate(upload.file.fileno(), size)
        if upload.is_scattered:
            change_record(upload.folder, upload.key, None)
            upload.is_scattered = False

    def all(self) -> Work[list[Partial]]:
        """Return all partials, oldest first."""
        folder = self._staging.partials(make=False)
        found = []
        if folder is not None:
            for key in _keys(folder, ""):
                partial = read_partial(folder, key)
                if partial is not None:
                    found.append(partial)
                yield
        return sorted(found, key=lambda partial: partial.mtime_ns)

    def dead(self, name: str, owner: str) -> list[Partial]:
        """Return the partials of a name and owner that no writer holds, oldest first."""
        folder = self._staging.partials(make=False)
        if folder is None:
            return []
        found = []
        with self._mutex:
            for key in _keys(folder, _prefix_of(name, owner)):
                partial = read_partial(folder, key)
                if partial is not None and not is_live(folder, key):
                    found.append(partial)
        return sorted(found, key=lambda partial: partial.mtime_ns)

    def remove(self, partials: Sequence[Partial]) -> Work[list[Partial]]:
        """Remove partials that no writer holds; return those removed."""
        removed = []
        folder = self._staging.partials(make=False)
        if folder is not None:
            for partial in partials:
                key = f"{_prefix_of(partial.name, partial.owner)}-{_hash(partial.source, 8)}"
                with self._mutex:
                    is_gone = remove_dead(folder, key)
                if is_gone:
                    removed.append(partial)
                yield
        return removed

    def collect(self) -> None:
        """Clean up after killed processes.

        Remove records without data and data without a record, and free reserved space.
        """
        folder = self._staging.partials(make=False)
        if folder is None:
            return
        with self._mutex:
            names = set(os.listdir(folder))
            for name in names:
                key, dot, kind = name.partition(".")
                if dot + kind in (RECORD, NEW_RECORD) and key + DATA not in names:
                    unlink(name, folder)
                elif dot + kind == DATA:
                    _tidy_dead(folder, key, has_record=key + RECORD in names)

    def _find_or_make(self, name: str, announced: UploadSpec) -> PartialFile:
        key = key_of(name, announced)
        if not key:
            return self._make_temporary()
        folder = self._staging.partials(make=True)
        assert folder is not None  # make=True
        with self._mutex:
            others = [
                other for other in _keys(folder, _prefix_of(name, announced.owner)) if other != key
            ]
            # A list, not a generator: all of them must be removed, not only the first.
            restarted = any([remove_dead(folder, other) for other in others])
            file = open_locked(folder, key)
            if file is None:
                return self._make_temporary()  # another process writes it
        try:
            return PartialFile(
                file, folder, key + DATA, key, os.fstat(file.fileno()).st_size, restarted
            )
        except BaseException:
            release_file(file)
            raise

    def _make_temporary(self) -> PartialFile:
        folder = self._staging.temp()
        data = self._staging.new_name()
        return PartialFile(
            FileIO(os.open(data, CREATE_FLAGS | os.O_EXCL, FILE_MODE, dir_fd=folder), "r+b"),
            folder,
            data,
        )


def _take_up(folder: int, key: str, handle: int, name: str, announced: UploadSpec) -> int:
    """Return the number of bytes in place from this source.

    Rewrites the record if it is missing or differs, or if bytes were written out of order.
    """
    there, is_scattered = parse_record(folder, key)
    if there is None or (there.name, there.owner, there.source) != (
        name,
        announced.owner,
        announced.source,
    ):
        os.ftruncate(handle, 0)
        kept = 0
    else:
        kept = there.kept
        if is_scattered:
            os.ftruncate(handle, kept)
        elif there.size == announced.size:
            return kept
    record = {
        "name": name,
        "owner": announced.owner,
        "source": announced.source,
        "size": announced.size,
        "mtime_ns": announced.mtime_ns,
        "mode": announced.mode,
    }
    write_record(folder, key, json.dumps(record).encode("ascii"))
    return kept


def _keys(folder: int, prefix: str) -> Iterator[str]:
    for name in os.listdir(folder):
        if name.endswith(DATA) and name.startswith(prefix):
            yield name[: -len(DATA)]


def _tidy_dead(folder: int, key: str, *, has_record: bool) -> None:
    handle = open_dead(folder, key)
    if handle is None:
        return
    try:
        there = read_partial(folder, key) if has_record else None
        size = os.fstat(handle).st_size if there is None else there.kept
        if size and has_record:
            before = os.fstat(handle).st_mtime_ns
            os.ftruncate(handle, size)
            os.utime(handle, ns=times_of(before))  # it is as old as its last byte
        else:
            unlink(key + DATA, folder)
            unlink_record(key, folder)
    finally:
        release(handle)
