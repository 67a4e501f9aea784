"""Passwords -> hashes that a file may hold, by argon2 (RFC 9106).

A check takes 64 MiB and some 50 ms on purpose.
"""

from __future__ import annotations

import secrets

_MARK = "$argon2id$"
MIN_LENGTH = 8  # characters of a new password


def hash_password(password: str) -> str:
    """Return the text to store instead of a password."""
    # Not at the top: a server without users does not need it.
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def is_hash(text: str) -> bool:
    """Return whether hash_password could have made a text."""
    from argon2 import extract_parameters
    from argon2.exceptions import InvalidHash

    try:
        extract_parameters(text)
    except InvalidHash:
        return False
    return text.startswith(_MARK)


def matches(password: str, hashed: str) -> bool:
    """Return whether the hash was made from this password."""
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHash, VerificationError

    try:
        # A lone surrogate is not text: a wrong password, which takes as long as any other.
        return PasswordHasher().verify(hashed, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHash):
        return False


def cost_of(hashed: str) -> str:
    """Return the cost of checking a hash: two of the same cost take the same time."""
    return "$".join(hashed.split("$")[2:4])  # version, and memory, rounds and lanes


def decoy_like(hashed: str) -> str:
    """Return a hash of an unknown password that takes as long to check as this one."""
    from argon2 import PasswordHasher, extract_parameters

    return PasswordHasher.from_parameters(extract_parameters(hashed)).hash(secrets.token_hex())
