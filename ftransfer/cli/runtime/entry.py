"""The way in and out of the program: whatever happens inside becomes one line and an exit code
here.

It imports little, so that an interrupt while the rest is being imported ends in one line as well.
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
    # Nothing that is imported is garbage; until the work begins, looking for some costs 8 ms
    gc.disable()
    code = run_program(sys.argv[1:])
    if os.environ.get("FTRANSFER_DEBUG"):
        sys.exit(code)  # for tools that want to hear of the end
    # All is closed and flushed by now. To take the interpreter to pieces would cost 20 ms, and wait
    # for threads that may be stuck in a read of stdin.
    os._exit(code)


def run_program(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code. Never raises; stdout and stderr are flushed on
    return.
    """
    prepare_streams()
    try:
        code = _run(arguments)
        try:
            finish_output()  # here, where what goes wrong can still be told
        except OutputFailed as error:
            code = code or _fail(error)
    except KeyboardInterrupt:
        _write_error("ftransfer: interrupted")
        code = _INTERRUPTED
    return code


def _run(arguments: Sequence[str]) -> int:
    from ftransfer.cli.runtime.commands import refuse_empty_words, run_plain, spelled_out

    arguments = spelled_out(arguments)
    try:
        refuse_empty_words(arguments)
        if run_plain(arguments):
            return 0
        from ftransfer.cli.runtime.app import run_app

        return run_app(arguments)
    except ReaderLeft:
        return 0  # it has seen enough
    except SystemExit as end:  # typer's own, after it has shown a completion script
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
