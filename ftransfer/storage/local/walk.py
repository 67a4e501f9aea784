"""An open folder -> batches of what is in or below it: entries, or lines to compare (base.line_of).

One job returns one batch, so that a folder of a million files costs a thousand hops between
threads; a job that takes long returns what it has. The recursive walk holds only the names of each
folder on its path, which it sorts. No handle is held for the folders above the one being read: a
deep tree costs no more descriptors than a flat one.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Generator
from itertools import islice
from typing import Generic, Protocol, TypeVar

from ftransfer.limits import clamp_time
from ftransfer.names import RESERVED_PREFIX, SafeName, escape, is_reserved
from ftransfer.storage.base import (
    DEAD_LINK,
    FILE,
    FOLDER,
    FOLDER_LINK,
    LINK,
    OTHER,
    RESERVED,
    SPECIAL,
    TOO_LONG,
    UNREADABLE,
    WHOLE,
    Range,
)
from ftransfer.storage.local.levels import (
    BATCH,
    BATCH_CHARACTERS,
    SHORT_PART,
    SURELY_SHORT_PART,
    Bounds,
    Level,
    can_be_named,
    look_into,
    merge_runs,
    order_of,
)
from ftransfer.storage.local.resolver import leads_inside
from ftransfer.storage.local.root import Root
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, release
from ftransfer.system.turns import TimeSlice

_log = logging.getLogger(__name__)
# The most names sorted at once, during which no other thread runs. These runs are merged as needed.
_RUN = 8192
_FIRST_BATCH = 64  # small, so that it comes soon
# Errors for links whose target can never be reached. Any other error must not drop things from a
# listing: a peer that mirrors the folder would remove them.
_LEADS_NOWHERE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.EINVAL}
)
# Errors that every other name would give too: the folder cannot be read.
_IS_ABOUT_THE_FOLDER = frozenset(
    {errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EBADF, errno.ESTALE}
)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Make(Protocol[T_co]):
    """Makes one item of a batch: base.Entry, or base.line_of."""

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


class FolderListing(Generic[T]):
    """A listing in progress. Methods block and must not overlap; the caller closes it."""

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
        """Open the folder; `relative` makes names relative to it. Raises OSError, NotAFolder."""
        self._handle = root.open_folder(folder)
        self._walk = walk = _FolderWalk(
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
        """Return at least BATCH items, but fewer than twice as many.

        Fewer than BATCH only at the start, at the end, when it takes long, and when names are long.
        """
        time_slice = TimeSlice()
        batch: list[T] = []
        characters = 0
        for piece in self._pieces:
            batch += piece
            characters += len(piece) * (self._walk.path_length + SHORT_PART)
            if len(batch) >= self._size or characters > BATCH_CHARACTERS or time_slice.is_over:
                break
        else:
            self.is_done = True
        self._size = min(BATCH, 4 * self._size)
        return batch

    def close(self) -> None:
        self._pieces.close()
        release(self._handle)


class _FolderWalk(Generic[T]):
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
        """Yield what is in the folder, in the order of the file system."""
        level = Level("", self._prefix, self._shown, [], self._handle)
        with os.scandir(self._handle) as found:
            rest = (item.name for item in found)
            while names := list(islice(rest, BATCH)):
                names.reverse()
                level.names = names
                while level.names:
                    made, folder = self._look(level, self._handle)
                    yield made if folder is None else [*made, self._folder(level, *folder)]

    def recursive(self, within: Range) -> Generator[list[T], None, None]:
        """Yield what is below the folder, each folder before its content.

        Siblings are ordered by the bytes of their names.
        """
        self._is_recursive = True
        bounds = None if within == WHOLE else Bounds(within)
        stack: list[Level] = []
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
                    continue  # removed between being listed and being read
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
        return self._root.resolver.open_below(
            self._handle, below[:-1].split("/") if below else (), FOLDER_FLAGS
        )

    def _enter(self, below: str, bounds: Bounds | None) -> Generator[list[T], None, Level]:
        """Read the names of a folder, yielding empty batches meanwhile. Raises OSError."""
        handle = self._open(below)
        try:
            runs: list[list[str]] = []
            with os.scandir(handle) as found:
                rest = (item.name for item in found)
                while names := list(islice(rest, _RUN)):
                    if not runs:
                        look_into(handle, names[0])
                    if bounds is not None:
                        names = [
                            name for name in names if bounds.may_hold(below + name, name, handle)
                        ]
                    names.sort(key=order_of(names), reverse=True)
                    runs.append(names)
                    yield []
        except BaseException:
            release(handle)
            raise
        names, merged = (runs[0] if runs else [], None) if len(runs) < 2 else ([], merge_runs(runs))
        return Level(below, self._prefix + below, self._shown + below, names, handle, merged)

    def _go_on(self, level: Level) -> tuple[list[T], tuple[str, os.stat_result] | None]:
        """Visit the next names of a folder, up to its next subfolder. Raises OSError."""
        try:
            if level.handle is None:
                level.handle = self._open(level.below)
            return self._look(level, level.handle)
        except (FileNotFoundError, NotADirectoryError):
            level.leave_out()  # the folder is gone, with its remaining content
            return [], None
        finally:
            level.close()

    def _look(self, level: Level, handle: int) -> tuple[list[T], tuple[str, os.stat_result] | None]:
        """Make items of the next names, at most BATCH, up to the next subfolder.

        Return the items, and that subfolder with its stat.
        """
        made: list[T] = []
        if level.is_at_end:
            return made, None
        make, names, shown, hides = self._make, level.names, level.shown, self._root.hides
        while names and len(made) < BATCH:
            last = names.pop()
            may_be_bad = last[0] == "." or len(last) > SURELY_SHORT_PART or level.may_be_long
            if may_be_bad and not can_be_named(level.whole + last, last):
                if last != RESERVED_PREFIX:
                    made += self._other(level, last, RESERVED if is_reserved(last) else TOO_LONG)
                continue
            if hides is not None and hides(level.whole + last):
                continue
            try:
                about = os.stat(last, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed between being listed and being examined
            except OSError as error:
                if not self._others or error.errno in _IS_ABOUT_THE_FOLDER:
                    raise
                made += self._other(level, last, UNREADABLE)
                continue
            mode = about.st_mode
            kind = mode & 0o170000
            if kind == stat.S_IFREG:
                mtime_ns = clamp_time(about.st_mtime_ns)
                made.append(make(shown + last, FILE, about.st_size, mtime_ns, mode & 0o777))
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

    def _other(self, level: Level, last: str, why: str) -> list[T]:
        """Return an entry for what cannot be transferred, if the caller wants these."""
        return [self._make(level.shown + last, OTHER, 0, 0, 0, why=why)] if self._others else []

    def _folder(
        self, level: Level, last: str, about: os.stat_result, *, unreadable: bool = False
    ) -> T:
        return self._make(
            level.shown + last,
            FOLDER,
            0,
            clamp_time(about.st_mtime_ns),
            about.st_mode & 0o777,
            unreadable=unreadable,
        )

    def _link(self, level: Level, last: str, handle: int, about: os.stat_result) -> list[T]:
        try:
            target = os.readlink(last, dir_fd=handle)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return []  # removed between being listed and being examined
            raise
        # The text of a link that leads outside would reveal paths of the machine, and no peer could
        # use it.
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

    def _what_link_leads_to(self, level: Level, last: str) -> list[T]:
        """Describe the target of a link; a folder there is not descended into."""
        try:
            about = self._root.stat(SafeName.trusted(level.whole + last))
        except OSError as error:
            if error.errno in _LEADS_NOWHERE:
                return self._other(level, last, DEAD_LINK)
            if self._others:
                return self._other(level, last, UNREADABLE)
            # It may be no folder; but a peer does not remove what is listed as unreadable.
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
