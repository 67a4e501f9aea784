"""The TLS handshake of one connection, in its session's own task, so that one which stalls holds up nobody."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from ftransfer.errors import Closed, TimedOut, TlsRequired
from ftransfer.limits import Limits
from ftransfer.link import Link

if TYPE_CHECKING:
    from ftransfer.tls.contexts import ServerTls

_RECORD_OF_HANDSHAKE = b"\x16"  # the first byte of whoever speaks TLS (RFC 8446, section 5.1)


async def encrypt(link: Link, tls: ServerTls, limits: Limits) -> None:
    """Encrypt a connection that has just been made.

    Raises:
        TlsRequired: The peer has spoken in plain, or said nothing at all; the link is still a plain one, so that it can be told.
        Closed: The peer went away, or took longer than limits.handshake_s, or does not fit: no TLS 1.3, no certificate that is
            accepted.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limits.handshake_s
    try:
        first = await link.peek(limits.handshake_s)
    except TimedOut as error:
        raise _tls_required() from error
    if first not in (_RECORD_OF_HANDSHAKE, b""):
        raise _tls_required()
    try:
        await link.start_tls(tls.context, server_side=True, hostname="", timeout_s=deadline - loop.time())
    except ssl.SSLError as error:
        # In peace, since a reset would overtake the alert that says what was wrong.
        await link.close(limits.close_s)
        raise Closed(f"{link.peer} did not complete the TLS handshake: {_reason(error)}") from error
    except TimedOut as error:
        raise Closed(str(error)) from error  # there is no form in which it could be told


def _tls_required() -> TlsRequired:
    return TlsRequired("this port speaks TLS only; connect with TLS")


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    return (error.reason or "it broke off").replace("_", " ").lower()
