"""Addresses and networks from the owner's settings: "192.0.2.7", "10.0.0.0/8", "2001:db8::/32".

A leaf.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """A set of networks: `host in networks`.

    Raises:
        ValueError: A text is neither an address nor a network. The message is for users.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks = tuple(_parse(text) for text in texts)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, host: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _parse(text: str) -> Network:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is no address or network; write for example 192.0.2.7 or 10.0.0.0/8"
        ) from None
