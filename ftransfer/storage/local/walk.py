"""An open folder -> what is in it or below it, in batches: as entries, or as the lines that are
compared (base.line_of).

One job gives one batch, so that a folder of a million files costs a thousand hops between threads;
a job that takes long gives what it has. The recursive walk holds the names of a folder, which it
sorts, and no more. No handle is held for the folders above the one being read: a deep tree costs no
more descriptors than a flat one.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Generator, Iterator
from heapq import merge
from itertools import islice
from typing import Generic, Protocol, TypeVar

from ftransfer.limits import DEFAULT_LIMITS, clamp_time
from ftransfer.names import RESERVED_PREFIX, SafeName, escape, is_reserved, sort_key
from ftransfer.storage.base import (
    DEAD_LINK,
    FILE,
    FOLDER,
    FOLDER_LINK,
    LINK,
    OTHER,
    RESERVED,
    SPECIAL,
    THING_BYTES,
    TOO_LONG,
    UNREADABLE,
    WHOLE,
    Range,
    Usage,
)
from ftransfer.storage.local.descent import Descent
from ftransfer.storage.local.partials import RECORD, RECORDS
from ftransfer.storage.local.resolver import leads_inside
from ftransfer.storage.local.root import Root
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, release
from ftransfer.storage.local.threads import Work
from ftransfer.system.turns import Step

_log = logging.getLogger(__name__)

BATCH = 1024  # things; about 3 ms of one thread
# So many names are sorted at once: no other thread runs meanwhile. Longer runs are merged as they
# are needed.
_RUN = 8192
_FIRST_BATCH = 64  # whoever waits for the first of them need not wait so long
_BATCH_CHARACTERS = 512 * 1024  # of names: deep in a tree, where they are long, a batch is smaller
_SHORT_PART = 64  # what the last part of a name is taken for
# A character takes four bytes at most, so shorter text need not be encoded to know that it is
# within the limit.
_SURELY_SHORT_NAME = DEFAULT_LIMITS.max_name_bytes // 4
_SURELY_SHORT_PART = DEFAULT_LIMITS.max_part_bytes // 4

# What a link leads to cannot be reached from here, now or ever. Any other failure must not make
# things vanish from a listing: a peer that keeps a folder in step would remove them.
_LEADS_NOWHERE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.EINVAL}
)

# What would go wrong with each other name as well: the folder is what cannot be read.
_IS_ABOUT_THE_FOLDER = frozenset(
    {errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EBADF, errno.ESTALE}
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Make(Protocol[T_co]):
    """What makes a thing of a batch: base.Entry, or base.line_of."""

    def __call__(
        self,
        name: str,
        kind: str,
        size: int,
        mtime_ns: int,
        mode: int,
        *,
        target: str = "",
        unreadable: bool = False,
        why: str = "",
    ) -> T_co: ...


class Listing(Generic[T]):
    """One listing under way. Methods block and must not overlap; whoever made it closes it."""

    def __init__(
        self,
        root: Root,
        folder: SafeName,
        make: Make[T],
        *,
        recursive: bool,
        links: bool,
        others: bool = False,
        within: Range = WHOLE,
        relative: bool = False,
    ) -> None:
        """Open the folder. With `relative`, names are relative to it. Raises OSError,
        NotAFolder.
        """
        self._handle = root.open_folder(folder)
        self._walk = walk = _Walk(
            root,
            self._handle,
            folder,
            make,
            links=links,
            others=others and recursive,
            relative=relative,
        )
        self._pieces = walk.recursive(within) if recursive else walk.flat()
        self._size = _FIRST_BATCH
        self.is_done = False

    def next_batch(self) -> list[T]:
        """Return BATCH things or more, but never twice as many.

        Fewer only at the beginning, at the end, where it took long, and where names are long.
        """
        step = Step()
        batch: list[T] = []
        characters = 0
        for piece in self._pieces:
            batch += piece
            characters += len(piece) * (self._walk.path_length + _SHORT_PART)
            if len(batch) >= self._size or characters > _BATCH_CHARACTERS or step.is_over:
                break
        else:
            self.is_done = True
        self._size = min(BATCH, 4 * self._size)
        return batch

    def close(self) -> None:
        self._pieces.close()
        release(self._handle)


class _Level:
    """A folder that the walk is in: its names that have not been looked at yet, the next one last;
    `rest` come after them.

    Only the folder at the end of the path knows the path, else a deep tree would take memory for
    the square of its depth: `lend_path` and `take_path_back` pass it on.
    """

    def __init__(
        self,
        below: str,
        whole: str,
        shown: str,
        names: list[str],
        handle: int,
        rest: Iterator[str] | None = None,
    ) -> None:
        self.below = (
            below  # the path from the listed folder, with a "/" at the end unless it is empty
        )
        self.whole = whole  # the same from the root of the share
        self.shown = shown  # what the names are told with
        self.names = names
        self.rest = rest
        self.handle: int | None = handle  # while it is being read
        self.may_be_long = len(whole) + _SURELY_SHORT_PART > _SURELY_SHORT_NAME

    def lend_path(self) -> None:
        """Forget the path, which a folder in this one has now."""
        self.below = self.whole = self.shown = ""

    def take_path_back(self, child: _Level) -> None:
        """Take the path from a folder in this one, which is done."""
        end = child.below.rfind("/", 0, -1) + 1 - len(child.below)
        self.below, self.whole = child.below[:end], child.whole[:end]
        self.shown = child.shown[:end]

    @property
    def is_at_end(self) -> bool:
        if not self.names and self.rest is not None:
            self.names = list(islice(self.rest, BATCH))
            self.names.reverse()
        return not self.names

    def leave_out(self) -> None:
        """Look at none of the names that are left."""
        self.names.clear()
        self.rest = None

    def close(self) -> None:
        if self.handle is not None:
            release(self.handle)
            self.handle = None


class _Walk(Generic[T]):
    def __init__(
        self,
        root: Root,
        handle: int,
        folder: SafeName,
        make: Make[T],
        *,
        links: bool,
        others: bool,
        relative: bool,
    ) -> None:
        self._root = root
        self._handle = handle
        self._make = make
        self._links = links
        self._others = others
        self._is_recursive = False
        self.path_length = 0  # of the folder that the walk is in, in characters
        self._prefix = "" if folder.is_root else f"{folder}/"
        self._shown = "" if relative else self._prefix

    def flat(self) -> Generator[list[T], None, None]:
        """What is in the folder, in the order of the file system."""
        level = _Level("", self._prefix, self._shown, [], self._handle)
        with os.scandir(self._handle) as found:
            rest = (item.name for item in found)
            while names := list(islice(rest, BATCH)):
                names.reverse()
                level.names = names
                while level.names:
                    made, folder = self._look(level, self._handle)
                    yield made if folder is None else [*made, self._folder(level, *folder)]

    def recursive(self, within: Range) -> Generator[list[T], None, None]:
        """What is below the folder: each folder before its content, siblings by the bytes of their
        names.
        """
        self._is_recursive = True
        bounds = None if within == WHOLE else _Bounds(within)
        stack: list[_Level] = []
        try:
            stack.append((yield from self._enter("", bounds)))
            while stack:
                level = stack[-1]
                self.path_length = len(level.shown)
                made, folder = self._go_on(level)
                yield made
                if folder is None:
                    if level.is_at_end:
                        stack.pop()
                        if stack:
                            stack[-1].take_path_back(level)
                    continue
                is_unreadable, below = False, f"{level.below}{folder[0]}"
                try:
                    stack.append((yield from self._enter(f"{below}/", bounds)))
                except (FileNotFoundError, NotADirectoryError):
                    continue  # gone between being listed and being read
                except OSError as error:
                    _log.warning(
                        "%s: cannot be listed: %s", escape(self._prefix + below), error.strerror
                    )
                    is_unreadable = True
                if bounds is None or bounds.is_inside(below):
                    yield [self._folder(level, *folder, unreadable=is_unreadable)]
                if not is_unreadable:
                    level.lend_path()
        finally:
            for level in stack:
                level.close()

    def _open(self, below: str) -> int:
        return self._root.confined.open_below(
            self._handle, below[:-1].split("/") if below else (), FOLDER_FLAGS
        )

    def _enter(self, below: str, bounds: _Bounds | None) -> Generator[list[T], None, _Level]:
        """Read the names of a folder, with nothing to show for it yet. Raises OSError."""
        handle = self._open(below)
        try:
            runs: list[list[str]] = []
            with os.scandir(handle) as found:
                rest = (item.name for item in found)
                while names := list(islice(rest, _RUN)):
                    if not runs:
                        _look_into(handle, names[0])
                    if bounds is not None:
                        names = [
                            name for name in names if bounds.may_hold(below + name, name, handle)
                        ]
                    names.sort(key=_order_of(names), reverse=True)
                    runs.append(names)
                    yield []
        except BaseException:
            release(handle)
            raise
        names, merged = (runs[0] if runs else [], None) if len(runs) < 2 else ([], _merged(runs))
        return _Level(below, self._prefix + below, self._shown + below, names, handle, merged)

    def _go_on(self, level: _Level) -> tuple[list[T], tuple[str, os.stat_result] | None]:
        """Look at the next names of a folder, up to the next folder in it. Raises OSError."""
        try:
            if level.handle is None:
                level.handle = self._open(level.below)
            return self._look(level, level.handle)
        except (FileNotFoundError, NotADirectoryError):
            level.leave_out()  # gone, with the rest of what was in it
            return [], None
        finally:
            level.close()

    def _look(
        self, level: _Level, handle: int
    ) -> tuple[list[T], tuple[str, os.stat_result] | None]:
        """Make things of the next names, at most BATCH, up to the next folder; give that with what
        is known of it.
        """
        made: list[T] = []
        if level.is_at_end:
            return made, None
        make, names, shown, hides = self._make, level.names, level.shown, self._root.hides
        while names and len(made) < BATCH:
            last = names.pop()
            may_be_bad = last[0] == "." or len(last) > _SURELY_SHORT_PART or level.may_be_long
            if may_be_bad and not can_be_named(level.whole + last, last):
                if last != RESERVED_PREFIX:
                    made += self._other(level, last, RESERVED if is_reserved(last) else TOO_LONG)
                continue
            if hides is not None and hides(level.whole + last):
                continue
            try:
                about = os.stat(last, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone between being listed and being looked at
            except OSError as error:
                if not self._others or error.errno in _IS_ABOUT_THE_FOLDER:
                    raise
                made += self._other(level, last, UNREADABLE)
                continue
            mode = about.st_mode
            kind = mode & 0o170000
            if kind == stat.S_IFREG:
                made.append(
                    make(
                        shown + last,
                        FILE,
                        about.st_size,
                        clamp_time(about.st_mtime_ns),
                        mode & 0o777,
                    )
                )
            elif kind == stat.S_IFDIR:
                return made, (last, about)
            elif kind == stat.S_IFLNK:
                made += (
                    self._link(level, last, handle, about)
                    if self._links
                    else self._what_link_leads_to(level, last)
                )
            else:
                made += self._other(level, last, SPECIAL)
        return made, None

    def _other(self, level: _Level, last: str, why: str) -> list[T]:
        """Give what cannot be moved, if somebody wants to know of it."""
        return [self._make(level.shown + last, OTHER, 0, 0, 0, why=why)] if self._others else []

    def _folder(
        self, level: _Level, last: str, about: os.stat_result, *, unreadable: bool = False
    ) -> T:
        return self._make(
            level.shown + last,
            FOLDER,
            0,
            clamp_time(about.st_mtime_ns),
            about.st_mode & 0o777,
            unreadable=unreadable,
        )

    def _link(self, level: _Level, last: str, handle: int, about: os.stat_result) -> list[T]:
        try:
            target = os.readlink(last, dir_fd=handle)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return []  # gone between being listed and being looked at
            raise
        # The text of one that leads outside would tell about paths of the machine, and no peer
        # could use it.
        if not leads_inside(level.whole.split("/")[:-1], target):
            return self._other(level, last, DEAD_LINK)
        return [
            self._make(
                level.shown + last,
                LINK,
                0,
                clamp_time(about.st_mtime_ns),
                about.st_mode & 0o777,
                target=target,
            )
        ]

    def _what_link_leads_to(self, level: _Level, last: str) -> list[T]:
        """Describe what stands behind a link; a folder there is not descended into."""
        try:
            about = self._root.stat(SafeName.trusted(level.whole + last))
        except OSError as error:
            if error.errno in _LEADS_NOWHERE:
                return self._other(level, last, DEAD_LINK)
            if self._others:
                return self._other(level, last, UNREADABLE)
            # Nobody knows whether it is a folder; but what is unreadable is removed nowhere else.
            return (
                [self._make(level.shown + last, FOLDER, 0, 0, 0, unreadable=True)]
                if self._is_recursive
                else []
            )
        if stat.S_ISREG(about.st_mode):
            return [
                self._make(
                    level.shown + last,
                    FILE,
                    about.st_size,
                    clamp_time(about.st_mtime_ns),
                    about.st_mode & 0o777,
                )
            ]
        if not stat.S_ISDIR(about.st_mode):
            return self._other(level, last, SPECIAL)
        return (
            self._other(level, last, FOLDER_LINK)
            if self._others
            else [self._folder(level, last, about)]
        )


def _order_of(names: list[str]) -> Callable[[str], bytes] | None:
    """Return the key that sorts names by their bytes. Characters are in that order, save the
    surrogates that stand for bytes.
    """
    return None if "".join(names).isascii() else os.fsencode


def _merged(runs: list[list[str]]) -> Iterator[str]:
    """Give the names of runs that are each sorted the other way round, in order; each run is given
    up as it is used.
    """
    key = os.fsencode if any(_order_of(run) for run in runs) else None
    return merge(*(_popped(run) for run in runs), key=key)


def _popped(run: list[str]) -> Iterator[str]:
    while run:
        yield run.pop()


class _Bounds:
    """The part of a walk that lies within a range."""

    def __init__(self, within: Range) -> None:
        self._after = sort_key(within.after)
        self._until = sort_key(within.until)

    def is_inside(self, name: str) -> bool:
        key = sort_key(name)
        return key > self._after and (not self._until or key <= self._until)

    def may_hold(self, name: str, last: str, folder: int) -> bool:
        """Whether a name is inside, or is a folder that the range may begin in."""
        if not (self._after + b"\0").startswith(sort_key(name) + b"\0"):
            return self.is_inside(name)
        try:
            return stat.S_ISDIR(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode)
        except OSError:
            return False


def _look_into(handle: int, last: str) -> None:
    """Raise OSError if names in a folder can be read, but nothing that has them can be looked at: a
    folder without its x bit.
    """
    try:
        os.stat(last, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        pass


_NOT_COUNTED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM})


def usage(root: Root, folder: SafeName) -> Work[Usage]:
    """Return what lies below a folder, links not followed; partials are below the root, the hidden
    place itself does not count.
    """
    try:
        descent = Descent(
            root.confined.open_below(root.handle, folder.parts, FOLDER_FLAGS), root.kernel
        )
    except OSError as error:
        if error.errno not in _NOT_COUNTED:
            raise
        return Usage()
    way = list(folder.parts)
    left: list[
        list[str]
    ] = []  # for each folder on the way down, those in it that are still to be counted
    try:
        total = yield from _count(descent.handle, way, left)
        while left:
            if not left[-1]:
                left.pop()
                if left:
                    descent.leave()
                    way.pop()
                continue
            last = left[-1].pop()
            try:
                descent.enter(last)
            except OSError as error:
                if error.errno not in _NOT_COUNTED:
                    raise
                continue
            way.append(last)
            total += yield from _count(descent.handle, way, left)
        return total
    finally:
        descent.close()


def _count(handle: int, way: list[str], left: list[list[str]]) -> Work[Usage]:
    """Count what is in one folder, and note the folders in it."""
    size = things = 0
    folders: list[str] = []
    left.append(folders)
    is_hidden, has_records = way[:1] == [RESERVED_PREFIX], tuple(way) == RECORDS
    with os.scandir(handle) as found:
        for item in found:
            if item.is_dir(follow_symlinks=False):
                folders.append(item.name)
                is_free = is_hidden or (not way and item.name == RESERVED_PREFIX)
                cost = 0
            else:
                is_free = has_records and item.name.endswith(RECORD)
                cost = _size_of(item) if item.is_file(follow_symlinks=False) else 0
            if not is_free:
                size += cost or THING_BYTES
                things += 1
            yield
    return Usage(size, things)


def _size_of(item: os.DirEntry[str]) -> int:
    try:
        return item.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def can_be_named(name: str, last: str) -> bool:
    """Whether names.parse_name takes it; what it refuses could be listed but never asked for."""
    if (last[0] == "." or not last.isascii()) and is_reserved(last):
        return False
    if len(last) > _SURELY_SHORT_PART and len(os.fsencode(last)) > DEFAULT_LIMITS.max_part_bytes:
        return False
    return (
        len(name) <= _SURELY_SHORT_NAME or len(os.fsencode(name)) <= DEFAULT_LIMITS.max_name_bytes
    )
