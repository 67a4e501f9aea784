"""A transport to nobody: what is written to it waits until it is let through."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from ftransfer.transport.base import Buffer, DirectTransport


class HeldTransport:
    """See transport.base.Transport.

    `written` is what has been sent, in `writes`; `begun` is set when a write begins.
    """

    peer = "nobody:0"
    peer_host = "nobody"
    encrypted = False
    is_local = True
    own_host = ""
    round_trip_s = 0.0
    least_round_trip_s = 0.0
    bytes_transferred = 0
    direct: DirectTransport | None = None
    tls: ssl.SSLObject | ssl.SSLSocket | None = None

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun = asyncio.Event()
        self.writes: list[bytes] = []

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def keep_alive(self, vanish_s: float) -> None: ...

    def unanswered_s(self) -> float:
        return 0.0

    def peer_user(self) -> int | None:
        return None

    async def read(self, timeout_s: float) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def write(self, buffers: Sequence[Buffer], timeout_s: float) -> None:
        self.begun.set()
        await self.open.wait()
        self.writes.append(b"".join(map(bytes, buffers)))

    async def peek(self, timeout_s: float) -> bytes:
        return await self.read(timeout_s)

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, hostname: str, timeout_s: float
    ) -> None: ...

    async def close(self, timeout_s: float) -> None: ...

    def abort(self) -> None: ...
