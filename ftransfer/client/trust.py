"""From a plain connection to a trusted one: the TLS handshake, and its errors."""

from __future__ import annotations

import functools
import ssl

from ftransfer.client.address import Address
from ftransfer.client.known_servers import check_key, is_known
from ftransfer.client.security import Security
from ftransfer.errors import CannotConnect, Closed, NotAuthorised, NotTrusted, TimedOut
from ftransfer.system.threads import io_pool, run_job
from ftransfer.tls.contexts import client_context
from ftransfer.transport import Transport

# OpenSSL's errors for an answer that is not TLS, or another version of it.
_NO_TLS = frozenset(
    (
        *(
            "WRONG_VERSION_NUMBER",
            "HTTP_REQUEST",
            "BAD_RECORD_TYPE",
            "RECORD_LAYER_FAILURE",
            "PACKET_LENGTH_TOO_LONG",
        ),
        "SSLV3_ALERT_UNEXPECTED_MESSAGE",  # the answer of our own plain port
    )
)
_OLD_TLS = frozenset(
    ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE")
)
# How our server refuses a client: these alerts arrive after the handshake, which has already
# succeeded for the client.
_ALERTS_ON_CERTIFICATES = (
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "DECRYPT_ERROR",
)


class SpeaksNoTls(NotTrusted):
    """The server does not speak TLS."""


async def start_trusted_tls(
    transport: Transport, address: Address, security: Security, timeout_s: float
) -> str:
    """Encrypt a new connection and verify the server.

    Returns:
        The fingerprint of a server that is seen for the first time, to be pinned with `keep_first`;
        "" for a known server.

    Raises:
        SpeaksNoTls, NotTrusted: It cannot encrypt, or it is not the expected server.
        CannotConnect: The server closed the connection, or did not complete the handshake.
        BadFile: A file that `security` names, or the file of known servers, cannot be used.
    """
    context = await run_job(io_pool(), lambda: _context(security))
    try:
        await transport.start_tls(
            context, server_side=False, hostname=address.host, timeout_s=timeout_s
        )
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message
        raise NotTrusted(
            f"the certificate of {address} is not valid: {why}; --fingerprint trusts one"
            " certificate by itself"
        ) from error
    except ssl.SSLError as error:
        raise await run_job(
            io_pool(), functools.partial(_broken_handshake, error, address, security)
        ) from error
    except (Closed, TimedOut) as error:
        raise CannotConnect(
            f"{address} does not complete the TLS handshake; does it speak TLS, and is it that"
            " port?"
        ) from error
    return (
        ""
        if security.ca
        else await run_job(io_pool(), lambda: check_key(transport, address, security))
    )


async def handshake_succeeds(transport: Transport, host: str, timeout_s: float) -> bool:
    """Return whether the connection can be encrypted, without trust: send nothing over it."""
    context = await run_job(io_pool(), client_context)
    try:
        await transport.start_tls(context, server_side=False, hostname=host, timeout_s=timeout_s)
    except (ssl.SSLError, Closed, TimedOut):
        return False
    return True


def _context(security: Security) -> ssl.SSLContext:
    return client_context(ca=security.ca, certificate=security.certificate, key=security.key)


def _broken_handshake(error: ssl.SSLError, address: Address, security: Security) -> Exception:
    reason = error.reason or ""
    if reason in _NO_TLS:
        if security.fingerprint or security.ca or is_known(address, security):
            return SpeaksNoTls(
                f"{address} does not answer in TLS, and it is known by its key; somebody may be in"
                " its place: ask its owner"
            )
        return SpeaksNoTls(
            f"{address} does not answer in TLS; have it started with --tls on, or use --plain if"
            " the way there is safe"
        )
    if reason in _OLD_TLS:
        return NotTrusted(
            f"{address} does not speak TLS 1.3; update the server, or the proxy in front of it"
        )
    if (refused := certificate_refused(error, str(address))) is not None:
        return refused
    return CannotConnect(
        f"the TLS handshake with {address} failed: {reason.replace('_', ' ').lower() or error}"
    )


def certificate_refused(error: BaseException | None, address: str) -> NotAuthorised | None:
    """Return the error to raise if the server refused our certificate, else None."""
    reason = (getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""
    if not reason.endswith(_ALERTS_ON_CERTIFICATES):
        return None
    if reason.endswith("CERTIFICATE_REQUIRED"):
        return NotAuthorised(
            f"{address} asks for a client certificate; give one with --cert and --key"
        )
    word = reason.partition("ALERT_")[2].replace("_", " ").lower()
    return NotAuthorised(
        f"{address} does not accept the client certificate ({word}); ask its owner for one"
    )
