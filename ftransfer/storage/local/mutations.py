"""Changes to names: making and moving things below an open root.

One function for each change; all block and run as one job. Names are reached through the name
resolver, the last part by the handle of its folder, so that a link is changed itself and never its
target.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from ftransfer.errors import (
    AlreadyThere,
    FolderNotEmpty,
    NameRefused,
    NotAFile,
    NotAFolder,
)
from ftransfer.names import SafeName, escape
from ftransfer.storage.local.links import LinksBelow
from ftransfer.storage.local.root import Root, refuse_special, times_of
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, exists, release
from ftransfer.storage.oserrors import (
    ALREADY_EXISTS,
    FILE_THERE,
    FOLDER_THERE,
    FULL_FOLDER_THERE,
    NOT_BESIDE,
    Override,
    translated,
)

# Errors of the system when one kind of thing would replace another.
KIND_CLASH: Override = {
    errno.EISDIR: (NotAFile, FOLDER_THERE),
    errno.ENOTDIR: (NotAFolder, FILE_THERE),
    errno.ENOTEMPTY: (
        FolderNotEmpty,
        FULL_FOLDER_THERE,
    ),
    errno.EEXIST: (AlreadyThere, ALREADY_EXISTS),
}


def make_folder(root: Root, name: SafeName, *, parents: bool) -> None:
    """Make one folder, or with `parents` all missing ones."""
    with translated(name):
        if parents:
            release(ensure_folder(root, name))
            return
        if name.is_root:
            raise AlreadyThere("/: is the root of the share, which is always there")
        parent = root.open_folder(name.parent)
        try:
            os.mkdir(name.last, 0o777, dir_fd=parent)
            root.sync_folder(parent)
        finally:
            release(parent)


def ensure_folder(root: Root, name: SafeName, changed: Callable[[int], None] | None = None) -> int:
    """Open a folder; make it and its parents if they are missing.

    Args:
        changed: Called with the handle of each folder with a new name in it, to sync it now or
            later; None syncs at once.

    Raises:
        OSError.
        NotAFolder: A file has the name, or that of a parent.
    """
    missing: list[str] = []
    there = name
    while True:
        try:
            handle = root.open_folder(there)
            break
        except FileNotFoundError:
            if there.is_root:
                raise
            missing.append(there.last)
            there = there.parent
        except NotADirectoryError as error:
            raise NotAFolder.about(name, "a part of the name is a file, not a folder") from error
    while missing:
        last = missing.pop()
        is_made = False
        try:
            os.mkdir(last, 0o777, dir_fd=handle)
            is_made = True
            (changed or root.sync_folder)(handle)
        except FileExistsError:
            # Just made by another job; or a link that leads nowhere, which the next line finds
            pass
        except BaseException:
            release(handle)
            raise
        try:
            below = root.resolver.open_below(handle, (last,), FOLDER_FLAGS)
        finally:
            release(handle)
        handle = below
        if is_made:
            try:
                root.note_made(os.fstat(handle))
            except BaseException:
                release(handle)
                raise
    return handle


def set_attributes(root: Root, name: SafeName, mtime_ns: int | None, mode: int | None) -> None:
    if name.is_root:
        raise NameRefused(
            "/: the attributes of the root of the share cannot be changed; its owner does that on"
            " the machine"
        )
    with translated(name):
        handle, found = root.open_served(name)
        try:
            if mode is not None:
                os.fchmod(
                    handle,
                    (
                        folder_mode(mode, found.st_mode)
                        if stat.S_ISDIR(found.st_mode)
                        else mode & 0o777
                    ),
                )
            if mtime_ns is not None:
                os.utime(handle, ns=times_of(mtime_ns))
            if root.durable:
                root.kernel.sync_file(handle)
        finally:
            release(handle)


def folder_mode(mode: int, there: int) -> int:
    """Return the permission bits to set on a folder that has the mode `there`.

    A store never locks itself out: it is the owner, whose bits stay. Peers cannot change set-gid
    and sticky bits.
    """
    return mode & 0o777 | 0o700 | there & 0o7000


def rename(
    root: Root, old: SafeName, new: SafeName, *, replace: bool, seen: LinksBelow | None = None
) -> LinksBelow | None:
    """Move a thing; return None when done, or a check of links to finish first.

    Then call it again with that as `seen`.
    """
    if old.is_root or new.is_root:
        raise NameRefused("/: the root of the share cannot be moved or replaced")
    if new != old and new.is_within(old):
        raise NameRefused.about(old, "a folder cannot be moved into itself")
    with translated(old):
        source = root.open_folder(old.parent)
    try:
        with translated(new):
            target = root.open_folder(new.parent)
        try:
            with translated(new, KIND_CLASH), root.lock_of(os.fstat(target), new.last):
                if replace:
                    refuse_special_target(target, new)
                    _refuse_hidden_target(root, target, new)
                with root.links.lock:
                    with translated(old):
                        look = _keep_links_inside(root, source, old, target, new, seen)
                    if look is not None:
                        return look
                    move = root.kernel.rename if replace else root.kernel.rename_new
                    move(old.last, new.last, source, target)
                root.sync_folder(target)
                root.sync_folder(source)
        finally:
            release(target)
    finally:
        release(source)
    return None


def _keep_links_inside(
    root: Root, source: int, old: SafeName, target: int, new: SafeName, seen: LinksBelow | None
) -> LinksBelow | None:
    """Refuse to move links so that they lead outside, under the lock.

    Return the check of links to finish before that is known, or None.
    """
    found = os.stat(old.last, dir_fd=source, follow_symlinks=False)
    root.resolver.refuse_hidden(found)
    if stat.S_ISLNK(found.st_mode):
        root.links.check(os.readlink(old.last, dir_fd=source), target, new)
        root.links.moves += 1
        return None
    refuse_special(found, old)
    if not stat.S_ISDIR(found.st_mode):
        return None
    depth = root.links.depth_of(target)
    if depth < root.links.depth_of(source):
        if seen is None or not seen.holds_for(root.links, found):
            return LinksBelow(root.links, source, old, seen)
        if seen.needs > depth:
            message = (
                f"cannot be moved there: the link {escape(seen.needed_by)} in it"
                " would lead outside the share"
            )
            raise NameRefused.about(old, message)
    root.links.moves += 1
    return None


def exchange(root: Root, old: SafeName, new: SafeName) -> bool:
    """Exchange the names of two things in one folder in one step.

    Return False if nothing has the second name; the first is then to be moved there.

    Raises:
        NameRefused: The names are not in the same folder.
    """
    if old.is_root or new.is_root or old.parent != new.parent:
        raise NameRefused.about(new, f"{NOT_BESIDE}")
    with translated(old):
        folder = root.open_folder(old.parent)
        try:
            with root.lock_of(os.fstat(folder), new.last), root.links.lock:
                if old == new or not exists(new.last, folder):
                    return False
                refuse_special_target(folder, old)
                refuse_special_target(folder, new)
                _refuse_hidden_target(root, folder, new)
                root.resolver.refuse_hidden(os.stat(old.last, dir_fd=folder, follow_symlinks=False))
                root.links.moves += 1
                root.kernel.exchange(old.last, new.last, folder)
            root.sync_folder(folder)
        finally:
            release(folder)
    return True


def _refuse_hidden_target(root: Root, folder: int, name: SafeName) -> None:
    try:
        found = os.stat(name.last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    root.resolver.refuse_hidden(found)


def refuse_special_target(folder: int, name: SafeName) -> bool:
    """Return whether a link has the name.

    Raises:
        NotAFile: A fifo, socket or device has it, which is not part of the share.
    """
    try:
        found = os.stat(name.last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(found.st_mode):
        return True
    refuse_special(found, name)
    return False


def refuse_folder_link(root: Root, name: SafeName) -> None:
    """Refuse to replace a link to a folder with a file: the link would be lost. Raises NotAFile."""
    try:
        about = root.stat(name)
    except OSError:
        return  # it leads nowhere
    if stat.S_ISDIR(about.st_mode):
        raise NotAFile.about(name, "is a link to a folder; a file cannot replace it")
