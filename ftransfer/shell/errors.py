"""What goes wrong in the shell itself, before or around what a server says."""

from __future__ import annotations

from ftransfer.errors import FtransferError
from ftransfer.shell.formatting import explain


class WrongUsage(FtransferError):
    """What was typed makes no sense: an unknown command, a missing argument, a quote that is never
    closed.
    """

    code = "usage"


class Interrupted(FtransferError):
    """The user has stopped the program."""

    code = "interrupted"


class ScriptFailed(FtransferError):
    """A line of a script could not be carried out; `cause` is what it met, `line` its number from
    1.
    """

    code = "script"

    def __init__(self, line: int, cause: Exception) -> None:
        super().__init__(f"line {line}: {explain(cause)}")
        self.line = line
        self.cause = cause


class SomeFailed(FtransferError):
    """Some names failed, of a tree, or of the `total` of a command. Each has been told already;
    `cause` is one of their errors.
    """

    code = "some_failed"

    def __init__(
        self, count: int, cause: Exception, *, total: int | None = None, left_out: int = 0
    ) -> None:
        """`left_out` names of a tree could not be moved or removed with it, beside the `count` that
        failed.
        """
        if total is None and not count:
            super().__init__(
                f"{left_out} {'name was' if left_out == 1 else 'names were'} left out; all else is"
                " done"
            )
        elif total is None:
            super().__init__(
                f"{count} {'name' if count == 1 else 'names'} failed; run the command again for"
                " what is left"
            )
        else:
            super().__init__(f"{count} of {total} names failed")
        self.cause = cause
