"""The output of a command: results as text or JSON lines, an error as one line, an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from ftransfer.errors import (
    AuthError,
    BadFile,
    ChannelError,
    DigestMismatch,
    FtransferError,
    ProtocolError,
    ServerStopping,
)
from ftransfer.shell.errors import Interrupted, ScriptFailed, SomeFailed, WrongUsage
from ftransfer.shell.formatting import entry_line, explain, receipt_line
from ftransfer.shell.progress import ProgressBar
from ftransfer.storage.base import FILE, Entry
from ftransfer.transfer.records import Receipt

# Exit codes are a contract (docs and --help): scripts depend on them.
DONE = 0
FAILED = 1
USAGE = 2
NO_CONNECTION = 3
NOT_VERIFIED = 4
NOT_TRUSTED = 5
INTERRUPTED = 130

# The first matching row counts; all other errors mean that the command failed.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (Interrupted, INTERRUPTED),
    (WrongUsage, USAGE),
    (BadFile, USAGE),
    (DigestMismatch, NOT_VERIFIED),
    (AuthError, NOT_TRUSTED),
    (ChannelError, NO_CONNECTION),
    (ProtocolError, NO_CONNECTION),  # the connection can no longer be used
    (ServerStopping, NO_CONNECTION),
)


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error."""
    if isinstance(error, (ScriptFailed, SomeFailed)):
        return exit_code(error.cause)
    return next((code for cls, code in _CODES if isinstance(error, cls)), FAILED)


def error_text(error: BaseException) -> str:
    """Return an error as one line; with FTRANSFER_DEBUG=1 after its traceback."""
    trace = ""
    if os.environ.get("FTRANSFER_DEBUG"):
        import traceback

        trace = "".join(traceback.format_exception(error))
    return f"{trace}ftransfer: {explain(error)}"


def note(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def write_result(line: str) -> None:
    """Write one line to stdout at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def progress_bar() -> ProgressBar:
    """Return the bar for one transfer, which is shown on a terminal only."""
    return ProgressBar(sys.stderr, is_shown=sys.stderr.isatty())


def entries_text(entries: Sequence[Entry], *, as_json: bool) -> str:
    """Return entries as lines, each with its newline."""
    if as_json:
        return "".join(f"{json.dumps(entry_record(entry))}\n" for entry in entries)
    return "".join(f"{entry_line(entry)}\n" for entry in entries)


def entry_record(entry: Entry) -> dict[str, object]:
    """Return an entry as a JSON object."""
    record: dict[str, object] = {"name": entry.name, "kind": entry.kind}
    if entry.kind == FILE:
        record["size"] = entry.size
    record |= {"mtime_ns": entry.mtime_ns, "mode": entry.mode}
    if entry.identity:
        record["identity"] = entry.identity
    if entry.target:
        record["target"] = entry.target
    return record


def failure_record(name: str, error: Exception) -> dict[str, object]:
    """Return the JSON object for a name that failed."""
    code = error.code if isinstance(error, FtransferError) else "os_error"
    return {"name": name, "did": "failed", "error": {"code": code, "message": explain(error)}}


def receipt_text(receipt: Receipt, verb: str, *, as_json: bool) -> str:
    """Return a receipt as one line, without a newline."""
    return json.dumps(receipt._asdict()) if as_json else receipt_line(receipt, verb, receipt.path)
