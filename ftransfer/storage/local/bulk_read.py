"""A folder -> all small files below it, walked and read in one pass.

Each file is opened from its folder's handle, which is open anyway. For callers that want
everything: it saves a stat, a path resolution and sorting for each file, half the cost of listing a
tree and then reading it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Generator, Iterator

from ftransfer.errors import FtransferError, NotAFile, NotAFolder, NotFound, StoreFailed
from ftransfer.limits import clamp_time
from ftransfer.names import RESERVED_PREFIX, SafeName, escape, is_reserved
from ftransfer.storage.base import (
    DEAD_LINK,
    FOLDER,
    FOLDER_LINK,
    OTHER,
    RESERVED,
    SPECIAL,
    TOO_LONG,
    UNREADABLE,
    Entry,
    SmallFile,
)
from ftransfer.storage.local.bulk import read_small
from ftransfer.storage.local.bulk_content import READ_SMALL_FLAGS, BufferSlice, read_content
from ftransfer.storage.local.levels import can_be_named
from ftransfer.storage.local.root import Root
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, release
from ftransfer.storage.oserrors import translate
from ftransfer.storage.small_files import PackItem
from ftransfer.system.threads import reusable_buffer
from ftransfer.system.turns import TimeSlice

_log = logging.getLogger(__name__)

# The first group is small, so it comes soon; each next one may be twice as large
_FIRST_ITEMS = 64
# A group this full ends at the end of a folder: storing a whole folder costs less than storing its
# files one by one.
_NEARLY_FULL = 0.75
_FULL = StoreFailed("not an item: the next one does not fit into this group")


class Sweep:
    """A tree being read. Methods block and must not overlap; the caller closes it."""

    def __init__(
        self, root: Root, folder: SafeName, max_bytes: int, *, others: bool = False
    ) -> None:
        """Open the folder. Raises OSError, NotAFolder."""
        self._root = root
        self._handle = root.open_folder(folder)
        self._prefix = "" if folder.is_root else f"{folder}/"
        self._max_bytes = max_bytes
        self._others = others
        self._buffer = BufferSlice(memoryview(b""))
        self._most = _FIRST_ITEMS
        self.is_done = False
        self._items = self._walk()

    def next_group(self, max_items: int) -> list[PackItem]:
        """Return the next items: at most `max_items`, `max_bytes` of content, or one time slice."""
        time_slice = TimeSlice()
        self._buffer = BufferSlice(reusable_buffer(self._max_bytes))
        group: list[PackItem] = []
        left = self._max_bytes
        most = min(self._most, max_items)
        self._most = 2 * most
        for item in self._items:
            if item is _FULL:
                break
            if item is None:
                if len(group) >= _NEARLY_FULL * most or time_slice.is_over:
                    break
                continue
            group.append(item)
            if isinstance(item, SmallFile):
                left -= len(item.data)
            if left <= 0 or len(group) >= most or time_slice.is_over:
                break
        else:
            self.is_done = True
        return group

    def close(self) -> None:
        self._items.close()
        release(self._handle)

    def _walk(self) -> Generator[PackItem | None, None, None]:
        """Yield each folder before its content, and None after its files.

        Siblings are in the order of the file system.
        """
        pending: list[tuple[str, ...]] = [()]
        while pending:
            parts = pending.pop()
            prefix = self._prefix + "".join(f"{part}/" for part in parts)
            try:
                handle = self._root.resolver.open_below(self._handle, parts, FOLDER_FLAGS)
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed between being listed and being read
            except OSError as error:
                yield self._unreadable(prefix, error)
                continue
            below: list[tuple[str, ...]] = []
            try:
                if parts:
                    found = os.fstat(handle)
                    yield SmallFile(
                        prefix[:-1], FOLDER, clamp_time(found.st_mtime_ns), found.st_mode & 0o777
                    )
                yield from self._content(handle, prefix, parts, below)
                pending += reversed(below)
                yield None
            except OSError as error:
                yield self._unreadable(prefix, error)
            finally:
                release(handle)

    def _unreadable(self, prefix: str, error: OSError) -> FtransferError:
        _log.warning("%s: cannot be read: %s", escape(prefix), error.strerror)
        return translate(error, prefix.rstrip("/"))

    def _content(
        self, handle: int, prefix: str, parts: tuple[str, ...], below: list[tuple[str, ...]]
    ) -> Generator[PackItem, None, None]:
        hides = self._root.hides
        with os.scandir(handle) as listed:
            for thing in listed:
                last = thing.name
                name = prefix + last
                if hides is not None and hides(name):
                    continue
                if not can_be_named(name, last):
                    if last != RESERVED_PREFIX:
                        yield from self._other(name, RESERVED if is_reserved(last) else TOO_LONG)
                elif thing.is_file(follow_symlinks=False):
                    item = self._read(handle, name, last)
                    if item is _FULL:
                        yield item
                        item = self._read(handle, name, last)
                    if item is not None:
                        yield item
                elif thing.is_dir(follow_symlinks=False):
                    below.append((*parts, last))
                elif thing.is_symlink():
                    yield from self._behind_link(name)
                else:
                    yield from self._other(name, SPECIAL)

    def _behind_link(self, name: str) -> Iterator[PackItem]:
        (item,) = read_small(self._root, [SafeName.trusted(name)], self._buffer.left)
        # It leads nowhere or outside, or to a fifo: not part of the tree
        if isinstance(item, (NotFound, NotAFile, NotAFolder)):
            yield from self._other(name, SPECIAL if isinstance(item, NotAFile) else DEAD_LINK)
        elif isinstance(item, FtransferError):
            yield from self._other(name, UNREADABLE)
        elif isinstance(item, SmallFile) and item.kind == FOLDER and self._others:
            yield from self._other(name, FOLDER_LINK)
        else:
            yield item

    def _other(self, name: str, why: str) -> Iterator[Entry]:
        if self._others:
            yield Entry(name, OTHER, 0, 0, 0, why=why)

    def _read(self, folder: int, name: str, last: str) -> PackItem | None:
        """Read one file; return None if it is gone, or something else has its name."""
        try:
            handle = os.open(last, READ_SMALL_FLAGS, dir_fd=folder)
            try:
                found = os.fstat(handle)
                if not stat.S_ISREG(found.st_mode):
                    return None
                if found.st_size > self._max_bytes:
                    return Entry(
                        name,
                        "file",
                        found.st_size,
                        clamp_time(found.st_mtime_ns),
                        found.st_mode & 0o777,
                    )
                if found.st_size > self._buffer.left:
                    return _FULL
                return read_content(handle, name, found, self._buffer)
            finally:
                release(handle)
        except FileNotFoundError:
            return None
        except OSError as error:
            return translate(error, name)
        except FtransferError as error:
            return error
