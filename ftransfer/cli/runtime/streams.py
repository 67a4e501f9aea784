"""stdin, stdout and stderr of the program: what happens when one is closed, full, or read by nobody
any more.

A command that does work goes on to its end when its output cannot be written: its reader (`| head
-1`) must not decide how much of the work is done. A command that only shows something ends instead,
as nobody looks any more.
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
_closed: set[int] = set()  # descriptors that were closed when the program began
_is_only_shown = False


class OutputFailed(FtransferError):
    """stdout could not be written; nothing is wrong with the work itself."""

    code = "output_failed"


class ReaderLeft(Exception):
    """Nobody reads what a command shows that does nothing else."""


class _Output(io.FileIO):
    """A descriptor that remembers why it cannot be written; what is written after that is
    dropped.
    """

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
    """Put streams in place that outlive their readers. A closed descriptor from 0 to 2 leads
    nowhere, so that no file gets it.
    """
    global _stdout, _is_only_shown
    _is_only_shown = False
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is sys.__stdout__:
        sys.stdout, _stdout = _text(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr, _ = _text(2, sys.stderr)


def _text(number: int, old: TextIO | None) -> tuple[TextIO, _Output]:
    output = _Output(number, "w", closefd=False)
    # A name that the encoding lacks must not stop a listing.
    encoding = old.encoding if old is not None else "utf-8"
    is_live = number == 2 or output.isatty()
    text = io.TextIOWrapper(
        io.BufferedWriter(output), encoding, errors="backslashreplace", line_buffering=is_live
    )
    return text, output


def only_show() -> None:
    """Say that the command does nothing but show something: it ends when nobody reads that any
    more.
    """
    global _is_only_shown
    _is_only_shown = True


def finish_output() -> None:
    """Write out what is still held back.

    Raises:
        OutputFailed: Something that was written to stdout is lost, and not because its reader has
            left.
    """
    with contextlib.suppress(ReaderLeft):
        sys.stdout.flush()
    failure = _stdout.failure if _stdout is not None else None
    if failure is not None and failure.errno != errno.EPIPE:
        raise output_failed(failure)


def content_output() -> BinaryIO:
    """Give stdout for the content of a file.

    Raises:
        WrongUsage: It is closed.
    """
    _check_open(1)
    return sys.stdout.buffer if _stdout is None else open(1, "wb", closefd=False)


def content_input() -> BinaryIO:
    """Give stdin for the content of a file. Raises as content_output."""
    _check_open(0)
    return sys.stdin.buffer


def output_failed(error: OSError) -> OutputFailed:
    """Give the error to raise when stdout could not be written."""
    if error.errno == errno.EPIPE:
        return OutputFailed("stdout: its reader has left before everything was written")
    return OutputFailed(f"stdout: {error.strerror}")


def _check_open(number: int) -> None:
    if number in _closed or getattr((sys.stdin, sys.stdout)[number], "buffer", None) is None:
        # With which much comes; this module is there before all others
        from ftransfer.shell.errors import (
            WrongUsage,
        )

        raise WrongUsage(f"{_NAMES[number]} is closed; open it, or name a file")
