"""Who is let in, and as whom: open to all, a token, users with passwords, or a mixture. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ftransfer.auth.passwords import cost_of, decoy_like, matches
from ftransfer.auth.permissions import ANYONE, Principal
from ftransfer.auth.users import User

# Whoever has not logged in where it must be done: without any right.
NOBODY = Principal("", (), is_anonymous=True)


def make_token() -> str:
    """Return a secret that cannot be guessed: 32 random bytes in letters that need no quotes
    anywhere.
    """
    return secrets.token_urlsafe(32)


class Login(NamedTuple):
    """A login that was accepted: whom it stands for, and what proved it (the hash of the password,
    or a digest of the token).
    """

    name: str
    principal: Principal
    proof: str


class Admission:
    """What a server asks of those who come. Methods may be called in any thread.

    Args:
        token: Lets its holder do everything; "" for none.
        users: By name.
        anonymous: What those may do who have not logged in; None if all must.
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
            _nothing  # blocking; called before each check, to take up what has changed
        )
        self.changed: Callable[[], object] = (
            _nothing  # called after each replacement, in any thread
        )
        self._token = token
        self._users: Mapping[str, User] = {}
        self._principals: Mapping[str, Principal] = {}
        self._decoys: Mapping[
            str, str
        ] = {}  # for each cost that a hash of the users has, one of nothing known
        if users is not None:
            self.replace_users(users)

    @property
    def principals(self) -> Sequence[Principal]:
        """All that users and the anonymous may be."""
        return [*self._principals.values(), *([] if self.anonymous is None else [self.anonymous])]

    @property
    def requires_login(self) -> bool:
        """Whether nothing may be done without a login."""
        return self.anonymous is None

    @property
    def has_token(self) -> bool:
        """Whether there is a token to log in with."""
        return bool(self._token)

    @property
    def has_users(self) -> bool:
        """Whether there are users, who log in with a name and a password."""
        return bool(self._users)

    def replace_users(self, users: Mapping[str, User]) -> bool:
        """Take other users from now on; return whether anything is different. Logins are to be
        renewed. Blocking.
        """
        if users == self._users:
            return False
        examples = {cost_of(user.password): user.password for user in users.values()}
        self._decoys = {cost: decoy_like(hashed) for cost, hashed in examples.items()}
        self._principals = {name: self._principal(user) for name, user in users.items()}
        self._users = users
        self.changed()
        return True

    def replace_token(self, token: str) -> bool:
        """Take another token from now on; as replace_users."""
        if token == self._token:
            return False
        self._token = token
        self.changed()
        return True

    def _principal(self, user: User) -> Principal:
        """Return the principal of a user; the same object as before if nothing about it has
        changed, since sessions share it.
        """
        new = Principal(user.name, user.grants, allowance=user.allowance)
        old = self._principals.get(user.name)
        return old if old == new else new

    def check(self, name: str, secret: str) -> Login | None:
        """Return the login that a name and a secret make, or None. Blocking.

        A wrong one takes the same time whoever was named: it is checked once at each cost that a
        hash of the users has, against decoys where it is not the user's own.
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
        """Return whom an earlier login stands for now; None if the user is gone, or the password or
        the token is another.
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


# For a server that asks nobody anything.
OPEN = Admission(anonymous=ANYONE)


def _are_equal(one: str, other: str) -> bool:
    # Of digests, so that not even the length can be measured.
    return hmac.compare_digest(_digest(one), _digest(other))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
