"""An open folder -> the entries in it or below it, in batches.

One job gives one batch, so that a folder of a million files costs a thousand hops between threads and no memory. Only the
recursive listing holds a folder as a whole, since it sorts it. No handle is held for the folders above the one being read: a deep
tree costs no more descriptors than a flat one.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Generator
from dataclasses import replace
from itertools import islice

from ftransfer.limits import DEFAULT_LIMITS
from ftransfer.names import SafeName, escape, is_reserved
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry
from ftransfer.storage.confined import leads_inside
from ftransfer.storage.kernel import FOLDER_FLAGS, release
from ftransfer.storage.partials import RECORD, RECORDS
from ftransfer.storage.root import Root

_log = logging.getLogger(__name__)

BATCH = 1024  # entries; about 5 ms of one thread
# A character takes four bytes at most, so shorter text need not be encoded to know that it is within the limit.
_SURELY_SHORT_NAME = DEFAULT_LIMITS.max_name_bytes // 4
_SURELY_SHORT_PART = DEFAULT_LIMITS.max_part_bytes // 4


class Listing:
    """One listing under way. Methods block and must not overlap; whoever made it closes it."""

    def __init__(self, root: Root, folder: SafeName, *, recursive: bool, links: bool) -> None:
        """Open the folder. Raises OSError, NotAFolder."""
        self._handle = root.open_folder(folder)
        walk = _Walk(root, self._handle, folder, links)
        self._entries = walk.recursive() if recursive else walk.flat(self._handle, walk.prefix)

    def next_batch(self) -> list[Entry]:
        """Give up to BATCH entries; none at the end."""
        return list(islice(self._entries, BATCH))

    def close(self) -> None:
        self._entries.close()
        release(self._handle)


class _Walk:
    def __init__(self, root: Root, handle: int, folder: SafeName, links: bool) -> None:
        self._root = root
        self._handle = handle
        self._links = links
        self.prefix = "" if folder.is_root else f"{folder}/"
        self._not_descended: set[str] = set()  # links that count as folders

    def recursive(self) -> Generator[Entry, None, None]:
        """Each folder before its content, siblings by the bytes of their names."""
        stack = [self._sorted(self._handle, self.prefix)]
        while stack:
            siblings = stack[-1]
            if not siblings:
                stack.pop()
                continue
            entry = siblings.pop()
            if entry.kind == FOLDER and entry.name not in self._not_descended:
                try:
                    stack.append(self._content(entry.name))
                except (FileNotFoundError, NotADirectoryError):
                    continue  # gone between being listed and being read
                except OSError as error:
                    _log.warning("%s: cannot be listed: %s", escape(entry.name), error.strerror)
                    entry = replace(entry, unread=True)
            yield entry

    def _content(self, name: str) -> list[Entry]:
        """Read a folder below the listed one. Raises OSError."""
        parts = name[len(self.prefix) :].split("/")
        handle = self._root.confined.open_below(self._handle, parts, FOLDER_FLAGS)
        try:
            return self._sorted(handle, f"{name}/")
        finally:
            release(handle)

    def _sorted(self, handle: int, prefix: str) -> list[Entry]:
        """Give the entries of one folder as a stack: the first one last."""
        entries = list(self.flat(handle, prefix))
        entries.sort(key=_bytes_of_name, reverse=True)
        return entries

    def flat(self, handle: int, prefix: str) -> Generator[Entry, None, None]:
        """Give the entries of one open folder in the order of the file system."""
        with os.scandir(handle) as found:
            for item in found:
                last = item.name
                name = prefix + last
                if not can_be_named(name, last):
                    continue
                try:
                    about = item.stat(follow_symlinks=False)
                except OSError:
                    continue  # gone between being listed and being looked at
                mode = about.st_mode
                kind = mode & 0o170000
                if kind == stat.S_IFREG:
                    yield Entry(name, FILE, about.st_size, about.st_mtime_ns, mode & 0o777)
                elif kind == stat.S_IFDIR:
                    yield Entry(name, FOLDER, 0, about.st_mtime_ns, mode & 0o777)
                elif kind == stat.S_IFLNK:
                    entry = self._link(name, last, handle, about) if self._links else self._what_link_leads_to(name)
                    if entry is not None:
                        yield entry

    def _link(self, name: str, last: str, handle: int, about: os.stat_result) -> Entry | None:
        try:
            target = os.readlink(last, dir_fd=handle)
        except OSError:
            return None
        # The text of one that leads outside would tell about paths of the machine, and no peer could use it.
        if not leads_inside(name.split("/")[:-1], target):
            return None
        return Entry(name, LINK, 0, about.st_mtime_ns, about.st_mode & 0o777, target=target)

    def _what_link_leads_to(self, name: str) -> Entry | None:
        try:
            about = self._root.stat(SafeName(tuple(name.split("/"))))
        except OSError:
            return None
        if stat.S_ISREG(about.st_mode):
            return Entry(name, FILE, about.st_size, about.st_mtime_ns, about.st_mode & 0o777)
        if stat.S_ISDIR(about.st_mode):
            self._not_descended.add(name)
            return Entry(name, FOLDER, 0, about.st_mtime_ns, about.st_mode & 0o777)
        return None


def used_bytes(root: Root, folder: SafeName) -> int:
    """Give the sizes of all files below a folder, links not followed; partials are below the root."""
    total = 0
    pending: list[tuple[str, ...]] = [folder.parts]
    while pending:
        parts = pending.pop()
        try:
            handle = root.confined.open_below(root.handle, parts, FOLDER_FLAGS)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM):
                raise
            continue
        try:
            with os.scandir(handle) as found:
                for item in found:
                    if item.is_dir(follow_symlinks=False):
                        pending.append((*parts, item.name))
                    elif item.is_file(follow_symlinks=False) and not (parts == RECORDS and item.name.endswith(RECORD)):
                        total += _size_of(item)
        finally:
            release(handle)
    return total


def _size_of(item: os.DirEntry[str]) -> int:
    try:
        return item.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def can_be_named(name: str, last: str) -> bool:
    """Whether names.parse_name takes it; what it refuses could be listed but never asked for."""
    if last[0] == "." and is_reserved(last):
        return False
    if len(last) > _SURELY_SHORT_PART and len(os.fsencode(last)) > DEFAULT_LIMITS.max_part_bytes:
        return False
    return len(name) <= _SURELY_SHORT_NAME or len(os.fsencode(name)) <= DEFAULT_LIMITS.max_name_bytes


def _bytes_of_name(entry: Entry) -> bytes:
    return os.fsencode(entry.name)
