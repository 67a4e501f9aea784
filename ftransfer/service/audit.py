"""A record of who did what: a file with one JSON object per line.

A leaf. Sessions hand records over and continue; a separate thread writes those that have
accumulated, and flushes. A full disk or a missing folder stops nothing: it is logged once, lost
records are counted, and the count is written when writing works again. JSON's own escapes keep a
record on its line: a name can hold any byte and forge nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

log = logging.getLogger("ftransfer.audit")

_MAX_WAITING = 100_000  # records; at some 300 bytes each
_MODE = 0o600
_STOP = "stop"
_REOPEN = "reopen"


class Audit:
    """The file of records. `open` creates it; its caller closes it.

    Args:
        now: Seconds since 1970, for the time in each record.
    """

    def __init__(self, path: str, now: Callable[[], float]) -> None:
        """Use `open` instead."""
        self._path = path
        self._now = now
        self._handle = _open(path)
        self._waiting: queue.Queue[bytes | str | threading.Event] = queue.Queue()
        self._lost = 0
        self._is_failing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="ftransfer-audit", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: str, now: Callable[[], float]) -> Audit:
        """Open the file for appending; create it (mode 0600) if it is missing. Blocks briefly.

        Raises:
            OSError: It cannot be opened.
        """
        return cls(path, now)

    def record(self, event: str, **fields: Any) -> None:
        """Hand a record over, without the fields that are None.

        Never blocks, and never raises because of the disk.
        """
        moment = (
            datetime.fromtimestamp(self._now(), UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        values = {
            "time": moment,
            "event": event,
            **{key: value for key, value in fields.items() if value is not None},
        }
        if self._waiting.qsize() >= _MAX_WAITING:
            self._note_lost(1)
            return
        self._waiting.put(_line(values))

    def reopen(self) -> None:
        """Reopen the file after log rotation has moved it.

        Records handed over before go into the old file.
        """
        self._waiting.put(_REOPEN)

    def flush(self, timeout_s: float) -> bool:
        """Wait until the records handed over are written; return whether they are.

        For shutdown and for tests.
        """
        done = threading.Event()
        self._waiting.put(done)
        return done.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write the remaining records and end the thread. Closing twice is no error."""
        if self._thread.is_alive():
            self._waiting.put(_STOP)
            self._thread.join(timeout_s)

    # In the thread.

    def _run(self) -> None:
        while True:
            lines: list[bytes] = []
            item = self._waiting.get()
            while isinstance(item, bytes):
                lines.append(item)
                if self._waiting.empty():
                    break
                item = self._waiting.get()
            self._write(lines)
            if isinstance(item, threading.Event):
                item.set()
            elif item == _REOPEN:
                self._reopen()
            elif item == _STOP:
                os.close(self._handle)
                return

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            lines = [_line({"event": "lost", "records": lost}), *lines]
        try:
            _write_all(self._handle, b"".join(lines))
            self._is_failing = False
        except OSError as error:
            self._note_lost(len(lines) - bool(lost) + lost)
            self._complain(error)

    def _reopen(self) -> None:
        try:
            handle = _open(self._path)
        except OSError as error:
            self._complain(error)  # the old file still exists, under whatever name
            return
        os.close(self._handle)
        self._handle = handle

    def _note_lost(self, count: int) -> None:
        with self._lock:
            self._lost += count

    def _complain(self, error: OSError) -> None:
        if not self._is_failing:
            log.error(
                "the audit file %s cannot be written: %s; records are being lost",
                self._path,
                error.strerror,
            )
        self._is_failing = True


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)


def _write_all(handle: int, data: bytes) -> None:
    """Write whole lines or nothing.

    If a full disk took part of a line, that part is removed, so that the next line does not
    continue it.
    """
    before = os.fstat(handle).st_size
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(handle, view) :]
    except OSError:
        if len(view) < len(data):
            with contextlib.suppress(OSError):  # a pipe
                os.ftruncate(handle, before)
        raise


def _line(values: dict[str, Any]) -> bytes:
    # ensure_ascii writes line feeds, other controls, U+2028 and lone surrogates as escapes.
    return json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
