"""One spelling for the address of a server: what is known of it, or saved for it, is found however
it is typed.

A leaf. Names are not looked up: two names of one server stay two addresses, since a name may lead
elsewhere tomorrow.
"""

from __future__ import annotations

import contextlib
import socket

_MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address in one of IPv6


def canonical_address(address: str) -> str:
    """Return the one spelling of `host:port`, an IPv6 host in brackets."""
    host, _, port = address.rpartition(":")
    host = canonical_host(host.removeprefix("[").removesuffix("]"))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def canonical_host(host: str) -> str:
    """Return the one spelling of an address or a name: without leading zeros, upper-case letters,
    and the dot of a full name.
    """
    host, percent, zone = host.partition("%")
    # Not by ipaddress: to import it would take longer than most connections to this machine.
    with contextlib.suppress(OSError, ValueError):
        packed = socket.inet_pton(socket.AF_INET6, host)
        if packed.startswith(_MAPPED):
            return socket.inet_ntop(socket.AF_INET, packed.removeprefix(_MAPPED))
        return socket.inet_ntop(socket.AF_INET6, packed) + percent + zone
    if host[:1].isdigit():
        with contextlib.suppress(OSError, ValueError):
            # As the system reads it: 127.1 is 127.0.0.1
            return socket.inet_ntoa(socket.inet_aton(host))
    with contextlib.suppress(UnicodeError):
        host = host if host.isascii() else host.encode("idna").decode()
    return host.lower().removesuffix(".") + percent + zone
