"""What a command leaves behind: results as text or JSON lines, an error as one line, an exit
code.
"""

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
from ftransfer.storage.base import FILE, Entry
from ftransfer.transfer.records import Receipt

# Exit codes are a contract (docs and --help): scripts decide by them.
DONE = 0
FAILED = 1
USAGE = 2
NO_CONNECTION = 3
NOT_VERIFIED = 4
NOT_TRUSTED = 5
INTERRUPTED = 130

# The first row that fits counts; whatever is not here was refused or has failed.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (Interrupted, INTERRUPTED),
    (WrongUsage, USAGE),
    (BadFile, USAGE),
    (DigestMismatch, NOT_VERIFIED),
    (AuthError, NOT_TRUSTED),
    (ChannelError, NO_CONNECTION),
    # Nothing more can be said over a connection that is out of step
    (
        ProtocolError,
        NO_CONNECTION,
    ),
    (ServerStopping, NO_CONNECTION),
)


def exit_code(error: BaseException) -> int:
    """Give the exit code that an error stands for."""
    if isinstance(error, (ScriptFailed, SomeFailed)):
        return exit_code(error.cause)
    return next((code for cls, code in _CODES if isinstance(error, cls)), FAILED)


def error_text(error: BaseException) -> str:
    """Give an error as one line; with FTRANSFER_DEBUG=1 where it came from as well."""
    trace = ""
    if os.environ.get("FTRANSFER_DEBUG"):
        import traceback

        trace = "".join(traceback.format_exception(error))
    return f"{trace}ftransfer: {explain(error)}"


def note(text: str) -> None:
    """Write one line that is no result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def entries_text(entries: Sequence[Entry], *, as_json: bool) -> str:
    """Give entries as lines, each with its end."""
    if as_json:
        return "".join(f"{json.dumps(entry_record(entry))}\n" for entry in entries)
    return "".join(f"{entry_line(entry)}\n" for entry in entries)


def entry_record(entry: Entry) -> dict[str, object]:
    """Give an entry as a JSON object."""
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
    """Give the JSON object for a name that failed."""
    code = error.code if isinstance(error, FtransferError) else "os_error"
    return {"name": name, "did": "failed", "error": {"code": code, "message": explain(error)}}


def receipt_text(receipt: Receipt, verb: str, *, as_json: bool) -> str:
    """Give a receipt as one line without its end."""
    return json.dumps(receipt._asdict()) if as_json else receipt_line(receipt, verb, receipt.path)
