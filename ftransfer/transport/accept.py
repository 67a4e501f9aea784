"""Sockets that listen on all addresses of a host, on one port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Sequence
from typing import Any

EVERYWHERE = ("", "::")  # every address of the machine, IPv6 and IPv4
_ATTEMPTS = 20  # a port that is free at one address may be taken at the next

_Place = tuple[int, tuple[Any, ...]]  # family, and the address to bind


async def listen(host: str, number: int, backlog: int) -> list[socket.socket]:
    """Listen on a port at each address of a host; the caller closes the sockets.

    Args:
        host: An address or a name; one of EVERYWHERE for all addresses of the machine.
        number: 0 for any port that is free at all of them.

    Raises:
        OSError, OverflowError: The port is taken, or none of the addresses belongs to this machine.
    """
    if host in EVERYWHERE and socket.has_dualstack_ipv6():
        return [
            socket.create_server(
                ("::", number), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True
            )
        ]
    places = await _places(host if host not in EVERYWHERE else "0.0.0.0", number)
    for attempt in range(_ATTEMPTS):
        try:
            return _listen_at(places, number, backlog)
        except OSError as error:
            if number or error.errno != errno.EADDRINUSE or attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


async def _places(host: str, number: int) -> Sequence[_Place]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _listen_at(places: Sequence[_Place], number: int, backlog: int) -> list[socket.socket]:
    opened: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        why: OSError | None = None
        for family, address in places:
            chosen = (address[0], opened[0].getsockname()[1] if opened else number, *address[2:])
            try:
                opened.append(
                    stack.enter_context(
                        socket.create_server(chosen, family=family, backlog=backlog)
                    )
                )
            except OSError as error:
                # A name may resolve to an address family that this machine lacks.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                why = error
        if not opened:
            assert why is not None  # a name without addresses has raised before
            raise why
        stack.pop_all()
    return opened
