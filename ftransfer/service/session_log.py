"""What one session writes into the log and the owner's record, with a limit on both."""

from __future__ import annotations

import logging
from typing import Any

from ftransfer.service.journal import Journal, Journals

NATIVE = "native"


class SessionLog:
    """The lines about one session.

    A base class of Session rather than a separate object: with a thousand idle sessions the
    difference matters.
    """

    __slots__ = ("_journal", "_journals", "number", "peer", "protocol", "source", "user")

    def __init__(
        self, journals: Journals, number: int, protocol: str, peer: str, source: str
    ) -> None:
        self.number = number
        self.protocol = protocol
        self.peer = peer  # its address, in human-readable form
        self.source = source  # see penalties.source_of
        self.user = ""  # the name of its login
        self._journals = journals
        self._journal: Journal | None = None  # created when there is something to write

    def note(self, text: str, *arguments: object, level: int = logging.INFO) -> None:
        """Write a line into the log, or count it if there are too many."""
        self._own_journal().note(f"%s #%d {text}", self.peer, self.number, *arguments, level=level)

    def note_start(self) -> None:
        """Log that the session has begun."""
        journal = self._journals.of(self.source)
        if not journal.note("%s #%d connected", self.peer, self.number):
            # The sessions of a source that reconnects again and again have no lines of their own
            self._journal = journal

    def note_end(
        self, text: str, *arguments: object, level: int = logging.INFO, exc_info: bool = False
    ) -> None:
        """Log how the session has ended."""
        self._journals.of(self.source).note(
            f"%s #%d {text}", self.peer, self.number, *arguments, level=level, exc_info=exc_info
        )

    def record(self, event: str, name: str = "", *, result: str = "ok", **fields: Any) -> None:
        """Write into the owner's record, if there is one; excess refusals are counted.

        Args:
            fields: `to`, `bytes`, `digest`; empty or None values are left out.
        """
        if self._journals.audit is not None:
            self._own_journal().record(
                event,
                user=self.user or None,
                peer=self.peer,
                session=self.number,
                via=self.protocol if self.protocol != NATIVE else None,
                name=name or None,
                to=fields.get("to") or None,
                bytes=fields.get("bytes"),
                digest=fields.get("digest") or None,
                result=result,
            )

    def flush_log(self) -> None:
        """Write how many lines were left out."""
        if self._journal is not None and self._journal.about != self.source:
            self._journal.flush()

    def _own_journal(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(f"{self.peer} #{self.number}", self._journals.audit)
        return self._journal
