"""Errors of the shell and the command line themselves."""

from __future__ import annotations

from ftransfer.errors import FtransferError
from ftransfer.shell.formatting import explain


class WrongUsage(FtransferError):
    """The input is wrong: an unknown command, a missing argument, an unclosed quote."""

    code = "usage"


class Interrupted(FtransferError):
    """The user interrupted the program."""

    code = "interrupted"


class ScriptFailed(FtransferError):
    """A line of a script failed; `line` is its number from 1, `cause` its error."""

    code = "script"

    def __init__(self, line: int, cause: Exception) -> None:
        super().__init__(f"line {line}: {explain(cause)}")
        self.line = line
        self.cause = cause


class SomeFailed(FtransferError):
    """Some names failed, and have been reported; `cause` is one of their errors."""

    code = "some_failed"

    def __init__(
        self, count: int, cause: Exception, *, total: int | None = None, left_out: int = 0
    ) -> None:
        """Make the error.

        Args:
            count: How many names failed.
            total: How many names the command had; None for a tree.
            left_out: How many more names of a tree were left out.
        """
        if total is None and not count:
            super().__init__(
                f"{left_out} {'name was' if left_out == 1 else 'names were'} left out; the rest is"
                " done"
            )
        elif total is None:
            super().__init__(
                f"{count} {'name' if count == 1 else 'names'} failed; run the command again to"
                " retry"
            )
        else:
            super().__init__(f"{count} of {total} names failed")
        self.cause = cause
