"""A real server on a loopback port over a real folder, its clients, and a peer of raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from blake3 import blake3

from ftransfer.client.client import Client, connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.gateways.native.listener import Server
from ftransfer.service.quota_limits import QuotaLimits
from ftransfer.service.service import ServiceOptions
from ftransfer.service.share import Share
from ftransfer.storage.local import LocalStore
from ftransfer.transfer.hidden_names import HiddenNames
from ftransfer.watch.watcher import FolderWatcher

_OF_SERVICE = {field.name for field in fields(ServiceOptions)}


@dataclass
class Service:
    """A server that runs, the folder that it serves, and an empty folder beside it."""

    server: Server
    root: Path
    local: Path
    direct: bool = True

    @property
    def address(self) -> tuple[str, int]:
        return self.server.addresses[0]

    def client(self, **options: Any) -> Client:
        return self.client_at(self.address, **options)

    def client_at(self, address: tuple[str, int], **options: Any) -> Client:
        """A client that goes another way, as through a proxy."""
        return connect(*address, **{"direct": self.direct, "retry": NO_RETRY, **options})

    async def all_gone(self) -> None:
        """Wait until the server has no session."""
        async with asyncio.timeout(30):
            while self.server.sessions:
                await asyncio.wait(self.server.sessions.values())

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[RawPeer]:
        """A connection that has heard the hello."""
        async with raw_peer(*self.address) as peer:
            kind, hello = await peer.json()
            assert kind == b"H" and hello["protocol"] == 1
            yield peer


@contextlib.asynccontextmanager
async def serve(
    folder: Path,
    *,
    read_only: bool = False,
    drop_box: bool = False,
    hiding: HiddenNames | None = None,
    quota_limits: QuotaLimits | None = None,
    direct: bool = True,
    **options: Any,
) -> AsyncIterator[Service]:
    """Serve folder/share; folder/local is for what clients keep.

    Args:
        options: Those of ServiceOptions and of Server.start.
    """
    root, local = folder / "share", folder / "local"
    root.mkdir(exist_ok=True)
    local.mkdir(exist_ok=True)
    store = await LocalStore.open(root, durable=False)
    try:
        options = {"watcher": FolderWatcher(root, store), "port": 0, **options}
        shared = {name: options.pop(name) for name in _OF_SERVICE & options.keys()}
        share = Share(
            store, read_only=read_only, drop_box=drop_box, hiding=hiding, quota_limits=quota_limits
        )
        server = await Server.start(
            share, direct=direct, options=ServiceOptions(**shared), **options
        )
        try:
            yield Service(server, root, local, direct)
        finally:
            await server.stop(grace_s=0)
            await share.quota.close()
    finally:
        await store.close()


@dataclass
class RawPeer:
    """The client's end of a connection, in bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self) -> tuple[bytes, bytes]:
        """Return the next frame's kind and payload; (b"", b"") at the end."""
        try:
            kind, length = struct.unpack(">cI", await self.reader.readexactly(5))
            return kind, await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"", b""

    async def json(self) -> tuple[bytes, Any]:
        kind, payload = await self.frame()
        return kind, json.loads(payload) if payload else None

    async def error(self) -> str:
        """Return the code of the error that must come next."""
        kind, value = await self.json()
        assert kind == b"X", (kind, value)
        return str(value["code"])

    async def is_at_end(self) -> bool:
        return await self.frame() == (b"", b"")


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """Make a frame by hand, sharing no code with the package."""
    return struct.pack(">cI", kind, len(payload)) + payload


def end_frame(size: int, digest: str, begun: bytes | None = None) -> bytes:
    """Build the frame that ends a file.

    `begun` is the frame before its content (meta), and determines `head`.
    """
    value: dict[str, object] = {"size": size, "digest": digest}
    if begun is not None:
        value["head"] = blake3(begun[5:]).hexdigest()
    return frame(b"E", json.dumps(value).encode())


@contextlib.asynccontextmanager
async def raw_peer(host: str, port: int) -> AsyncIterator[RawPeer]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield RawPeer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def fake_server(
    *said: bytes, then_close: bool = False, port: int = 0
) -> AsyncIterator[tuple[str, int]]:
    """A server that sends fixed bytes to each client, then waits or closes."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for data in said:
                writer.write(data)
                await writer.drain()
            if then_close:
                # To close with something unread would reset the connection, and what was said last
                # might be lost with it.
                writer.write_eof()
                await reader.read()
            else:
                await ended.wait()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
