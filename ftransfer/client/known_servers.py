"""What is known of a server: the key that it showed before, or its record if it is our own.

It decides whether we may connect, in plain or at all, and whether we may send a secret.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ftransfer.auth.running_servers import RunningServer, find_running
from ftransfer.client.address import Address
from ftransfer.client.security import Security
from ftransfer.errors import BadFile, NotTrusted
from ftransfer.system.private_files import state_folder
from ftransfer.transport import Transport

if TYPE_CHECKING:
    from ftransfer.tls.known_hosts import KnownHosts, KnownKey

_KNOWN_HOSTS = "known_hosts"


def check_key(transport: Transport, address: Address, security: Security) -> str:
    """Compare the server's fingerprint with the given or the known one. Blocking.

    Returns:
        The fingerprint if it is new, else "".

    Raises:
        NotTrusted: It differs, or cannot be compared.
    """
    from ftransfer.tls.fingerprint import parse_fingerprint

    shown = shown_by(transport)
    if security.fingerprint:
        try:
            wanted = parse_fingerprint(security.fingerprint)
        except ValueError as error:
            raise NotTrusted(f"{address} cannot be checked: {error}") from error
        if shown != wanted:
            raise NotTrusted(
                f"{address} shows the key {shown}, not {wanted}; ask its owner which is right, send"
                " nothing until then"
            )
    if security.fingerprint or own_server(transport, address.port, security) is not None:
        with contextlib.suppress(BadFile):  # the key counts as confirmed even if it cannot be saved
            _known_hosts(security).remember(str(address), shown)
        return ""
    if (known := _known_key(address, security)) is None:
        return shown
    _compare(shown, known.fingerprint, address)
    return ""


def expects_tls(transport: Transport, address: Address, security: Security) -> bool:
    """Return whether a connection leads to a server that is known to speak TLS.

    The record of a server of our own decides; else whether this address showed a key before.
    Blocking. Raises NotTrusted.
    """
    server = find_running(_state(security), transport.peer_host, address.port, transport.own_host)
    return bool(server.fingerprint) if server is not None else is_known(address, security)


def is_known(address: Address, security: Security) -> bool:
    """Return whether a server has shown a key at this address, so that plain is refused.

    Blocking. Raises NotTrusted.
    """
    return _known_key(address, security) is not None


def is_confirmed(address: Address, shown: str, security: Security) -> bool:
    """Return whether the key that a server shows is confirmed. Blocking. Raises NotTrusted."""
    if security.fingerprint or security.ca:
        return True
    known = _known_key(address, security)
    return known is not None and known.is_confirmed and known.fingerprint == shown


def keep_first(address: Address, shown: str, security: Security) -> None:
    """Pin the key that a server shows, unconfirmed. Blocking. Raises NotTrusted."""
    with _reported(address):
        wanted = _known_hosts(security).remember_first(str(address), shown).fingerprint
    _compare(shown, wanted, address)


def shown_by(transport: Transport) -> str:
    """Return the fingerprint of the server's certificate; "" in plain."""
    if transport.tls is None:
        return ""
    from ftransfer.tls.fingerprint import fingerprint_of

    return fingerprint_of(transport.tls.getpeercert(binary_form=True) or b"")


def own_server(transport: Transport, port: int, security: Security) -> RunningServer | None:
    """Return the server of our own that a connection leads to, if its key matches. Blocking."""
    server = find_running(_state(security), transport.peer_host, port, transport.own_host)
    return server if server is not None and server.fingerprint == shown_by(transport) else None


def _known_hosts(security: Security) -> KnownHosts:
    from ftransfer.tls.known_hosts import KnownHosts

    return KnownHosts(_state(security) / _KNOWN_HOSTS)


def _state(security: Security) -> Path:
    return security.state or state_folder()


def _known_key(address: Address, security: Security) -> KnownKey | None:
    if not os.path.lexists(_state(security) / _KNOWN_HOSTS):
        # On their own machine most users have no such file, so its reader is not imported
        return None
    with _reported(address):
        return _known_hosts(security).find(str(address))


@contextlib.contextmanager
def _reported(address: Address) -> Iterator[None]:
    try:
        yield
    except BadFile as error:
        raise NotTrusted(
            f"{address} cannot be compared with an earlier visit: {error}; or give --fingerprint"
        ) from error


def _compare(shown: str, wanted: str, address: Address) -> None:
    if shown != wanted:
        raise NotTrusted(
            f"{address} shows another key than before: {shown}, not {wanted}; somebody may be in"
            " between. If its owner says that the new one is right, connect once with"
            " --fingerprint and that one"
        )
