"""Who is let in, and as whom: open to all, a token, users with passwords, or a mixture. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from ftransfer.auth.passwords import decoy_like, matches
from ftransfer.auth.users import User
from ftransfer.rights import ANYONE, Principal

# The words of hello's key "auth".
NO_LOGIN, MAY_LOG_IN, MUST_LOG_IN = "none", "optional", "required"

# Whoever has not logged in where it must be done: without any right.
NOBODY = Principal("", (), is_anonymous=True)


def make_token() -> str:
    """Give a secret that cannot be guessed: 32 random bytes in letters that need no quotes anywhere."""
    return secrets.token_urlsafe(32)


class Admission:
    """What a server asks of those who come.

    Args:
        token: Lets its holder do everything; "" for none.
        users: By name.
        anonymous: What those may do who have not logged in; None if all must.
    """

    def __init__(self, *, token: str = "", users: Mapping[str, User] | None = None, anonymous: Principal | None = None) -> None:
        self.anonymous = anonymous
        self._token = token
        self._users: Mapping[str, User] = {}
        self._decoy = ""
        if users is not None:
            self.replace_users(users)

    @property
    def wants(self) -> str:
        """What hello says: NO_LOGIN, MAY_LOG_IN or MUST_LOG_IN."""
        if self.anonymous is None:
            return MUST_LOG_IN
        return MAY_LOG_IN if self._token or self._users else NO_LOGIN

    def replace_users(self, users: Mapping[str, User]) -> None:
        """Take other users from now on; who has logged in stays. Blocking."""
        self._decoy = decoy_like(next(iter(users.values())).password) if users else ""
        self._users = users

    def check(self, name: str, secret: str) -> Principal | None:
        """Give whom a login stands for, or None. Blocking.

        It takes the same time whether a name is unknown or its password wrong: an unknown one is checked against a decoy.
        """
        if not name:
            return ANYONE if self._token and _are_equal(secret, self._token) else None
        user = self._users.get(name)
        hashed = user.password if user is not None else self._decoy
        if not hashed or not matches(secret, hashed) or user is None:
            return None
        return Principal(user.name, user.grants, allowance=user.allowance)


# For a server that asks nobody anything.
OPEN = Admission(anonymous=ANYONE)


def _are_equal(one: str, other: str) -> bool:
    # Of digests, so that not even the length can be measured.
    return hmac.compare_digest(*(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (one, other)))
