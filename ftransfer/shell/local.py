"""What the shell and the command line look at on this machine before they ask a server."""

from __future__ import annotations

import os
import stat

from ftransfer.client.paths import normalise_path
from ftransfer.errors import NotAFile
from ftransfer.shell.operands import Here


def look(path: str | os.PathLike[str]) -> Here:
    """Say what is there; links are followed."""
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return Here.NOTHING
    return Here.FOLDER if is_folder else Here.FILE


def check_sendable(path: str | os.PathLike[str]) -> None:
    """Say at once, and in words about this machine, that a file cannot be sent.

    Raises:
        OSError, NotFound: It is not there, or may not be looked at.
        NotAFile: It is a folder.
    """
    if stat.S_ISDIR(os.stat(normalise_path(path)).st_mode):
        raise NotAFile.about(
            os.fspath(path), "is a folder; put sends one file, and put -r a folder"
        )
