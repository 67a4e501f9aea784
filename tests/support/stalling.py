"""A server that stops in the middle of each file: a stalled transfer without a large file."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.support.service import frame

SIZE = 100_000_000
PIECE = 500_000  # what each get is answered with
_META = {"name": "half", "size": SIZE, "mtime_ns": 1, "mode": 420, "identity": "i"}
_ENTRY = {"name": "half", "kind": "file", "size": SIZE, "mtime_ns": 1, "mode": 420}


@dataclass
class StallingServer:
    """A stalling server.

    `stalls` is set when a get has received all that it will ever get, or a put has begun.
    """

    address: tuple[str, int] = ("", 0)
    stalls: asyncio.Event = field(default_factory=asyncio.Event)
    offsets: list[int] = field(default_factory=list)  # where each get began

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(frame(b"H", b'{"protocol":1}'))
            while line := await reader.readline():
                if line.startswith(b"put "):
                    self.stalls.set()
                    continue
                if line.startswith(b"get "):
                    options = json.loads(line[line.index(b"{") :]) if b"{" in line else {}
                    offset = options.get("offset", 0)
                    self.offsets.append(offset)
                    meta = {**_META, "offset": offset, "length": SIZE - offset}
                    writer.write(frame(b"M", json.dumps(meta).encode()) + frame(b"D", bytes(PIECE)))
                    await writer.drain()
                    self.stalls.set()
                    continue
                if line.startswith(b"dir"):
                    writer.write(frame(b"L", json.dumps([_ENTRY]).encode()))
                writer.write(frame(b"R", b'{"entries":1}'))
        writer.close()


@contextlib.asynccontextmanager
async def stalling_server() -> AsyncIterator[StallingServer]:
    stalling = StallingServer()
    server = await asyncio.start_server(stalling.answer, "127.0.0.1", 0)
    stalling.address = server.sockets[0].getsockname()[:2]
    try:
        yield stalling
    finally:
        server.close()
        await server.wait_closed()
