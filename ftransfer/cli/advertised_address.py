"""The address under which others reach this machine, if the server listens on all addresses."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct

from ftransfer.addresses import is_loopback

_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface
# Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket to one sends nothing.
_REMOTE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def own_address(host: str) -> str:
    """Return the address for others to connect to, if the server listens on `host`."""
    if host not in ("0.0.0.0", "::"):
        return host
    # IPv4 first: it works in both cases, and is shorter.
    found = _route_source(socket.AF_INET) or (
        _route_source(socket.AF_INET6) if host == "::" else ""
    )
    return found or _interface_address() or socket.gethostname()


def _route_source(family: socket.AddressFamily) -> str:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_REMOTE[family], 9))
        address = str(probe.getsockname()[0])
        return "" if is_loopback(address) else address
    return ""


def _interface_address() -> str:
    """Return the first address of an interface that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                address = socket.inet_ntoa(answer[20:24])
                if not is_loopback(address):
                    return address
    return ""
