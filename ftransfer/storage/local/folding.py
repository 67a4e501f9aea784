"""Whether a file system treats several spellings as one name.

They may differ in case, in Unicode form, or in characters that it ignores. Rights are granted for
names, and names are compared as text. Where another spelling leads to the same folder, such rights
would not hold: the owner of a share must be warned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from ftransfer.names import RESERVED_PREFIX, SafeName
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, release

# Some file systems ignore these in names; both are invisible.
_IGNORED = ("\u00ad", "\u200c")
_LOOKS = 64  # at existing names


def spellings(name: str) -> Iterator[str]:
    """Yield other spellings that a file system might treat as the same name."""
    found = [name.swapcase(), name.upper(), name.lower()]
    if not name.isascii():
        import unicodedata  # each command opens a store, and hardly any needs it

        found += [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    found += [f"{name[:1]}{mark}{name[1:]}" for mark in _IGNORED]
    yield from dict.fromkeys(spelling for spelling in found if spelling != name)


def other_spelling(root: int, name: SafeName) -> str:
    """Return another spelling that leads to the same thing below an open folder; "" if none does.

    The spelling is of one part of the name. A part that does not exist is tried with a temporary
    folder. Blocks; raises OSError.
    """
    folder = os.dup(root)
    try:
        for part in name.parts:
            if _stat(part, folder) is None:
                return _tried(part, folder)
            if spelling := _same_as(part, folder):
                return spelling
            try:
                below = os.open(part, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
            except OSError:
                return ""  # a file or a link: nothing is below it
            release(folder)
            folder = below
        return ""
    finally:
        release(folder)


def folds_names(root: int) -> bool:
    """Return whether an open folder folds the spellings of its names. Blocks; raises OSError."""
    with os.scandir(root) as found:
        names = [
            item.name
            for item, _ in zip(found, range(_LOOKS), strict=False)
            if item.name.swapcase() != item.name
        ]
    if names:
        return any(_same_as(name, root) for name in names)
    return bool(_tried("name", root))


def folded_spellings(folder: int, name: str) -> bool:
    """Return whether an existing name has another spelling, or a short name of old systems."""
    short = f"{name.lstrip('.')[:6].upper()}~1"
    return bool(_same_as(name, folder)) or _is_same(name, short, folder)


def _tried(part: str, folder: int) -> str:
    """Look for another spelling as _same_as, with a temporary folder of a similar name."""
    probe = f"{RESERVED_PREFIX}-Probe-{os.urandom(4).hex()}-{part[:40]}"
    try:
        os.mkdir(probe, 0o700, dir_fd=folder)
    except OSError:
        return ""  # nothing can be made here, so nothing will get that name
    try:
        return part.swapcase() if _same_as(probe, folder) else ""
    finally:
        with suppress(OSError):
            os.rmdir(probe, dir_fd=folder)


def _same_as(name: str, folder: int) -> str:
    return next((spelling for spelling in spellings(name) if _is_same(name, spelling, folder)), "")


def _is_same(name: str, spelling: str, folder: int) -> bool:
    """Return whether a spelling finds something, although no name in the folder has it.

    Inodes do not show this: with FUSE each name has a different one.
    """
    return _stat(spelling, folder) is not None and spelling not in os.listdir(folder)


def _stat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (OSError, ValueError):
        return None  # missing, or not a valid name on this file system
