"""The content of a small file, read as a whole into memory that is reused."""

from __future__ import annotations

import os

from ftransfer.digest import digest_of
from ftransfer.errors import SourceChanged, StoreFailed
from ftransfer.limits import clamp_time
from ftransfer.storage.base import FILE, SmallFile
from ftransfer.storage.local.root import READ_FLAGS

# The most bytes read of a file whose file system reports no size.
_UNSIZED_BYTES = 1 << 20
_ATTEMPTS = 3  # to read a file that changes meanwhile
READ_SMALL_FLAGS = READ_FLAGS | os.O_NOFOLLOW


class BufferSlice:
    """Memory for the contents of one group, one after the other."""

    def __init__(self, memory: memoryview) -> None:
        self._left = memory

    @property
    def left(self) -> int:
        return len(self._left)

    def take(self, size: int) -> memoryview:
        """Return memory for `size` bytes; newly allocated if too little is left here."""
        if size > len(self._left):
            return memoryview(bytearray(size))
        taken, self._left = self._left[:size], self._left[size:]
        return taken


def read_content(handle: int, name: str, before: os.stat_result, buffer: BufferSlice) -> SmallFile:
    """Read a small file as a whole. Raises OSError, and SourceChanged if it keeps changing."""
    for _ in range(_ATTEMPTS):
        size = before.st_size
        data = buffer.take(size) if size else _read_unsized(handle, name)
        count = os.preadv(handle, [data], 0) if size else len(data)
        while count < size and (more := os.preadv(handle, [data[count:]], count)):
            count += more  # some network file systems read short
        after = os.fstat(handle)
        # Fewer bytes than its size may be read: /sys reports a page for every file
        if _version(after) == _version(before):
            return SmallFile(
                name,
                FILE,
                clamp_time(after.st_mtime_ns),
                after.st_mode & 0o777,
                data[:count],
                digest_of(data[:count]),
            )
        if after.st_size > 2 * size + (1 << 20):
            break  # a file that grows so fast is not small
        before = after
    raise SourceChanged.about(name, "changes while it is read; try again when nobody writes to it")


def _version(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino


def _read_unsized(handle: int, name: str) -> memoryview:
    """Read a file of reported size 0: it is empty, or, as in /proc, only reading shows its size.

    Raises:
        OSError, and StoreFailed if it is not small.
    """
    content = bytearray()
    step = 1  # nearly all are empty
    while more := os.pread(handle, step, len(content)):
        content += more
        step = _UNSIZED_BYTES
        if len(content) > _UNSIZED_BYTES:
            raise StoreFailed.about(
                name, "is large, and its file system does not report its size; put it by itself"
            )
    return memoryview(content)
