"""Get one small file repeatedly: `requests HOST PORT NAME COUNT one|new library|raw`.

Prints the time it took. `library` uses the Python client, which parses, verifies and copies; `raw`
only counts frames, which measures the server.
"""

from __future__ import annotations

import asyncio
import io
import json
import socket
import struct
import sys
import time
from typing import BinaryIO

import ftransfer

_HEADER = struct.Struct(">cI")


async def by_library(host: str, port: int, name: str, count: int, *, is_new: bool) -> None:
    left = count
    while left:
        async with ftransfer.connect(host, port) as client:
            for _ in range(1 if is_new else left):
                await client.get_to(name, io.BytesIO())
                left -= 1


def raw(host: str, port: int, name: str, count: int, *, is_new: bool) -> None:
    left = count
    while left:
        with socket.create_connection((host, port)) as session, session.makefile("rb") as incoming:
            session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _read_until(incoming, b"H")
            for _ in range(1 if is_new else left):
                session.sendall(f"get {name}\n".encode())
                _read_until(incoming, b"R")
                left -= 1


def _read_until(incoming: BinaryIO, wanted: bytes) -> None:
    while True:
        kind, length = _HEADER.unpack(incoming.read(_HEADER.size))
        incoming.read(length)
        if kind == wanted:
            return
        if kind == b"X":
            sys.exit("the server refused")


def main() -> None:
    host, port, name, count, connections, client = sys.argv[1:]
    is_new = connections == "new"
    began = time.monotonic()
    if client == "raw":
        raw(host, int(port), name, int(count), is_new=is_new)
    else:
        asyncio.run(by_library(host, int(port), name, int(count), is_new=is_new))
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - began}) + "\n")


if __name__ == "__main__":
    main()
