"""Many small files in one job: read for a pack, or verified and published from one.

It makes only the necessary calls per file: names are opened from handles of their folders, which
are resolved once and held. Durable groups of GROUP or more are synced with one syncfs before the
renames and one round after, since a thousand fsyncs cost a thousand times the disk's latency;
syncfs also waits for what other programs have just written to that disk.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError, NameRefused, StoreFailed
from ftransfer.limits import clamp_time
from ftransfer.names import NameReader, SafeName, encode_name
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry, SmallFile
from ftransfer.storage.local.bulk_content import READ_SMALL_FLAGS, BufferSlice, read_content
from ftransfer.storage.local.folders import GROUP, MAX_HELD, Folders, HeldFolder
from ftransfer.storage.local.links import refuse_link_outside
from ftransfer.storage.local.mutations import (
    KIND_CLASH,
    folder_mode,
    refuse_folder_link,
    refuse_special_target,
)
from ftransfer.storage.local.root import Root, entry_of, refuse_special, times_of
from ftransfer.storage.local.staged_folder import NewFolder, can_stand_in
from ftransfer.storage.local.staging import StagingArea
from ftransfer.storage.local.syscalls import PATH_FLAGS, exists, release
from ftransfer.storage.oserrors import Override, translate
from ftransfer.storage.small_files import PackItem, content_differs
from ftransfer.system.threads import reusable_buffer

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read_small(root: Root, names: Iterable[SafeName], max_bytes: int) -> list[PackItem]:
    """Read files up to `max_bytes` of content; see small_files.read_small."""
    items: list[PackItem] = []
    left = max_bytes
    buffer = BufferSlice(reusable_buffer(max_bytes))
    with Folders(root, PATH_FLAGS | os.O_DIRECTORY) as folders:
        for name in names:
            try:
                item = _read_one(
                    root, folders, name, buffer, max_bytes, left if items else max_bytes
                )
            except OSError as error:
                items.append(_caused(translate(error, name), error))
                continue
            except FtransferError as error:
                items.append(error)
                continue
            if item is None:
                break
            items.append(item)
            if isinstance(item, SmallFile):
                left -= len(item.data)
    return items


def _read_one(
    root: Root, folders: Folders, name: SafeName, buffer: BufferSlice, max_bytes: int, left: int
) -> SmallFile | Entry | None:
    """Read one thing; return None if its content exceeds `left` bytes."""
    if name.is_root:
        return _folder_item(name, os.fstat(root.handle))
    folder = folders.open(name.parent).handle
    found = os.stat(name.last, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode):
        if found.st_size > left:
            return entry_of(str(name), found) if found.st_size > max_bytes else None
        handle = os.open(name.last, READ_SMALL_FLAGS, dir_fd=folder)
    else:
        if not stat.S_ISLNK(found.st_mode):
            refuse_special(found, name)
        handle, found = root.open_served(name)
    try:
        if stat.S_ISDIR(found.st_mode):
            return _folder_item(name, found)
        if found.st_size > left:
            return entry_of(str(name), found) if found.st_size > max_bytes else None
        return read_content(handle, str(name), found, buffer)
    finally:
        release(handle)


def _folder_item(name: SafeName, found: os.stat_result) -> SmallFile:
    return SmallFile(str(name), FOLDER, clamp_time(found.st_mtime_ns), found.st_mode & 0o777)


class _Staged(NamedTuple):
    """A file or link that is complete under a temporary name."""

    position: int  # among the files of the group
    folder: SafeName
    last: str
    temporary: str
    source: int  # the handle of the folder that it is in


def write_small(
    root: Root, staging: StagingArea, files: Sequence[SmallFile]
) -> list[FtransferError | None]:
    """Verify and publish files, folders and links; see small_files.write_small."""
    with Folders(root) as folders:
        group = _PackWriter(root, staging, folders, files)
        try:
            group.stage()
            group.publish()
        finally:
            group.close()
    return group.results


class _PackWriter:
    """Publishes a group with one round of syncs: content first, then names, as for one file."""

    def __init__(
        self, root: Root, staging: StagingArea, folders: Folders, files: Sequence[SmallFile]
    ) -> None:
        self._root = root
        self._staging = staging
        self._folders = folders
        self._files = files
        self._syncs_each = root.durable and (len(files) < GROUP or not root.kernel.has_sync_all)
        self._syncs_group = root.durable and not self._syncs_each
        self._staged: list[_Staged] = []
        self._made: list[
            tuple[int, SafeName]
        ] = []  # folders, which get their attributes after their content
        self._temp = -1
        self._folder: SafeName | None = None  # the last one that was found or made; if new, ...
        self._into: NewFolder | None = None  # ... it is filled here
        self._new: dict[
            SafeName, tuple[NewFolder, list[tuple[int, str]]]
        ] = {}  # with positions and names of their files
        self._pending = StoreFailed("not yet written")
        self.results: list[FtransferError | None] = [self._pending] * len(files)

    def stage(self) -> None:
        """Store everything under temporary names; after this the content is durable."""
        # The caller has checked the names; but they arrive as text, and a bad one would lead
        # outside.
        names = NameReader().split_all([file.name for file in self._files])
        for index, (file, name) in enumerate(zip(self._files, names, strict=True)):
            try:
                if isinstance(name, NameRefused):
                    raise name
                folder, last = name
                if file.kind == FILE:
                    self._stage_file(index, folder, last, file)
                elif file.kind == LINK:
                    self._stage_link(index, folder, last, file)
                else:
                    whole = SafeName((*folder.parts, last))
                    self._folders.make(whole)
                    self._made.append((index, whole))
            except OSError as error:
                self._fail(index, error)
            except FtransferError as error:
                self.results[index] = error
        if self._syncs_group:
            try:
                self._root.kernel.sync_all(self._root.handle)
            except OSError as error:
                self._fail_all(error)

    def _stage_file(self, index: int, folder: SafeName, last: str, file: SmallFile) -> None:
        name, _, mtime_ns, mode, data, digest, _, _ = file
        actual = digest_of(data)
        if actual != digest:
            raise content_differs(name, digest, actual)
        if folder is not self._folder:  # files of one folder are mostly consecutive
            self._into = self._enter(folder)
            self._folder = folder
        mode &= 0o777
        temp, temporary = (
            (self._into.handle, last) if self._into is not None else self._new_temporary()
        )
        try:
            handle = os.open(temporary, _MAKE, mode, dir_fd=temp)
        except FileExistsError:  # the same name again: it is published after the first, on its own
            temp, temporary = self._new_temporary()
            handle = os.open(temporary, _MAKE, mode, dir_fd=temp)
        try:
            try:
                written = os.write(handle, data)
                while written < len(data):
                    written += os.write(handle, memoryview(data)[written:])
                if mode & self._root.umask:
                    os.fchmod(handle, mode)
                os.utime(handle, ns=times_of(mtime_ns))
                if self._syncs_each:
                    self._root.kernel.sync_file(handle)
            finally:
                os.close(
                    handle
                )  # some network file systems report only on close that they are full
        except BaseException:
            if self._into is not None:
                self._into.is_whole = False
            os.unlink(temporary, dir_fd=temp)
            raise
        if temporary is last:
            self._new[folder][1].append((index, last))
        else:
            self._staged.append(_Staged(index, folder, last, temporary, temp))

    def _enter(self, folder: SafeName) -> NewFolder | None:
        """Open or make a folder for files.

        If nothing has its name, and it inherits nothing, return a NewFolder to fill; else None.
        """
        if folder in self._new:
            return self._new[folder][0]
        if not folder.is_root and len(self._new) < MAX_HELD and not self._folders.holds(folder):
            parent, temp = self._folders.make(folder.parent), self._temporary_folder()
            if not exists(folder.last, parent.handle) and can_stand_in(
                temp, parent.handle, parent.about
            ):
                new = NewFolder(temp, self._staging.new_name())
                self._new[folder] = (new, [])
                return new
        self._folders.make(folder)
        return None

    def _stage_link(self, index: int, folder: SafeName, last: str, file: SmallFile) -> None:
        encode_name(file.target)  # raises if it is not text
        self._folders.make(folder)
        refuse_link_outside(
            self._root.resolver, folder, file.target, SafeName((*folder.parts, last))
        )
        temp, temporary = self._new_temporary()
        os.symlink(file.target, temporary, dir_fd=temp)
        try:
            os.utime(temporary, ns=times_of(file.mtime_ns), dir_fd=temp, follow_symlinks=False)
        except BaseException:
            os.unlink(temporary, dir_fd=temp)
            raise
        self._staged.append(_Staged(index, folder, last, temporary, temp))

    def _new_temporary(self) -> tuple[int, str]:
        """Return a folder and a free name for a temporary file."""
        return self._temporary_folder(), self._staging.new_name()

    def _temporary_folder(self) -> int:
        if self._temp < 0:
            self._temp = self._staging.temp()
        return self._temp

    def publish(self) -> None:
        """Rename everything to its final name; after this the names are durable."""
        for name, (new, files) in self._new.items():
            if files and not (new.is_whole and self._publish_whole(name, new, files)):
                self._staged += _each_of(name, new, files)
        folder, its_name = None, None
        for staged in self._staged:
            try:
                if folder is None or staged.folder is not its_name:
                    folder, its_name = self._folders.make(staged.folder), staged.folder
                self._publish_one(staged, folder)
            except OSError as error:
                self._fail(staged.position, error, KIND_CLASH)
                self._discard(staged)
            except FtransferError as error:
                self.results[staged.position] = error
                self._discard(staged)
        for index, name in self._made:
            try:
                self._finish_folder(name, self._files[index])
                self.results[index] = None
            except OSError as error:
                self._fail(index, error)
        try:
            self._folders.sync()
        except OSError as error:
            self._fail_all(error)

    def _publish_whole(
        self, name: SafeName, new: NewFolder, files: Sequence[tuple[int, str]]
    ) -> bool:
        """Publish a new folder with its content; return False if that failed.

        Something else may have taken the name.
        """
        try:
            parent, about = self._folders.make(name.parent), os.fstat(new.handle)
            with self._root.lock_of(parent.about, name.last):
                self._root.kernel.rename_new(new.temporary, name.last, self._temp, parent.handle)
        except (OSError, FtransferError):
            return False  # publishing each file will show any other error
        new.is_published = True
        self._root.note_made(about)
        try:
            self._folders.note(parent)
            self._folders.note_handle(new.handle)
        except OSError as error:
            for index, _ in files:
                self._fail(index, error)
            return True
        for index, _ in files:
            self.results[index] = None
        return True

    def _publish_one(self, staged: _Staged, folder: HeldFolder) -> None:
        index, folder_name, last, temporary, source = staged
        with self._root.lock_of(folder.about, last):
            file = self._files[index]
            name = SafeName((*folder_name.parts, last))
            if (
                not folder.is_ours
                and refuse_special_target(folder.handle, name)
                and file.kind == FILE
            ):
                refuse_folder_link(self._root, name)
            rename = self._root.kernel.rename_new if file.if_absent else self._root.kernel.rename
            if file.kind == LINK:
                self._root.links.place(
                    file.target,
                    folder.handle,
                    name,
                    lambda: rename(temporary, last, source, folder.handle),
                )
            else:
                rename(temporary, last, source, folder.handle)
        self.results[index] = None
        self._folders.note(folder)

    def _finish_folder(self, name: SafeName, file: SmallFile) -> None:
        folder = self._folders.make(name)
        if not file.if_absent:
            os.fchmod(folder.handle, folder_mode(file.mode, os.fstat(folder.handle).st_mode))
            os.utime(folder.handle, ns=times_of(file.mtime_ns))
            self._folders.note(folder)  # its attributes are synced with it

    def _fail(self, index: int, error: OSError, override: Override | None = None) -> None:
        self.results[index] = _caused(translate(error, self._files[index].name, override), error)

    def _fail_all(self, error: OSError) -> None:
        """Fail the group after an error of the disk: report nothing as done, publish no more."""
        for index, result in enumerate(self.results):
            if result is None or result is self._pending:
                self._fail(index, error)
        for name, (new, files) in self._new.items():
            if not new.is_published:
                self._staged += _each_of(name, new, files)
                files.clear()
        for staged in self._staged:
            self._discard(staged)
        self._staged.clear()
        self._made.clear()

    def close(self) -> None:
        for new, _ in self._new.values():
            new.close()

    def _discard(self, staged: _Staged) -> None:
        try:
            os.unlink(staged.temporary, dir_fd=staged.source)
        except FileNotFoundError:
            pass


def _each_of(name: SafeName, new: NewFolder, files: Sequence[tuple[int, str]]) -> Iterator[_Staged]:
    """Return the files in a new folder as if each were staged on its own."""
    return (_Staged(index, name, last, last, new.handle) for index, last in files)


def _caused(error: FtransferError, cause: OSError) -> FtransferError:
    error.__cause__ = cause
    return error
