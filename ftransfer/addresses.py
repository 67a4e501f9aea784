"""Addresses of peers: how they are written, and which belong to this machine.

A leaf. Each address has one spelling, so that saved data about a server is found however the
address is typed. Names are not resolved for that: two names of one server stay two addresses,
because a name may point elsewhere tomorrow.
"""

from __future__ import annotations

import contextlib
import socket

_MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address in one of IPv6 (RFC 4291, 2.5.5.2)
_LOOPBACK_6 = bytes(15) + b"\1"


def format_address(host: str, port: object) -> str:
    """Return `host:port`, an IPv6 host in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def canonical_address(address: str) -> str:
    """Return the one spelling of `host:port`, an IPv6 host in brackets."""
    host, _, port = address.rpartition(":")
    return format_address(canonical_host(host.removeprefix("[").removesuffix("]")), port)


def canonical_host(host: str) -> str:
    """Return the one spelling of an address or a name.

    It has no leading zeros, no upper-case letters and no final dot.
    """
    host, percent, zone = host.partition("%")
    # Not by ipaddress: its import takes longer than most connections to this machine.
    with contextlib.suppress(OSError, ValueError):
        packed = socket.inet_pton(socket.AF_INET6, host)
        if packed.startswith(_MAPPED):
            return socket.inet_ntop(socket.AF_INET, packed.removeprefix(_MAPPED))
        return socket.inet_ntop(socket.AF_INET6, packed) + percent + zone
    if host[:1].isdigit():
        with contextlib.suppress(OSError, ValueError):
            # As the system parses it: 127.1 is 127.0.0.1
            return socket.inet_ntoa(socket.inet_aton(host))
    with contextlib.suppress(UnicodeError):
        host = host if host.isascii() else host.encode("idna").decode()
    return host.lower().removesuffix(".") + percent + zone


def is_loopback(host: str) -> bool:
    """Return whether an address is a loopback address of this machine. A name is not an address.

    Traffic that stays on this machine needs no encryption; nothing else is exempt.
    """
    try:
        # Not by ipaddress: its import takes longer than most connections to this machine.
        packed = socket.inet_pton(
            socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0]
        )
    except (OSError, ValueError):
        return False
    if packed.startswith(_MAPPED):
        packed = packed.removeprefix(_MAPPED)
    return packed[0] == 127 if len(packed) == 4 else packed == _LOOPBACK_6


def listens_on_loopback_only(host: str) -> bool:
    """Return whether a server that listens on `host` is reachable only from this machine. Blocking.

    A name that cannot be resolved counts as reachable from elsewhere.
    """
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(is_loopback(str(address[4][0])) for address in found)
