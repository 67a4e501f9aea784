"""The address of a server, as the user writes it."""

from __future__ import annotations

from typing import NamedTuple

from ftransfer.addresses import format_address


class Address(NamedTuple):
    """The host and port of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)
