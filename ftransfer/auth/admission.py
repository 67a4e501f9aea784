"""Who may log in, and as whom: everyone, by a token, by a user's password, or a mixture. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ftransfer.auth.passwords import cost_of, decoy_like, matches
from ftransfer.auth.permissions import ANYONE, Principal
from ftransfer.auth.users import User

# A session without the required login: no rights.
NOBODY = Principal("", (), is_anonymous=True)


def make_token() -> str:
    """Return an unguessable secret: 32 random bytes in letters that never need quotes."""
    return secrets.token_urlsafe(32)


class Login(NamedTuple):
    """An accepted login: its principal and its proof (a hash of the password, or of the token)."""

    name: str
    principal: Principal
    proof: str


class Admission:
    """What a server requires from its clients. Methods may be called in any thread.

    Args:
        token: Its holder may do everything; "" for none.
        users: By name.
        anonymous: The principal without a login; None if a login is required.
    """

    def __init__(
        self,
        *,
        token: str = "",
        users: Mapping[str, User] | None = None,
        anonymous: Principal | None = None,
    ) -> None:
        self.anonymous = anonymous
        self.refresh: Callable[[], None] = (
            _nothing  # blocking; called before each check, to load changes
        )
        self.changed: Callable[[], object] = (
            _nothing  # called after each replacement, in any thread
        )
        self._token = token
        self._users: Mapping[str, User] = {}
        self._principals: Mapping[str, Principal] = {}
        self._decoys: Mapping[
            str, str
        ] = {}  # a hash of an unknown password for each cost among the users
        if users is not None:
            self.replace_users(users)

    @property
    def principals(self) -> Sequence[Principal]:
        """Return all principals of users and the anonymous one."""
        return [*self._principals.values(), *([] if self.anonymous is None else [self.anonymous])]

    @property
    def requires_login(self) -> bool:
        """Return whether nothing is allowed without a login."""
        return self.anonymous is None

    @property
    def has_token(self) -> bool:
        """Return whether there is a token to log in with."""
        return bool(self._token)

    @property
    def has_users(self) -> bool:
        """Return whether there are users, who log in with a name and a password."""
        return bool(self._users)

    def replace_users(self, users: Mapping[str, User]) -> bool:
        """Replace the users; return whether anything changed. Logins must be renewed. Blocking."""
        if users == self._users:
            return False
        examples = {cost_of(user.password): user.password for user in users.values()}
        self._decoys = {cost: decoy_like(hashed) for cost, hashed in examples.items()}
        self._principals = {name: self._principal(user) for name, user in users.items()}
        self._users = users
        self.changed()
        return True

    def replace_token(self, token: str) -> bool:
        """Replace the token; as replace_users."""
        if token == self._token:
            return False
        self._token = token
        self.changed()
        return True

    def _principal(self, user: User) -> Principal:
        """Return the principal of a user: the same object if unchanged, since sessions share it."""
        new = Principal(user.name, user.grants, allowance=user.allowance)
        old = self._principals.get(user.name)
        return old if old == new else new

    def check(self, name: str, secret: str) -> Login | None:
        """Return the login for a name and a secret, or None. Blocking.

        A wrong secret takes the same time for every name: it is checked once at each cost that a
        hash of the users has, against decoys unless it is the user's own.
        """
        self.refresh()
        if not name:
            is_right = bool(self._token) and _are_equal(secret, self._token)
            return Login("", ANYONE, _digest(self._token)) if is_right else None
        user, decoys = self._users.get(name), self._decoys
        own = user.password if user is not None else ""
        if user is not None and matches(secret, own):
            return Login(name, self._principal(user), own)
        for cost, decoy in decoys.items():
            if cost != cost_of(own):
                matches(secret, decoy)
        return None

    def renew(self, login: Login) -> Principal | None:
        """Return the principal of an earlier login now.

        None if the user is gone, or the password or the token has changed.
        """
        if not login.name:
            return (
                ANYONE
                if self._token and hmac.compare_digest(login.proof, _digest(self._token))
                else None
            )
        user = self._users.get(login.name)
        return (
            self._principals[login.name]
            if user is not None and user.password == login.proof
            else None
        )


def _nothing() -> None:
    """Do nothing."""


# For a server without logins.
OPEN = Admission(anonymous=ANYONE)


def _are_equal(one: str, other: str) -> bool:
    # Comparing digests hides even the length.
    return hmac.compare_digest(_digest(one), _digest(other))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
