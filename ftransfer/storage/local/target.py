"""The target of an upload: a folder held until its end, and what may be replaced there."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ftransfer.errors import (
    AlreadyThere,
    ChangedMeanwhile,
    NotAFile,
    StoreFailed,
)
from ftransfer.names import SafeName
from ftransfer.storage.base import Entry, UploadSpec
from ftransfer.storage.local.mutations import refuse_folder_link, refuse_special_target
from ftransfer.storage.local.root import Root, identity_of
from ftransfer.storage.local.syscalls import release
from ftransfer.storage.oserrors import ALREADY_EXISTS, FOLDER_THERE, translated

if TYPE_CHECKING:
    pass


class Target(NamedTuple):
    """The folder and name of an upload; the folder is resolved at its start and held to its end.

    Even if links in the path change meanwhile, the content goes into the folder meant at the start.
    """

    root: Root
    name: SafeName
    announced: UploadSpec
    folder: int
    about: os.stat_result

    def refuse(self) -> bool:
        """Raise if the upload may not be published; return whether it would replace anything.

        Raises:
            OSError.
            NotAFile, AlreadyThere, ChangedMeanwhile.
        """
        try:
            found = os.stat(self.name.last, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            if self.announced.replaces is not None:
                raise self._changed("is not there any more") from None
            return False
        if (found.st_mode & 0o170000) == 0o040000:
            raise NotAFile.about(self.name, FOLDER_THERE)
        if refuse_special_target(self.folder, self.name):
            refuse_folder_link(self.root, self.name)
        if self.announced.if_absent:
            raise AlreadyThere.about(self.name, ALREADY_EXISTS)
        if self.announced.replaces is not None and not self._is_the_same(
            self.announced.replaces, found
        ):
            raise self._changed("was changed meanwhile; get it, then decide")
        return True

    def _changed(self, how: str) -> ChangedMeanwhile:
        return ChangedMeanwhile.about(self.name, how)

    def _is_the_same(self, expected: Entry, found: os.stat_result) -> bool:
        if stat.S_ISLNK(found.st_mode):
            found = self.root.stat(self.name)  # `replaces` describes the target of the link
        return (identity_of(found), found.st_ctime_ns) == (expected.identity, expected.ctime_ns)

    def close(self) -> None:
        release(self.folder)


def aim(root: Root, name: SafeName, announced: UploadSpec) -> Target:
    """Open the target of an upload; refuse at once what could not be published at the end.

    The caller closes it.

    Raises:
        NotFound, NotAFile, AlreadyThere, ChangedMeanwhile, Forbidden, ReadOnly, StoreFailed.
    """
    if name.is_root:
        raise NotAFile("/: is a folder")
    with translated(name):
        folder = root.open_folder(name.parent)
        try:
            target = Target(root, name, announced, folder, os.fstat(folder))
            target.refuse()
            if os.access in os.supports_effective_ids and not os.access(
                ".", os.W_OK, dir_fd=folder, effective_ids=True
            ):
                _raise_if_read_only(folder)
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            _refuse_other_disk(target)
        except BaseException:
            release(folder)
            raise
    return target


def _refuse_other_disk(target: Target) -> None:
    """Refuse a folder on another file system before the upload.

    Nothing can be renamed from the staging area to it.
    """
    if target.about.st_dev != os.fstat(target.root.handle).st_dev:
        message = (
            "lies on another file system than the root of the share; share that folder by itself"
        )
        raise StoreFailed.about(target.name, message)


def _raise_if_read_only(folder: int) -> None:
    if os.fstatvfs(folder).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
