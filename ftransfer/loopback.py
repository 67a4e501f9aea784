"""Whether an address is this machine's own: what stays on the machine needs no encryption, and
nothing else is exempt.
"""

from __future__ import annotations

import socket

_LOOPBACK_6 = bytes(15) + b"\1"
_MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address in one of IPv6


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine's own loopback; "local" stands for a socket that
    has no address. A name is none.
    """
    try:
        # Not by ipaddress: to import it would take longer than most connections to this machine.
        packed = socket.inet_pton(
            socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0]
        )
    except (OSError, ValueError):
        return host == "local"
    if packed.startswith(_MAPPED):
        packed = packed.removeprefix(_MAPPED)
    return packed[0] == 127 if len(packed) == 4 else packed == _LOOPBACK_6


def listens_on_loopback_only(host: str) -> bool:
    """Whether a server that is told to listen on `host` can be reached from this machine alone.
    Blocking.

    A name that cannot be resolved counts as reachable from elsewhere.
    """
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(is_loopback(str(address[4][0])) for address in found)
