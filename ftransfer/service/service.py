"""A share that is being served: what all its clients have in common, over any protocol.

Created once, by the program that starts the server, and passed to each gateway. It knows who, what
and how much, and nothing of any wire format.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import NoReturn, Protocol

from ftransfer.auth.admission import OPEN, Admission
from ftransfer.errors import Busy
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.service.audit import Audit
from ftransfer.service.bandwidth import Bandwidth, BandwidthLimits
from ftransfer.service.changes import Changes, Watcher
from ftransfer.service.connection_limiter import ConnectionLimiter, Slot
from ftransfer.service.digests import DigestService
from ftransfer.service.expiry import expire_partials
from ftransfer.service.hub import Hub
from ftransfer.service.journal import Journals
from ftransfer.service.login_queue import LoginQueue
from ftransfer.service.memory_budget import ContentMemory
from ftransfer.service.networks import Networks
from ftransfer.service.penalties import source_of
from ftransfer.service.share import Share
from ftransfer.storage.base import KEEP_PARTIALS_S
from ftransfer.system.heap import HeapTrimmer
from ftransfer.system.threads import stop_task


class EndedOperation(Protocol):
    """What an observer can read from an operation: see service.operation."""

    @property
    def verb(self) -> str: ...
    @property
    def moved(self) -> int: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def result(self) -> str: ...


class Observer(Protocol):
    """Counts operations, for metrics."""

    def note_operation(self, protocol: str, operation: EndedOperation) -> None:
        """Record an operation that has ended. Called on the event loop; must not raise."""


class Served(Protocol):
    """What the service knows of a session (service.session)."""

    @property
    def slot(self) -> Slot: ...
    @property
    def is_withdrawn(self) -> bool: ...
    def renew_login(self) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """How a share is served.

    Args:
        watcher: Finds changes in the folder (watch.watcher.FolderWatcher); without one, nobody can
            watch.
        admission: Who must log in, and with what; by default nobody.
        bandwidth: How fast content may move; `Service.bandwidth.set_limits` replaces the limits.
        audit: The owner's record of who did what; the caller who opened it closes it.
        trusted: Networks without their own session limit and without penalties;
            `Service.limiter.trusted` can be replaced.
        keep_partials_s: How long interrupted uploads can be resumed; then they are removed.
        observer: Notified of each operation that has ended, for metrics.
    """

    limits: Limits = DEFAULT_LIMITS
    watcher: Watcher | None = None
    admission: Admission = OPEN
    bandwidth: BandwidthLimits | None = None
    audit: Audit | None = None
    trusted: Networks | None = None
    keep_partials_s: float = KEEP_PARTIALS_S
    observer: Observer | None = None


DEFAULTS = ServiceOptions()


class Service:
    """What the sessions of all gateways share.

    Stop the gateways first, then this, then close the share.
    """

    def __init__(self, share: Share, options: ServiceOptions = DEFAULTS) -> None:
        limits = options.limits
        loop = asyncio.get_running_loop()
        self.share = share
        self.limits = limits
        self.admission = options.admission
        self.audit = options.audit
        self.observer = options.observer
        self.session_count = 0  # sessions until now; the number of the latest one
        self.sessions: set[Served] = set()
        self.limiter = ConnectionLimiter(limits, loop.time, options.trusted)
        self.logins = LoginQueue()
        self.bandwidth = Bandwidth(options.bandwidth)
        self.journals = Journals(options.audit)
        self.digests = DigestService(limits)
        self.memory = ContentMemory(limits.max_content_bytes)
        self.hub = Hub(limits)
        self.changes = Changes(self.hub, limits, options.watcher, hiding=share.hiding)
        self._heap_trimmer = HeapTrimmer()
        if self.admission is not OPEN:  # which is shared, and never changes
            self.admission.changed = functools.partial(loop.call_soon_threadsafe, self.renew_logins)
        self._expiring: asyncio.Task[NoReturn] | None = None
        if not share.read_only:
            expiring = expire_partials(share.store, options.keep_partials_s, now_ns=share.now_ns)
            self._expiring = loop.create_task(expiring)

    def add(self, session: Served) -> int:
        """Add a session; return its number."""
        self.session_count += 1
        self.sessions.add(session)
        self._heap_trimmer.note(len(self.sessions))
        return self.session_count

    def remove(self, session: Served) -> None:
        """Remove a session that has ended. Calling it twice is no error."""
        session.slot.leave()
        self.sessions.discard(session)
        self._heap_trimmer.note(len(self.sessions))

    def renew_logins(self) -> None:
        """Check each session against the current users and token.

        Rights change at once, and sessions of removed users end at once.
        """
        for session in list(self.sessions):
            session.renew_login()
            if session.is_withdrawn:
                session.end()

    def set_limits(self, limits: Limits) -> None:
        """Replace the limits, for future sessions."""
        self.limits = self.limiter.limits = limits

    def note_refusal(self, peer: str, host: str, refusal: Busy) -> None:
        """Log that a connection was refused before it became a session."""
        journal = self.journals.of(source_of(host))
        journal.note("%s refused: %s", peer, refusal)
        journal.record("connect", peer=peer, result=refusal.code)

    async def stop(self) -> None:
        """Stop all background work. Stopping twice is no error."""
        if self._expiring is not None:
            await stop_task(self._expiring)
        self.logins.close()
        self._heap_trimmer.stop()
        self.journals.stop()
        await self.changes.stop()
