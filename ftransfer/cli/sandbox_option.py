"""serve --sandbox: enter a sandbox before the first thread starts.

It leaves access to the share and to the files that the server opens again later.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated

from ftransfer.cli.runtime.parameters import Option
from ftransfer.shell.errors import WrongUsage
from ftransfer.system.sandbox import CannotLock, lock_in

Sandbox = Annotated[
    bool | None,
    Option(
        "--sandbox/--no-sandbox",
        help=(
            "Drop access to all files outside the share (Linux). Default: where the system"
            " supports it."
        ),
        show_default=False,
    ),
]


def enter_sandbox(
    wanted: bool | None,
    folder: str,
    *,
    changed: Iterable[str | None] = (),
    read: Iterable[str | None] = (),
) -> str:
    """Drop access to files outside the share, and return a line for the log.

    Args:
        wanted: None for "if possible"; the line then says why it was not.
        changed: Files outside the share that are written.
        read: Files that are opened again when the server reloads. They may have been replaced
            by then, so access is kept to the folder of each.

    Raises:
        WrongUsage: It was wanted and is not possible.
    """
    if wanted is False:
        return "not sandboxed: --no-sandbox"
    try:
        abi = lock_in(changed=[folder, *_folders(changed)], read=_folders(read))
    except CannotLock as error:
        if wanted:
            raise WrongUsage(
                f"--sandbox: {error}; leave the option out to serve without it"
            ) from error
        return f"not sandboxed: {error}"
    return f"sandboxed: files outside the share can no longer be opened (landlock {abi})"


def _folders(paths: Iterable[str | None]) -> list[str]:
    """Return the folders of files, and for links also the folders of their targets."""
    given = [path for path in paths if path]
    return [os.path.dirname(os.path.abspath(path)) for path in given] + [
        os.path.dirname(os.path.realpath(path)) for path in given
    ]
