"""Whether an address is this machine's own: what stays on the machine needs no encryption, and nothing else is exempt."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine's own loopback; "local" stands for a socket that has no address. A name is none."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "local"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def listens_on_loopback_only(host: str) -> bool:
    """Whether a server that is told to listen on `host` can be reached from this machine alone. Blocking.

    A name that cannot be resolved counts as reachable from elsewhere.
    """
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(is_loopback(str(address[4][0])) for address in found)
