"""Limits on what a peer can make the server log: some lines per second, then only a count.

One line costs the sender a byte and the owner's disk a hundred. Every change to the share is still
recorded.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Any

from ftransfer.service.audit import Audit

log = logging.getLogger("ftransfer.server")

_LINES = 10
_WINDOW_S = 1.0
# Sources whose recent number of lines is remembered. Any further source starts from zero.
_MAX_SOURCES = 1024


class LineBound(ABC):
    """Admits a limited number of lines per second.

    When the second is over, `say_more` is called with the number left out. A crowd makes one for
    each of a thousand addresses, so it is a base class: a function stored in each would cost as
    much again.
    """

    __slots__ = ("_ends_at", "_left_out", "_loop", "_timer", "_written")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends_at = 0.0
        self._written = 0
        self._left_out = 0
        self._timer: asyncio.TimerHandle | None = None

    def admits(self) -> bool:
        """Return whether one more line may be written now; otherwise count it."""
        now = self._loop.time()
        if now >= self._ends_at:
            self.flush()
            self._ends_at, self._written = now + _WINDOW_S, 0
        if self._written < _LINES:
            self._written += 1
            return True
        self._left_out += 1
        if self._timer is None:
            self._timer = self._loop.call_at(self._ends_at, self.flush)
        return False

    @property
    def is_over(self) -> bool:
        """Return whether it can be replaced: its second is over and nothing is left to write."""
        return self._timer is None and self._loop.time() >= self._ends_at

    def flush(self) -> None:
        """Write how many lines were left out, if any."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._left_out:
            count, self._left_out = self._left_out, 0
            self.say_more(count)

    @abstractmethod
    def say_more(self, count: int) -> None:
        """Write that `count` lines were left out."""


class _RecordBound(LineBound):
    """The limit on refusals in the owner's record."""

    __slots__ = ("_about", "_audit")

    def __init__(self, about: str, audit: Audit) -> None:
        super().__init__()
        self._about = about
        self._audit = audit

    def say_more(self, count: int) -> None:
        self._audit.record("more", about=self._about, records=count)


class Journal(LineBound):
    """The log, and the owner's record if there is one, with limits for one session or source."""

    __slots__ = ("_audit", "_records", "about")

    def __init__(self, about: str, audit: Audit | None) -> None:
        super().__init__()
        self.about = about  # whom the lines are about, as named in the summary
        self._audit = audit
        self._records: _RecordBound | None = None  # created when there is something to count

    def note(
        self, text: str, *arguments: object, level: int = logging.INFO, exc_info: bool = False
    ) -> bool:
        """Write a line into the log, or count it; return whether it was written."""
        is_admitted = self.admits()
        if is_admitted:
            log.log(level, text, *arguments, exc_info=exc_info)
        return is_admitted

    def record(self, event: str, *, result: str, **fields: Any) -> None:
        """Write into the owner's record, or count a refusal that is over the limit."""
        audit = self._audit
        if audit is None:
            return
        if result != "ok":
            self._records = self._records or _RecordBound(self.about, audit)
            if not self._records.admits():
                return
        audit.record(event, result=result, **fields)

    @property
    def is_over(self) -> bool:
        """Return whether it can be replaced by a new one."""
        return super().is_over and (self._records is None or self._records.is_over)

    def flush(self) -> None:
        """Write how many lines were left out."""
        super().flush()
        if self._records is not None:
            self._records.flush()

    def say_more(self, count: int) -> None:
        log.info("%s: %d more lines", self.about, count)


class Journals:
    """A journal for each source, for lines about its connections.

    A client that reconnects again and again has a new session each time.
    """

    def __init__(self, audit: Audit | None) -> None:
        self.audit = audit
        self._journals: dict[str, Journal] = {}  # most recently used last
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._journals)

    def of(self, source: str) -> Journal:
        """Return the journal of one source."""
        journal = self._journals.pop(source, None) or Journal(source, self.audit)
        if len(self._journals) >= _MAX_SOURCES:
            self._journals.pop(next(iter(self._journals))).flush()
        self._journals[source] = journal
        if self._sweeping is None:
            self._sweep_later()
        return journal

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(_WINDOW_S * 1.5, self._sweep)

    def _sweep(self) -> None:
        """Forget sources with nothing left to remember, so that a crowd leaves nothing behind."""
        self._sweeping = None
        for source in [source for source, journal in self._journals.items() if journal.is_over]:
            del self._journals[source]
        if self._journals:
            self._sweep_later()

    def stop(self) -> None:
        """Write what is still unwritten; nothing may follow."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for journal in self._journals.values():
            journal.flush()
