"""The links below one root lead inside, whatever else is linked, moved or removed there.

A link leads inside if its `..` come first, and are no more than the folders above it. What it names
then lies below the folder that they lead to; if a part of that is a link, the same holds for it,
from where it stands. So no combination of such links leads outside, and a link has to be looked at
again only when it comes nearer to the root: by itself, or with a folder that it is in. Links that
others put there may lead anywhere. They are not followed, and not moved.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Generator
from itertools import islice

from ftransfer.errors import ChangedMeanwhile, NameRefused
from ftransfer.names import SafeName
from ftransfer.storage.local.resolver import LeadsOutside, NameResolver, climb_of
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, PATH_FLAGS, release
from ftransfer.storage.oserrors import translated

_STEP = 4096  # names that are looked at in one job; about 3 ms
_LOOKS = 4  # at one folder, while links are made in it


class Links:
    """What makes a link, or moves a link or a folder, does it under one lock: how deep a folder
    lies is then certain.
    """

    def __init__(self, root: int) -> None:
        self.lock = threading.Lock()
        self.moves = 0  # of links and folders, and links that were made
        self._root = root

    def place(self, target: str, folder: int, name: SafeName, put: Callable[[], None]) -> None:
        """Put a link into a folder.

        Raises:
            NameRefused: It would lead outside from there.
            OSError.
        """
        with self.lock:
            self.check(target, folder, name)
            self.moves += 1
            put()

    def check(self, target: str, folder: int, name: SafeName) -> None:
        """Refuse a link that leads outside from an open folder. To be called under the lock. Raises
        NameRefused, OSError.
        """
        climb = climb_of(target)
        if climb is None or (climb and climb > self.depth_of(folder)):
            raise leads_outside(name)

    def depth_of(self, folder: int) -> int:
        """Count the folders from the root down to an open one. Raises FileNotFoundError if it has
        been moved outside.
        """
        goal, depth, handle = _identity(self._root), 0, os.dup(folder)
        try:
            here = _identity(handle)
            while here != goal:
                handle = _step(handle, "..", PATH_FLAGS | os.O_DIRECTORY)
                below, here = here, _identity(handle)
                if here == below:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                depth += 1
        finally:
            release(handle)
        return depth


class LinksBelow:
    """A look at the links in a folder that is to be moved nearer to the root, in steps. Whoever
    made it closes it.
    """

    def __init__(self, links: Links, parent: int, name: SafeName, last: LinksBelow | None) -> None:
        """Begin it, under the lock.

        Args:
            parent: The open folder that the folder `name` is in.
            last: The look that was made before, and has come to nothing.

        Raises:
            ChangedMeanwhile: That has happened too often.
        """
        self._looks: int = 1 if last is None else last._looks + 1
        if self._looks > _LOOKS:
            raise ChangedMeanwhile.about(
                name, "links or folders are moved at the same time; try again"
            )
        self._name = name
        self._moves = links.moves
        self.needs = 0  # how deep the folder above must lie, for all links to lead inside ...
        self.needed_by = ""  # ... the most of all for that one
        self._depth = links.depth_of(parent)
        self._folder = os.open(name.last, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        self._names = self._walk()

    def holds_for(self, links: Links, found: os.stat_result) -> bool:
        """Whether it was about this folder, and nothing has been moved since. To be called under
        the lock.
        """
        return links.moves == self._moves and os.path.samestat(found, os.fstat(self._folder))

    def go_on(self) -> bool:
        """Look at some more names; whether there are more."""
        with translated(self._name):
            return sum(1 for _ in islice(self._names, _STEP)) == _STEP

    def _walk(self) -> Generator[str, None, None]:
        """Go through all folders, down by their names and up by `..`: a deep tree needs no more
        descriptors than a flat one.
        """
        path: list[str] = []
        levels = [(_identity(self._folder), list[str]())]
        handle = os.dup(self._folder)
        try:
            yield from self._look(handle, path, levels[-1][1])
            while levels:
                if folders := levels[-1][1]:
                    path.append(folders.pop())
                    try:
                        handle = _step(handle, path[-1])
                    except (FileNotFoundError, NotADirectoryError):
                        path.pop()  # gone between being listed and being opened
                        continue
                    levels.append((_identity(handle), []))
                    yield from self._look(handle, path, levels[-1][1])
                    continue
                levels.pop()
                if path:
                    path.pop()
                    handle = _step(handle, "..")
                    if _identity(handle) != levels[-1][0]:
                        return  # moved by somebody; and so another look is needed
        finally:
            release(handle)

    def _look(self, handle: int, path: list[str], folders: list[str]) -> Generator[str, None, None]:
        """Look at the links in one folder, and note the folders in it."""
        with os.scandir(handle) as found:
            for item in found:
                if item.is_symlink():
                    self._note([*path, item.name], os.readlink(item.name, dir_fd=handle))
                elif item.is_dir(follow_symlinks=False):
                    folders.append(item.name)
                yield item.name

    def _note(self, parts: list[str], target: str) -> None:
        climb = climb_of(target)
        if climb is not None and self.needs < climb - len(parts) <= self._depth:
            self.needs, self.needed_by = climb - len(parts), "/".join(parts)

    def close(self) -> None:
        self._names.close()
        release(self._folder)


def leads_outside(name: SafeName) -> NameRefused:
    return NameRefused.about(name, "the link leads outside the share")


def refuse_link_outside(
    resolver: NameResolver, folder: SafeName, target: str, name: SafeName
) -> None:
    """Refuse a link that as things are leads outside: by its own text, or by a link on the way that
    others have put there.

    Raises:
        NameRefused.
    """
    if climb_of(target) is None:
        raise leads_outside(name)
    try:
        release(resolver.open((*folder.parts, *target.split("/")), PATH_FLAGS))
    except LeadsOutside:
        raise leads_outside(name) from None
    except OSError:
        pass  # it leads nowhere yet


def _step(folder: int, last: str, flags: int = FOLDER_FLAGS) -> int:
    """Open a folder next to an open one, through no link, and close that. Raises OSError, and then
    it stays open.
    """
    handle = os.open(last, flags | os.O_NOFOLLOW, dir_fd=folder)
    release(folder)
    return handle


def _identity(handle: int) -> tuple[int, int]:
    about = os.fstat(handle)
    return about.st_dev, about.st_ino
