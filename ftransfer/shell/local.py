"""Checks of local paths, made before the server is asked."""

from __future__ import annotations

import os
import stat

from ftransfer.client.paths import normalise_path
from ftransfer.errors import NotAFile
from ftransfer.shell.operands import Here


def look(path: str | os.PathLike[str]) -> Here:
    """Return what a path names; links are followed."""
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return Here.NOTHING
    return Here.FOLDER if is_folder else Here.FILE


def check_sendable(path: str | os.PathLike[str]) -> None:
    """Refuse a path that cannot be uploaded as a file.

    Raises:
        OSError, NotFound: It does not exist, or cannot be read.
        NotAFile: It is a folder.
    """
    if stat.S_ISDIR(os.stat(normalise_path(path)).st_mode):
        raise NotAFile.about(os.fspath(path), "is a folder; use put -r")
