"""The entry point of the program: every error becomes one line and an exit code here.

It imports little, so that an interrupt during the other imports ends in one line as well.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ftransfer.cli.runtime.streams import OutputFailed, ReaderLeft, finish_output, prepare_streams

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the program with the arguments of the process, and end the process."""
    # Imports leave no garbage; collecting it until the work begins would cost 8 ms.
    gc.disable()
    code = run_program(sys.argv[1:])
    if os.environ.get("FTRANSFER_DEBUG"):
        sys.exit(code)  # for tools that need a regular exit
    # Everything is closed and flushed. A regular exit would take 20 ms more, and wait for threads
    # that may be blocked in a read of stdin.
    os._exit(code)


def run_program(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Never raises; flushes stdout and stderr."""
    prepare_streams()
    try:
        code = _run(arguments)
        try:
            finish_output()  # here, where an error can still be reported
        except OutputFailed as error:
            code = code or _fail(error)
    except KeyboardInterrupt:
        _write_error("ftransfer: interrupted")
        code = _INTERRUPTED
    return code


def _run(arguments: Sequence[str]) -> int:
    from ftransfer.cli.runtime.commands import (
        refuse_empty_words,
        run_without_typer,
        without_aliases,
    )

    arguments = without_aliases(arguments)
    try:
        refuse_empty_words(arguments)
        if run_without_typer(arguments):
            return 0
        from ftransfer.cli.runtime.app import run_app

        return run_app(arguments)
    except ReaderLeft:
        return 0
    except SystemExit as end:  # raised by typer after it has printed a completion script
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:
        return _fail(error)


def _fail(error: Exception) -> int:
    from ftransfer.cli.output import error_text, exit_code

    _write_error(error_text(error))
    return exit_code(error)


def _write_error(text: str) -> None:
    if sys.stderr.isatty():
        from ftransfer.shell.columns import fitted

        text = fitted(text, sys.stderr)
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
