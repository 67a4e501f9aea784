"""The folders on the path of a walk: their names in order, and which of them may be listed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import islice

from ftransfer.limits import DEFAULT_LIMITS
from ftransfer.names import is_reserved, sort_key
from ftransfer.storage.base import (
    Range,
)
from ftransfer.storage.local.syscalls import release

BATCH = 1024  # things; about 3 ms of one thread
BATCH_CHARACTERS = 512 * 1024  # of names: deep in a tree, where they are long, a batch is smaller
SHORT_PART = 64  # the assumed length of the last part of a name
# A character takes four bytes at most, so shorter text need not be encoded to know that it is
# within the limit.
SURELY_SHORT_NAME = DEFAULT_LIMITS.max_name_bytes // 4
SURELY_SHORT_PART = DEFAULT_LIMITS.max_part_bytes // 4


class Level:
    """A folder on the path of a walk, with its names still to visit, the next one last.

    `rest` follow after them. Only the folder at the end of the path stores the path, or memory
    would grow with the square of the depth: `lend_path` and `take_path_back` pass it on.
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
        self.below = below  # the path from the listed folder, with a final "/" unless it is empty
        self.whole = whole  # the same from the root of the share
        self.shown = shown  # prefix of the names in the listing
        self.names = names
        self.rest = rest
        self.handle: int | None = handle  # while it is being read
        self.may_be_long = len(whole) + SURELY_SHORT_PART > SURELY_SHORT_NAME

    def lend_path(self) -> None:
        """Forget the path, which a subfolder has now."""
        self.below = self.whole = self.shown = ""

    def take_path_back(self, child: Level) -> None:
        """Take the path back from a subfolder that is done."""
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
        """Skip the remaining names."""
        self.names.clear()
        self.rest = None

    def close(self) -> None:
        if self.handle is not None:
            release(self.handle)
            self.handle = None


def order_of(names: list[str]) -> Callable[[str], bytes] | None:
    """Return the key that sorts names by their bytes; None if text order is the same.

    It is, except for the surrogates that stand for bytes.
    """
    return None if "".join(names).isascii() else os.fsencode


def merge_runs(runs: list[list[str]]) -> Iterator[str]:
    """Merge runs of names that are each sorted backwards; each run is emptied as it is used."""
    key = os.fsencode if any(order_of(run) for run in runs) else None
    return merge(*(_popped(run) for run in runs), key=key)


def _popped(run: list[str]) -> Iterator[str]:
    while run:
        yield run.pop()


class Bounds:
    """The part of a walk within a range."""

    def __init__(self, within: Range) -> None:
        self._after = sort_key(within.after)
        self._until = sort_key(within.until)

    def is_inside(self, name: str) -> bool:
        key = sort_key(name)
        return key > self._after and (not self._until or key <= self._until)

    def may_hold(self, name: str, last: str, folder: int) -> bool:
        """Return whether a name is inside, or is a folder in which the range may begin."""
        if not (self._after + b"\0").startswith(sort_key(name) + b"\0"):
            return self.is_inside(name)
        try:
            return stat.S_ISDIR(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode)
        except OSError:
            return False


def look_into(handle: int, last: str) -> None:
    """Raise OSError if a folder can be listed but its content cannot be examined (no x bit)."""
    try:
        os.stat(last, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        pass


def can_be_named(name: str, last: str) -> bool:
    """Return whether names.parse_name accepts a name; others could be listed but not requested."""
    if (last[0] == "." or not last.isascii()) and is_reserved(last):
        return False
    if len(last) > SURELY_SHORT_PART and len(os.fsencode(last)) > DEFAULT_LIMITS.max_part_bytes:
        return False
    return len(name) <= SURELY_SHORT_NAME or len(os.fsencode(name)) <= DEFAULT_LIMITS.max_name_bytes
