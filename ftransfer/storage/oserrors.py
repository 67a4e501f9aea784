"""OSError -> the errors of the package: the only place that translates it.

One table maps errno to class and sentence. A sentence contains the wire name, made safe to print;
the message of the operating system (real paths) goes to the log through `raise ... from`, never to
a peer.
"""

from __future__ import annotations

import errno
from types import TracebackType

from ftransfer.errors import (
    AlreadyThere,
    DiskFull,
    FolderNotEmpty,
    Forbidden,
    NameRefused,
    NotAFile,
    NotFound,
    ReadOnly,
    ShareError,
    StoreFailed,
)
from ftransfer.names import SafeName

# Each with what to do about it, in terms of our own clients.
ALREADY_EXISTS = "already exists"
IS_FOLDER = "is not a file but a folder; get -r receives folders"
FOLDER_THERE = "is a folder; a file cannot replace it"
FILE_THERE = "is a file; a folder cannot replace it"
FULL_FOLDER_THERE = "is a folder that is not empty; nothing can replace it"
HOLDS_HIDDEN = "is a folder that holds hidden files, which stay; nothing can replace it"
LEAVES_HIDDEN = "holds hidden files, which stay; all else in it is removed"
NOT_BESIDE = "only something in the same folder can replace it"
NOT_EMPTY = "the folder is not empty; rm -r removes it with its content"

_SENTENCES: dict[int, tuple[type[ShareError], str]] = {
    errno.ENOENT: (NotFound, "no such file or folder"),
    errno.ENOTDIR: (NotFound, "no such file or folder; a part of the name is not a folder"),
    errno.ELOOP: (NotFound, "no such file or folder; its links lead nowhere"),
    errno.EACCES: (Forbidden, "its permissions do not allow that; its owner has to change them"),
    errno.EPERM: (Forbidden, "its permissions do not allow that; its owner has to change them"),
    errno.EROFS: (ReadOnly, "the file system is read-only"),
    errno.ENOSPC: (DiskFull, "the disk is full; free some space, then try again"),
    errno.EDQUOT: (DiskFull, "the disk quota is used up; free some space, then try again"),
    errno.EFBIG: (DiskFull, "the file is too large for the file system"),
    errno.EISDIR: (NotAFile, IS_FOLDER),
    errno.ENAMETOOLONG: (NameRefused, "the name is too long for the file system"),
    errno.EXDEV: (
        StoreFailed,
        "lies on another file system than the root of the share, where nothing can be moved to",
    ),
    errno.EEXIST: (AlreadyThere, ALREADY_EXISTS),
    errno.ENOTEMPTY: (FolderNotEmpty, NOT_EMPTY),
    errno.EMFILE: (StoreFailed, "too many files are open in this program; try again later"),
    errno.ENFILE: (StoreFailed, "too many files are open on the machine; try again later"),
    errno.EIO: (StoreFailed, "the disk reports an error; its owner should look at it"),
}


Override = dict[int, tuple[type[ShareError], str]]


def translate(error: OSError, name: SafeName | str, override: Override | None = None) -> ShareError:
    """Return the error to raise instead of an OSError. Raise it `from` the original.

    Args:
        override: Another class and sentence for an errno, where the caller knows better what it
            means.
    """
    number = error.errno or 0
    found = override.get(number) if override is not None else None
    if found is None:
        found = _SENTENCES.get(number)
    if found is None:
        found = (
            StoreFailed,
            f"the file system refused ({errno.errorcode.get(number, 'no reason given')})",
        )
    cls, sentence = found
    return cls.about(name, sentence)


class translated:
    """A context that translates any OSError. Arguments as for translate."""

    __slots__ = ("_name", "_override")

    def __init__(self, name: SafeName | str, override: Override | None = None) -> None:
        self._name = name
        self._override = override

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise translate(error, self._name, self._override) from error
