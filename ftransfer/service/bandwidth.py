"""The bandwidth of a server: one bucket for all, one for each user, one for each session."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakSet, WeakValueDictionary

from ftransfer.auth.permissions import Principal
from ftransfer.service.throttle import Bucket, Throttle


@dataclass(frozen=True, slots=True)
class RateBounds:
    """Bytes of content a second, both ways together; None for no bound. A user's own allowance
    comes before `each_user`.
    """

    all: int | None = None
    each_user: int | None = None
    each_session: int | None = None


def owner_of(principal: Principal, source: str) -> str:
    """Give the key under which what a session takes is counted: those without a name count as one
    user for each source.
    """
    return f"source {source}" if principal.is_anonymous else f"user {principal.name}"


class Rates:
    """The buckets of one server."""

    def __init__(self, bounds: RateBounds | None = None) -> None:
        self.bounds = bounds or RateBounds()
        self._all = Bucket(self.bounds.all)
        self._users: WeakValueDictionary[str, Bucket] = WeakValueDictionary()
        self._has_own: WeakSet[Bucket] = WeakSet()
        self._sessions: WeakSet[Bucket] = WeakSet()

    def throttle(self, principal: Principal, source: str) -> Throttle:
        """Give what bounds a session of that user."""
        owner = owner_of(principal, source)
        own = principal.allowance.rate
        user = self._users.get(owner)
        if user is None:
            user = self._users[owner] = Bucket(self.bounds.each_user)
        if own is not None:
            user.rate = own
            self._has_own.add(user)
        elif user in self._has_own:  # until the file of users was changed
            user.rate = self.bounds.each_user
            self._has_own.discard(user)
        session = Bucket(self.bounds.each_session)
        self._sessions.add(session)
        return Throttle((self._all, user, session))

    def change(self, bounds: RateBounds) -> None:
        """Set other bounds, for the sessions that run as well."""
        self.bounds = bounds
        self._all.rate = bounds.all
        for user in self._users.values():
            if user not in self._has_own:
                user.rate = bounds.each_user
        for session in self._sessions:
            session.rate = bounds.each_session
