"""One client of a share, over any protocol: who it is, what it may do, and at what rate."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from ftransfer.auth.admission import NOBODY, Login
from ftransfer.auth.permissions import Principal
from ftransfer.errors import NotAuthorised
from ftransfer.names import escape
from ftransfer.service.bandwidth import Throttle, owner_of
from ftransfer.service.outbox import EventSink
from ftransfer.service.participant import Participant
from ftransfer.service.penalties import Offence
from ftransfer.service.service import Service
from ftransfer.service.session_log import SessionLog
from ftransfer.service.transfer_group import RunningOperation

# A person who mistypes can retry at once; a program that guesses has to reconnect.
MAX_FAILED_LOGINS = 3


class Endpoint(Protocol):
    """What a gateway shows of the client's end of a session."""

    @property
    def peer(self) -> str:
        """The client's address, in human-readable form."""

    @property
    def peer_host(self) -> str: ...
    @property
    def is_local(self) -> bool:
        """Return whether the client runs on the server's own machine."""

    def open_event_sink(self) -> EventSink:
        """Return the sink for events from now on, in the form of the gateway."""

    def unanswered_s(self) -> float:
        """Return for how long the client's machine has not acknowledged what was sent to it."""

    def abort(self) -> None:
        """Close the connection at once."""

    def end(self) -> None:
        """End the session soon, and tell the client that its login is no longer valid."""


class Session(SessionLog):
    """One client that ConnectionLimiter.refusal admitted. Its gateway always calls `leave`.

    Over the native protocol it is one connection; a gateway may also let it outlive connections.

    Args:
        protocol: The gateway's name: "native", "web", "dav", "sftp".
    """

    __slots__ = (
        "_endpoint", "_login", "_pace", "_principal", "failed_logins", "hub", "idle_since",
        "is_admitted", "is_local", "is_withdrawn", "operations", "participant", "service", "slot",
        "view", "__weakref__",
    )  # fmt: skip

    def __init__(self, service: Service, endpoint: Endpoint, protocol: str) -> None:
        self.slot = service.limiter.enter(endpoint.peer_host, endpoint.abort)
        number = service.add(self)
        super().__init__(service.journals, number, protocol, endpoint.peer, self.slot.source)
        self.service = service
        self.hub = service.hub
        self.is_local = endpoint.is_local
        self._endpoint = endpoint
        # Whether it may do anything: no login is required, or it has logged in
        self.is_admitted = service.admission.anonymous is not None
        self.is_withdrawn = False  # its login is no longer valid: it is being ended
        self.failed_logins = 0
        self._login: Login | None = None
        self._pace: Throttle | None = None
        self._principal = service.admission.anonymous or NOBODY
        self.view = service.share.view_for(self._principal, self.source)
        self.user = self._principal.name
        self.operations: tuple[RunningOperation, ...] = ()  # those that run; the latest is last
        self.idle_since = asyncio.get_running_loop().time()
        self.participant: Participant = service.hub.create_participant(self)

    @property
    def principal(self) -> Principal:
        """The user it acts for, with the rights that the share allows."""
        return self.view.principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        # Earlier changes are sent under the earlier rights
        self.hub.broadcaster.flush_changes()
        self._principal = principal
        self.user = principal.name
        self.view = self.service.share.view_for(principal, self.source)
        self.slot.mark_active()
        if self._pace is not None:
            self._pace.buckets = self.service.bandwidth.throttle(principal, self.source).buckets

    @property
    def owner(self) -> str:
        """The owner of its bandwidth and memory: a user, or else an address."""
        return owner_of(self._principal, self.source)

    @property
    def pace(self) -> Throttle:
        """The bandwidth limit of the session; the same object after a login."""
        if self._pace is None:
            self._pace = self.service.bandwidth.throttle(self._principal, self.source)
        return self._pace

    async def log_in(self, name: str, secret: str) -> None:
        """Act for the user with this name and secret, from the next operation on.

        A wrong name and a wrong secret get the same answer after the same time.

        Raises:
            NotAuthorised: One of them is wrong. After MAX_FAILED_LOGINS the gateway ends the
                session.
        """
        admission = self.service.admission
        login = await self.service.logins.run(
            self.source, self.failed_logins, lambda: admission.check(name, secret)
        )
        # The owner may have changed users or token during the check; from here on nothing is
        # awaited.
        if login is None or admission.renew(login) is None:
            self.failed_logins += 1
            self.slot.penalise(Offence.LOGIN)
            self.note("login failed: %s", escape(name) or "token", level=logging.WARNING)
            raise NotAuthorised("the name or the secret is wrong")
        self._login = login
        self.renew_login()
        if not self.is_admitted:
            self.is_admitted = True
            self.join()
        self.note("logged in: %s", escape(name) or "token")

    def renew_login(self) -> None:
        """Apply the owner's changes: new rights apply from now on.

        Without its user the session is withdrawn.
        """
        if self._login is None:
            return
        principal = self.service.admission.renew(self._login)
        if principal is None:
            self.is_withdrawn = True
        elif principal is not self._principal:
            self.principal = principal

    def end(self) -> None:
        """Have the gateway end the session and tell the client why."""
        self._endpoint.end()

    def join(self) -> None:
        """Show the session to the others, if it is admitted."""
        if self.is_admitted:
            self.hub.join(self.participant)

    async def leave(self) -> None:
        """End the session: the service keeps nothing of it."""
        self.flush_log()
        try:
            await self.hub.leave(self.participant)
            await self.service.changes.leave(self.participant)
        finally:
            self.service.remove(self)
            # They refer to the session in turn: thousands would wait for the garbage collector
            del self.participant, self._endpoint

    # What the hub knows of it (participant.Member).

    @property
    def operation(self) -> RunningOperation | None:
        return self.operations[-1] if self.operations else None

    @property
    def began_at(self) -> float:
        return self.operations[-1].began_at if self.operations else self.idle_since

    def open_event_sink(self) -> EventSink:
        return self._endpoint.open_event_sink()

    def unanswered_s(self) -> float:
        return self._endpoint.unanswered_s()

    def abort(self) -> None:
        self._endpoint.abort()
