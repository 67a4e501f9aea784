"""One running verb: what it moves, how it ends, and what is recorded about it."""

from __future__ import annotations

import asyncio
from types import TracebackType

from ftransfer.errors import FtransferError
from ftransfer.names import escape
from ftransfer.service.session import Session
from ftransfer.storage.base import SmallFile

# Verbs that move content; `who` shows their progress.
_TRANSFERS = frozenset(("get", "put", "part", "mget", "mput", "copy"))
# Verbs that the owner's record also holds when they succeed. The files of mget and mput are
# recorded one by one.
_RECORDED = frozenset(("login", "get", "put", "mkdir", "mv", "copy", "rm", "setstat"))
_WITH_CONTENT = frozenset(("get", "put", "copy"))
# Normal results of parts: the record has the put that they belong to.
_USUAL_FOR_PARTS = frozenset(("ok", "bad_offset", "superseded", "aborted"))
# These only introduce the client; its commands follow.
_INTRODUCTIONS = frozenset(("as", "login"))


class Operation:
    """One verb of a session, from start to end:

        async with Operation(session, "put", name, total) as operation: ...

    `name` is its object, as the client sent it, and `to` the destination. `moved` counts the bytes
    of content, of `total` if that is known; `size` is the size of the whole file if only a segment
    of it is moved, `digest` the digest of what was moved. `result` is "ok" or an error's code;
    `began_at` and `duration_s` are in seconds, on the clock of the event loop.
    """

    __slots__ = (
        "began_at", "digest", "duration_s", "moved", "name", "result", "session", "size", "to",
        "total", "verb",
    )  # fmt: skip

    def __init__(
        self, session: Session, verb: str, name: str = "", total: int | None = None, *, to: str = ""
    ) -> None:
        self.session = session
        self.verb = verb
        self.name = name
        self.to = to
        self.total = total
        self.moved = 0
        self.size: int | None = None
        self.digest = ""
        self.result = "ok"
        self.began_at = asyncio.get_running_loop().time()
        self.duration_s = 0.0

    @property
    def is_transfer(self) -> bool:
        return self.verb in _TRANSFERS

    def fail(self, error: BaseException) -> None:
        """Set the result to the code of an error, unless an earlier error has set it."""
        if self.result == "ok":
            self.result = error.code if isinstance(error, FtransferError) else "failed"

    def record_file(self, verb: str, file: SmallFile, error: FtransferError | None = None) -> None:
        """Write one file of a batch into the owner's record."""
        if error is None:
            size = len(file.data)
            self.session.record(verb, file.name, bytes=size, digest=file.digest)
        else:
            self.session.record(verb, file.name, result=error.code)

    async def __aenter__(self) -> Operation:
        session = self.session
        session.operations = (*session.operations, self)
        if session.is_admitted:
            if self.verb not in _INTRODUCTIONS:
                session.hub.note_command(session.participant)
        session.slot.begin()
        if session.is_admitted:
            session.slot.mark_active()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error)
        session = self.session
        if (group := session.participant.group_download) is not None:
            group.finish(self)
        session.operations = tuple(other for other in session.operations if other is not self)
        if not session.operations:
            session.slot.end()
        if session.is_admitted:
            session.hub.note_command(session.participant)
        session.idle_since = asyncio.get_running_loop().time()
        self.duration_s = session.idle_since - self.began_at
        self._record()
        session.note(
            "%s %s %d bytes %.3f s %s",
            self.verb,
            escape(self.name) or "-",
            self.moved,
            self.duration_s,
            self.result,
        )
        if session.service.observer is not None:
            session.service.observer.note_operation(session.protocol, self)

    def _record(self) -> None:
        """Record transfers, changes, logins and refusals, but no successful lookups."""
        if (self.result == "ok" and self.verb not in _RECORDED) or (
            self.verb == "part" and self.result in _USUAL_FOR_PARTS
        ):
            return
        size, digest = (self.moved, self.digest) if self.verb in _WITH_CONTENT else (None, "")
        self.session.record(
            self.verb, self.name, to=self.to, bytes=size, digest=digest, result=self.result
        )
