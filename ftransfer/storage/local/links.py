"""Keeping the links below one root inside it, whatever else is linked, moved or removed there.

A link leads inside if its `..` come first, and are no more than the folders above it. Its target is
then below the folder that they lead to; if a part of the target is a link, the same holds for that,
from its place. So no combination of such links leads outside, and a link must be checked again only
when it moves nearer to the root, alone or with a folder that it is in. Links that other programs
made may lead anywhere. They are not followed, and not moved.
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

_STEP = 4096  # names checked in one job; about 3 ms
_LOOKS = 4  # checks of one folder, while links are made in it


class Links:
    """Checks links under one lock, held to make links and to move links or folders.

    So the depth of each folder is certain.
    """

    def __init__(self, root: int) -> None:
        self.lock = threading.Lock()
        self.moves = 0  # of links and folders, and new links
        self._root = root

    def place(self, target: str, folder: int, name: SafeName, put: Callable[[], None]) -> None:
        """Put a link into a folder.

        Raises:
            NameRefused: The link would lead outside.
            OSError.
        """
        with self.lock:
            self.check(target, folder, name)
            self.moves += 1
            put()

    def check(self, target: str, folder: int, name: SafeName) -> None:
        """Refuse a link that leads outside from an open folder. Call it under the lock.

        Raises:
            NameRefused, OSError.
        """
        climb = climb_of(target)
        if climb is None or (climb and climb > self.depth_of(folder)):
            raise leads_outside(name)

    def depth_of(self, folder: int) -> int:
        """Return the number of folders from the root down to an open one.

        Raises:
            FileNotFoundError: The folder has been moved outside.
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
    """A check, in steps, of the links in a folder that is to move nearer to the root.

    The caller closes it.
    """

    def __init__(self, links: Links, parent: int, name: SafeName, last: LinksBelow | None) -> None:
        """Begin the check, under the lock.

        Args:
            parent: The open parent of the folder `name`.
            last: The previous check, which a move has made invalid.

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
        self.needs = 0  # the depth of the parent that all links need to lead inside ...
        self.needed_by = ""  # ... and the link that needs the most
        self._depth = links.depth_of(parent)
        self._folder = os.open(name.last, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        self._names = self._walk()

    def holds_for(self, links: Links, found: os.stat_result) -> bool:
        """Return whether it checked this folder and nothing moved since. Call it under the lock."""
        return links.moves == self._moves and os.path.samestat(found, os.fstat(self._folder))

    def go_on(self) -> bool:
        """Check some more names; return whether there are more."""
        with translated(self._name):
            return sum(1 for _ in islice(self._names, _STEP)) == _STEP

    def _walk(self) -> Generator[str, None, None]:
        """Walk all folders, down by their names and up by `..`.

        A deep tree needs no more descriptors than a flat one.
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
                        path.pop()  # removed between being listed and being opened
                        continue
                    levels.append((_identity(handle), []))
                    yield from self._look(handle, path, levels[-1][1])
                    continue
                levels.pop()
                if path:
                    path.pop()
                    handle = _step(handle, "..")
                    if _identity(handle) != levels[-1][0]:
                        return  # moved by someone, so another check is needed
        finally:
            release(handle)

    def _look(self, handle: int, path: list[str], folders: list[str]) -> Generator[str, None, None]:
        """Check the links in one folder, and note its subfolders."""
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
    """Refuse a link that now leads outside, by its text or by another program's link in its path.

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
    """Open the parent or a child of an open folder, through no link, and close the old handle.

    Raises:
        OSError: The old handle stays open.
    """
    handle = os.open(last, flags | os.O_NOFOLLOW, dir_fd=folder)
    release(folder)
    return handle


def _identity(handle: int) -> tuple[int, int]:
    about = os.fstat(handle)
    return about.st_dev, about.st_ino
