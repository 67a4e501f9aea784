"""Values -> text for people: sizes, times, listing lines, receipts, and each error as one line.

Pure. All text from a peer passes through `escape` or `printable`, so that it cannot send control
sequences to a terminal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftransfer.errors import (
    AlreadyThere,
    Busy,
    CannotConnect,
    Closed,
    DigestMismatch,
    DiskFull,
    FtransferError,
    NotFound,
    RemoteProtocolError,
    ServerStopping,
    SourceChanged,
    TimedOut,
)
from ftransfer.names import escape
from ftransfer.storage.base import Entry, Partial
from ftransfer.transfer.records import Progress, Receipt
from ftransfer.units import format_size

if TYPE_CHECKING:
    from ftransfer.client.trees.report import TreeReport

_MAX_SHOWN_NAME = 200

# What to do about an error, unless its message says so. The nearest class counts.
_ADVICE: dict[type[BaseException], str] = {
    AlreadyThere: "choose another name",
    Busy: "try again later",
    CannotConnect: "check host and port, and that ftransfer serve is running",
    Closed: "try again",
    DigestMismatch: "nothing was stored; try again",
    FileNotFoundError: "check the path on this machine",
    DiskFull: "free some space there and try again",
    NotFound: "dir lists what is there",
    RemoteProtocolError: "check that the port belongs to an ftransfer server",
    ServerStopping: "try again later",
    SourceChanged: "try again",
    TimedOut: "try again",
}


def human_seconds(seconds: float) -> str:
    """Format a duration: 0.12 s, 3.4 s, 2 min 05 s, 1 h 02 min."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(mtime_ns: int) -> str:
    """Format a time in the local zone, 16 columns wide; question marks if it is out of range."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(mtime_ns // 1_000_000_000))
    except (OverflowError, ValueError, OSError):
        return "????-??-?? ??:??"


def entry_line(entry: Entry, shown: str | None = None) -> str:
    """Format one line of a listing, in columns of fixed width, so that lines can be streamed.

    Args:
        shown: Name to show instead of the whole one, for listings relative to a folder.
    """
    name = escape(entry.name if shown is None else shown)
    size = "-" if entry.kind != "file" else str(entry.size)
    arrow = f" -> {escape(entry.target)}" if entry.target else ""
    return f"{escape(entry.kind):<4} {size:>14} {moment(entry.mtime_ns)} {name}{arrow}"


def receipt_line(receipt: Receipt, verb: str, path: str) -> str:
    """Report a finished get or put.

    Args:
        verb: "get" or "put".
        path: The local file as the user would type it; "" for a stream.
    """
    name, shown = short_name(receipt.name), ""
    if path and os.path.normpath(path) != receipt.name:
        shown = short_name(os.path.normpath(path))
    if verb == "get":
        what = f"received {name} as {shown}" if shown else f"received {name}"
    else:
        what = f"stored {shown} as {name}" if shown else f"stored {name}"
    if receipt.replaced:
        what += " (replaced the existing file)"
    parts = [f"{what}: {format_size(receipt.size)} in {human_seconds(receipt.seconds)}"]
    new = receipt.size - receipt.kept
    if receipt.seconds >= 0.5:
        parts.append(f"{format_size(int(new / receipt.seconds))}/s")
    if receipt.kept:
        parts.append(f"{format_size(receipt.kept)} resumed from an earlier attempt")
    if receipt.restarted:
        parts.append("restarted, because the partial file of an earlier attempt did not match")
    return ", ".join([*parts, "verified"]) + ("" if receipt.durable else " (not synced)")


def tree_line(report: TreeReport, verb: str) -> str:
    """Report a finished folder transfer. `verb` is "get" or "put"."""
    will, did = ("receive", "received") if verb == "get" else ("store", "stored")
    if report.dry_run:
        did = f"would {will}"
    if report.unchanged and not (
        report.copied or report.folders or report.links or report.removed or report.failed
    ):
        return f"nothing to {will}: {_count(report.unchanged, 'name')} up to date"
    parts = [f"{did} {_count(report.copied, 'file')}, {format_size(report.bytes)}"]
    parts += [
        _count(count, what)
        for count, what in ((report.folders, "folder"), (report.links, "link"))
        if count
    ]
    parts += [
        f"{count} {what}"
        for count, what in ((report.removed, "removed"), (report.unchanged, "unchanged"))
        if count
    ]
    parts += [
        f"{count} {what}"
        for count, what in (
            (report.updated, "updated"),
            (report.left_out, "left out"),
            (report.kept, "kept"),
        )
        if count
    ]
    if report.failed:
        parts.append(f"{report.failed} FAILED")
    return f"{', '.join(parts)} in {human_seconds(report.seconds)}"


def stopped_line(latest: Progress | None, command: str) -> str:
    """Report a cancelled transfer. `command` resumes it: "get", "put -r" or the like."""
    if command.endswith("-r"):
        return f"stopped; repeat the {command} to do the rest"
    at = f" at {format_size(latest.done)}" if latest is not None and latest.done else ""
    return f"stopped{at}; repeat the {command} to resume"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def stat_lines(entry: Entry) -> list[str]:
    """Describe an entry, one property per line."""
    rows = [("name", escape(entry.name) or "/"), ("kind", escape(entry.kind))]
    if entry.kind == "file":
        rows.append(
            (
                "size",
                f"{entry.size} ({format_size(entry.size)})"
                if entry.size > 999
                else f"{entry.size}",
            )
        )
    rows += [
        ("modified", moment(entry.mtime_ns)),
        ("mode", f"{entry.mode & 0o7777:04o}"),
        ("identity", escape(entry.identity)),
    ]
    return [f"{label:<8}  {text}" for label, text in rows]


def checksum_line(digest: str, name: str) -> str:
    """Format a digest as b3sum does; a leading backslash means that the name is escaped."""
    shown = escape(name)
    return f"{'' if shown == name else chr(92)}{digest}  {shown}"


def removed_line(name: str, count: int) -> str:
    return f"removed {short_name(name)}" + (f": {count} files and folders" if count > 1 else "")


def partial_line(partial: Partial) -> str:
    """Format an interrupted upload: stored bytes, total bytes, time of the last byte, name."""
    size = "?" if partial.size is None else str(partial.size)
    return f"{partial.kept:>14} of {size:>14} {moment(partial.mtime_ns)} {escape(partial.name)}"


def partials_line(partials: Sequence[Partial], *, cleared: bool) -> str:
    """Sum up interrupted uploads."""
    if not partials:
        return "no interrupted uploads" + (" removed" if cleared else "")
    noun = "interrupted upload" if len(partials) == 1 else "interrupted uploads"
    total = format_size(sum(partial.kept for partial in partials))
    return (
        f"{len(partials)} {noun} removed, {total} freed"
        if cleared
        else f"{len(partials)} {noun}, {total}"
    )


def explain(error: BaseException) -> str:
    """Return one printable line: what happened, to which name, what to do next."""
    name = ""
    if isinstance(error, FtransferError):
        message, name = str(error), short_name(error.name)
    elif isinstance(error, OSError) and error.strerror:
        message = error.strerror
        name = short_name(str(error.filename)) if error.filename is not None else ""
    else:
        message = (
            f"{type(error).__name__}: {error}; this is a bug; set FTRANSFER_DEBUG=1 for details"
        )
    message = printable(message) or type(error).__name__
    if name and name not in message:
        message = f"{name}: {message}"
    advice = next((_ADVICE[cls] for cls in type(error).__mro__ if cls in _ADVICE), "")
    return f"{message}; {advice}" if advice and "; " not in message else message


def short_name(name: str) -> str:
    """Return a name that is safe to print and at most a few lines long."""
    return escape(name) if len(name) <= _MAX_SHOWN_NAME else escape(name[:_MAX_SHOWN_NAME]) + "…"


def printable(text: str) -> str:
    """Return a message as one printable line. Backslashes stay: names are escaped already."""
    if text.isprintable():
        return text
    return "".join(
        mark if mark == "\\" else " " if mark in "\r\n" else escape(mark) for mark in text
    ).strip()
