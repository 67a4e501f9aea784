"""The output of the shell: results on one stream, everything else on another."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, TextIO

from ftransfer.shell.columns import fitted, wrapped
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import explain
from ftransfer.shell.progress import ProgressBar


class Console:
    """Two text streams.

    Attributes:
        width: Returns the current width of the terminal in cells; None if `out` is not a terminal.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        width: Callable[[], int] | None = None,
        shows_progress: bool = False,
    ) -> None:
        self.out = out
        self.err = err
        self.width = width
        self.shows_progress = shows_progress

    def line(self, text: str) -> None:
        """Write a result line; on a terminal it is wrapped at spaces."""
        self.out.write(f"{text if self.width is None else wrapped(text, self.width())}\n")

    def lines(self, texts: list[str]) -> None:
        """Write many result lines at once."""
        if texts:
            self.out.write("\n".join(texts) + "\n")

    def binary(self) -> BinaryIO:
        """Return the binary stream of `out`, for the content of a file.

        Raises:
            WrongUsage: It takes text only, or is closed.
        """
        self.flush()
        sink: BinaryIO | None = getattr(self.out, "buffer", None)
        if sink is None:
            raise WrongUsage("stdout is closed; open it, or name a file to write to")
        return sink

    def note(self, text: str) -> None:
        """Write a line that is not a result."""
        self.flush()
        self.err.write(f"{fitted(text, self.err)}\n")
        self.err.flush()

    def error(self, error: BaseException) -> None:
        self.note(explain(error))

    def flush(self) -> None:
        self.out.flush()

    def progress(self) -> ProgressBar:
        """Return a bar for one transfer, to be used as a context manager."""
        return ProgressBar(self.err, is_shown=self.shows_progress)
