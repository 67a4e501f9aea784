"""The fingerprint of a certificate: what a person compares and a client pins."""

from __future__ import annotations

import base64
import binascii

_PREFIX = "SHA256:"
_SIZE = 32


def fingerprint_of(certificate: bytes) -> str:
    """Return the fingerprint of a DER certificate.

    It is `SHA256:` and base64 without padding, as OpenSSH writes that of a key.
    """
    import hashlib  # only for TLS connections

    return _format(hashlib.sha256(certificate).digest())


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint in its one form.

    Also accepted: 64 hexadecimal digits, with or without colons between the bytes, as `openssl x509
    -fingerprint -sha256` prints them; and base64 with padding.

    Raises:
        ValueError: It is not a fingerprint; the message is for people.
    """
    body = text.strip()
    if body[: len(_PREFIX)].upper() == _PREFIX:
        body = body[len(_PREFIX) :]
    digest = _from_hex(body.replace(":", "")) or _from_base64(body)
    if digest is None:
        raise ValueError(
            "a fingerprint is SHA256: and 43 characters of base64, or 64 hexadecimal digits"
        )
    return _format(digest)


def _from_hex(body: str) -> bytes | None:
    try:
        return bytes.fromhex(body) if len(body) == 2 * _SIZE else None
    except ValueError:
        return None


def _from_base64(body: str) -> bytes | None:
    body = body.rstrip("=")
    try:
        digest = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    # The last character has spare bits, so different ones could mean the same bytes.
    return (
        digest
        if len(digest) == _SIZE and base64.b64encode(digest).decode().rstrip("=") == body
        else None
    )


def _format(digest: bytes) -> str:
    return _PREFIX + base64.b64encode(digest).decode().rstrip("=")
