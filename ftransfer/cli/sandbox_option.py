"""serve --lock-down: the lock is closed before the first thread starts, over the share and what the
server opens again later.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated

from ftransfer.cli.runtime.parameters import Option
from ftransfer.shell.errors import WrongUsage
from ftransfer.system.sandbox import CannotLock, lock_in

LockDown = Annotated[
    bool | None,
    Option(
        "--lock-down/--no-lock-down",
        help=(
            "Give up all access to files outside the share, for good (Linux). Default: where the"
            " system can."
        ),
        show_default=False,
    ),
]


def close_lock(
    wanted: bool | None,
    folder: str,
    *,
    changed: Iterable[str | None] = (),
    read: Iterable[str | None] = (),
) -> str:
    """Lock the process in; give a line for the log, to be told once the server runs.

    Args:
        wanted: None for "if possible", which the line tells if it is not.
        changed: Files beside the share that are written.
        read: Files that are opened again when the server is told to. They may be replaced
            meanwhile, so the folder of each is meant.

    Raises:
        WrongUsage: It was wanted and is not possible.
    """
    if wanted is False:
        return "not locked in: --no-lock-down"
    try:
        abi = lock_in(changed=[folder, *_folders(changed)], read=_folders(read))
    except CannotLock as error:
        if wanted:
            raise WrongUsage(
                f"--lock-down: {error}; leave the option out to serve without"
            ) from error
        return f"not locked in: {error}"
    return f"locked in: no file outside the share can be opened any more (landlock {abi})"


def _folders(paths: Iterable[str | None]) -> list[str]:
    """Give the folders of files; if a file is a link, also of what it leads to."""
    given = [path for path in paths if path]
    return [os.path.dirname(os.path.abspath(path)) for path in given] + [
        os.path.dirname(os.path.realpath(path)) for path in given
    ]
