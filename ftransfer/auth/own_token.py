"""The token that a server makes if none is given: one for each folder, made once and kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ftransfer.auth.admission import make_token
from ftransfer.system.private_files import locked, read_private, read_secret, write_private

_FOLDER = "tokens"
_NAME_LENGTH = 32  # hexadecimal digits: two folders never share a name


def own_token(state: Path, folder: str, *, new: bool = False) -> tuple[str, Path]:
    """Return the token for a served folder and the file that holds it. Blocking.

    The file contains only the token, so that it can be passed to --token-file. If it is deleted,
    the next start makes a new token.

    Args:
        state: The state folder of the user.
        folder: The served folder; every path to it has the same token.
        new: Replace an earlier token.

    Raises:
        BadFile: The file cannot be read or written, others may read it, or it holds no token.
    """
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:_NAME_LENGTH]
    path = state / _FOLDER / name
    with locked(state / _FOLDER):
        if new or not read_private(path):
            write_private(path, make_token() + "\n")
    return read_secret(str(path)), path
