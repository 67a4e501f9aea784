"""What comes before hello: the TLS handshake, and detection of other protocols.

It runs in the session's own task, so that a stalled peer delays nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from typing import TYPE_CHECKING

from ftransfer.errors import Closed, TimedOut, TlsRequired
from ftransfer.limits import Limits
from ftransfer.protocol.foreign_protocols import ForeignProtocol, foreign_in
from ftransfer.transport import Transport
from ftransfer.transport.channel import Channel

if TYPE_CHECKING:
    from ftransfer.tls.contexts import ServerTls

_RECORD_OF_HANDSHAKE = b"\x16"  # the first byte of a TLS client (RFC 8446, section 5.1)

# In plain text, hello is delayed by this much unless the peer speaks first: most peers of other
# protocols do so at once (a browser, curl and ssh within 0.2 ms of the connection, rsync within 1.1
# ms), and understand no answer behind a hello. When more programs want to run than there are
# processors, the delay grows in proportion.
_FIRST_WORDS_S = 0.003
_FIRST_WORDS_MOST_S = 0.1


async def encrypt(transport: Transport, tls: ServerTls, limits: Limits) -> bool:
    """Encrypt a new connection; return False if the peer left without sending a byte.

    Port scanners do that.

    Raises:
        TlsRequired: The peer sent plain text, or nothing at all. The transport is still plain, so
            the error can be sent.
        ForeignProtocol: It spoke another protocol, in plain text.
        Closed: The peer closed, took longer than limits.handshake_s, or is incompatible: no TLS
            1.3, or no accepted certificate.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limits.handshake_s
    try:
        first = await transport.peek(limits.handshake_s)
    except TimedOut as error:
        raise _tls_required() from error
    except Closed:
        return False
    if first == b"" and transport.direct is not None:  # else the transport may be unable to peek
        return False
    if first not in (_RECORD_OF_HANDSHAKE, b""):
        raise foreign_in(await transport.read(limits.handshake_s)) or _tls_required()
    try:
        await transport.start_tls(
            tls.context, server_side=True, hostname="", timeout_s=deadline - loop.time()
        )
    except ssl.SSLError as error:
        # Not a reset, which would overtake the alert that says what was wrong.
        await transport.close(limits.close_s)
        raise Closed(
            f"{transport.peer} did not complete the TLS handshake: {_reason(error)}"
        ) from error
    except TimedOut as error:
        raise Closed(str(error)) from error  # there is no format to send it in
    return True


async def detect_foreign_protocol(channel: Channel, limits: Limits) -> None:
    """Wait a moment for a peer that speaks first, as those of other protocols do.

    Raises:
        ForeignProtocol: It speaks another protocol.
        Closed: The connection broke.
    """
    transport, connection = channel.transport, channel.connection
    if transport.tls is None:
        with contextlib.suppress(TimedOut):
            connection.receive_bytes(await transport.read(_moment_s()))
        connection.check_opening()
    elif transport.tls.selected_alpn_protocol() is not None:  # no client of ours names one
        first = await transport.read(limits.line_s)
        raise foreign_in(first) or ForeignProtocol("HTTP", first)


def _moment_s() -> float:
    try:
        crowding = os.getloadavg()[0] / (os.cpu_count() or 1)
    except (OSError, AttributeError):  # not on every platform
        crowding = 1.0
    return min(_FIRST_WORDS_S * max(1.0, crowding), _FIRST_WORDS_MOST_S)


def _tls_required() -> TlsRequired:
    return TlsRequired("this port speaks TLS only; connect with TLS")


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    return (error.reason or "it broke off").replace("_", " ").lower()
