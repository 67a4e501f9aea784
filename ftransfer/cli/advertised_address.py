"""Under which address others reach this machine: for the line to hand on, where a server listens on
all of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct

from ftransfer.addresses import is_loopback

_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface
# Addresses for documents (RFC 5737, RFC 3849): asking for the way there sends nothing.
_FAR_AWAY = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def own_address(host: str) -> str:
    """Give the address for others to connect to, for a server that listens on `host`."""
    if host not in ("0.0.0.0", "::"):
        return host
    # Of IPv4 first: it is listened on in either case, and shorter to read out.
    found = _towards_the_world(socket.AF_INET) or (
        _towards_the_world(socket.AF_INET6) if host == "::" else ""
    )
    return found or _of_interfaces() or socket.gethostname()


def _towards_the_world(family: socket.AddressFamily) -> str:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_FAR_AWAY[family], 9))
        address = str(probe.getsockname()[0])
        return "" if is_loopback(address) else address
    return ""


def _of_interfaces() -> str:
    """Give the first address of an interface that is not loopback, for a machine without a way
    out.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                address = socket.inet_ntoa(answer[20:24])
                if not is_loopback(address):
                    return address
    return ""
