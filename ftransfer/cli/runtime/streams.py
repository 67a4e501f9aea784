"""stdin, stdout and stderr of the program: what happens if one is closed, full or no longer read.

A command that changes something continues when its output cannot be written: its reader (`| head
-1`) must not decide how much is done. A command that only shows something ends.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Any, BinaryIO, TextIO

from ftransfer.errors import FtransferError

_NAMES = ("stdin", "stdout", "stderr")
_closed: set[int] = set()  # descriptors that were closed when the program started
_is_only_shown = False


class OutputFailed(FtransferError):
    """stdout could not be written; the work itself did not fail."""

    code = "output_failed"


class ReaderLeft(Exception):
    """Nobody reads the output of a command that only shows something."""


class _Output(io.FileIO):
    """A descriptor that remembers why it could not be written, and drops all later output."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]  # None: as FileIO, if it would block
        if self.failure is None:
            try:
                return super().write(data)
            except BlockingIOError:
                raise
            except OSError as error:
                self.failure = error
        if _is_only_shown and self is _stdout:
            raise ReaderLeft if self.failure.errno == errno.EPIPE else output_failed(self.failure)
        return memoryview(data).nbytes


_stdout: _Output | None = None


def prepare_streams() -> None:
    """Install streams that survive a closed pipe.

    A closed descriptor from 0 to 2 is opened on /dev/null, so that no other file gets its number.
    """
    global _stdout, _is_only_shown
    _is_only_shown = False
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    if sys.stdout is sys.__stdout__:
        sys.stdout, _stdout = _text(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr, _ = _text(2, sys.stderr)


def _text(number: int, old: TextIO | None) -> tuple[TextIO, _Output]:
    output = _Output(number, "w", closefd=False)
    # A name that the encoding cannot express must not stop a listing.
    encoding = old.encoding if old is not None else "utf-8"
    is_live = number == 2 or output.isatty()
    text = io.TextIOWrapper(
        io.BufferedWriter(output), encoding, errors="backslashreplace", line_buffering=is_live
    )
    return text, output


def only_show() -> None:
    """Declare that the command only shows something, so it ends when nobody reads its output."""
    global _is_only_shown
    _is_only_shown = True


def finish_output() -> None:
    """Flush stdout.

    Raises:
        OutputFailed: Output was lost, for another reason than a closed pipe.
    """
    with contextlib.suppress(ReaderLeft):
        sys.stdout.flush()
    failure = _stdout.failure if _stdout is not None else None
    if failure is not None and failure.errno != errno.EPIPE:
        raise output_failed(failure)


def content_output() -> BinaryIO:
    """Return stdout for the content of a file.

    Raises:
        WrongUsage: It is closed.
    """
    _check_open(1)
    return sys.stdout.buffer if _stdout is None else open(1, "wb", closefd=False)


def content_input() -> BinaryIO:
    """Return stdin for the content of a file. Raises as content_output."""
    _check_open(0)
    return sys.stdin.buffer


def output_failed(error: OSError) -> OutputFailed:
    """Return the error to raise when stdout could not be written."""
    if error.errno == errno.EPIPE:
        return OutputFailed("stdout: the reader closed the pipe before everything was written")
    return OutputFailed(f"stdout: {error.strerror}")


def _check_open(number: int) -> None:
    if number in _closed or getattr((sys.stdin, sys.stdout)[number], "buffer", None) is None:
        from ftransfer.shell.errors import WrongUsage  # imports much; this module loads first

        raise WrongUsage(f"{_NAMES[number]} is closed; open it, or name a file")
