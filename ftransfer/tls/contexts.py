"""OpenSSL contexts for either end, TLS 1.3 only.

Errors in a certificate or key file are reported here, with its name.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

from ftransfer.errors import BadFile
from ftransfer.system.private_files import check_private
from ftransfer.tls.fingerprint import fingerprint_of

HTTP = "http/1.1"  # as RFC 7301 names it
SYSTEM = "system"  # instead of a file: the authorities of the operating system


class ServerTls:
    """What a server presents and requires. `context` is for the next connection.

    `reload` makes a new one from the same files.

    Args:
        certificate: PEM file with the certificate and its chain to the authority.
        key: PEM file with its key, "" if that is in the same file.
        client_ca: PEM file with the authorities that must issue client certificates; "" requires
            none.

    Raises:
        BadFile: A file is missing or invalid.
    """

    def __init__(self, certificate: str, key: str = "", client_ca: str = "") -> None:
        self.files = (certificate, key, client_ca)  # what `reload` opens again; "" for none
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.fingerprint = ""
        self.reload()

    def reload(self) -> None:
        """Read the files again. Blocking.

        Raises:
            BadFile: As at the start; the previous context stays.
        """
        certificate, key, client_ca = self.files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Sessions are long, so resuming one saves nothing, and tickets cost each handshake two
        # messages.
        context.num_tickets = 0
        # Our own clients send no ALPN. A browser does, so it is recognised by the chosen protocol
        # before anything is sent to it.
        context.set_alpn_protocols([HTTP])
        _load_pair(context, certificate, key)
        if client_ca:
            _load_authorities(context, client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        self.fingerprint = fingerprint_of(first_certificate(certificate))
        self.context = context


def client_context(*, ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """Make a client's context. Blocking.

    Args:
        ca: SYSTEM or a PEM file: the server's certificate must come from one of these authorities
            and name the host. "": it is not checked here, and the caller must compare its
            fingerprint.
        certificate, key: What the client presents; as for a server.

    Raises:
        BadFile: A file is missing or invalid.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca == SYSTEM:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif ca:
        _load_authorities(context, ca)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        _load_pair(context, certificate, key)
    return context


def authority_of(ca: str) -> str:
    """Return an identifier of the trusted authorities: SYSTEM, or a digest of their file. Blocking.

    Raises:
        BadFile: The file cannot be read.
    """
    if ca == SYSTEM:
        return SYSTEM
    import hashlib

    try:
        with open(ca, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadFile(f"{ca}: it cannot be read: {error.strerror}") from error


def first_certificate(path: str) -> bytes:
    """Return the first certificate of a PEM file, in DER.

    Raises:
        BadFile: There is none.
    """
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    try:
        with open(path, encoding="latin-1") as file:
            text = file.read()
        start = text.index(begin)
        return ssl.PEM_cert_to_DER_cert(text[start : text.index(end, start) + len(end)])
    except OSError as error:
        raise BadFile(f"{path}: it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadFile(f"{path}: there is no certificate in it; it must be a PEM file") from error


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    first_certificate(certificate)  # a clearer error than OpenSSL's
    _check_readable([key] if key else [])
    check_private(key or certificate, "the key")
    asked: list[bool] = []

    def no_password() -> str:
        asked.append(True)  # without this OpenSSL would ask on the terminal
        return ""

    try:
        context.load_cert_chain(certificate, key or None, password=no_password)
    except (ssl.SSLError, ValueError) as error:
        if asked:
            why = "the key is protected by a password; openssl pkey writes it without one"
        elif getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            why = f"the key does not belong to the certificate in {certificate}"
        else:
            why = "there is no key in it that can be used; it must be a PEM file" + (
                "" if key else ", or --key must name one"
            )
        raise BadFile(f"{key or certificate}: {why}") from error


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _check_readable([path])
    first_certificate(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise BadFile(f"{path}: its certificates cannot be used; it must be a PEM file") from error


def _check_readable(paths: Sequence[str]) -> None:
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise BadFile(f"{path}: it cannot be read: {error.strerror}") from error
