"""A gateway without a wire: a client that calls the service layer, beside the real gateways."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ftransfer.digest import Digest
from ftransfer.names import parse_path
from ftransfer.protocol.live import LiveEvent, event_to_notice
from ftransfer.service import files, talk
from ftransfer.service.download import Download
from ftransfer.service.operation import Operation
from ftransfer.service.outbox import EventFormat, EventSink
from ftransfer.service.service import Service
from ftransfer.service.session import Session
from ftransfer.service.upload import Upload, UploadReceipt
from ftransfer.storage.base import UploadSpec

PROTOCOL = "tiny"
_BLOCK_BYTES = 64 * 1024


class JsonLines:
    """See EventFormat: one JSON object on each line."""

    heartbeat = b"{}\n"

    def encode(self, event: LiveEvent) -> bytes:
        notice = event_to_notice(event)
        return json.dumps({"event": notice.what, **notice.values}).encode() + b"\n"


_FORMAT = JsonLines()


class TinyClient:
    """One client of the gateway. See service.session.Endpoint and EventSink for what it offers the
    service.
    """

    def __init__(self, service: Service, host: str) -> None:
        self.peer = self.peer_host = host
        self.is_local = False
        self.was_ended = self.was_cut = False
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.session = Session(service, self, PROTOCOL)
        self.session.note_start()
        self.session.join()

    # For the service.

    @property
    def format(self) -> EventFormat:
        return _FORMAT

    def open_event_sink(self) -> EventSink:
        return self

    async def send(self, pieces: Sequence[bytes]) -> None:
        for line in b"".join(pieces).splitlines():
            self.events.put_nowait(json.loads(line))

    def unanswered_s(self) -> float:
        return 0.0

    def abort(self) -> None:
        self.was_cut = True

    def end(self) -> None:
        self.was_ended = True

    # For the tests.

    async def event(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            return await self.events.get()

    async def log_in(self, name: str, secret: str) -> None:
        async with Operation(self.session, "login", name):
            await self.session.log_in(name, secret)

    async def put(
        self, name: str, data: bytes, *, digest: Digest | None = None, **spec: Any
    ) -> UploadReceipt:
        async with (
            Operation(self.session, "put", name) as operation,
            await Upload.begin(operation, UploadSpec(size=len(data), **spec)) as upload,
        ):
            for start in range(upload.resumed_bytes, len(data), _BLOCK_BYTES):
                await upload.take(data[start : start + _BLOCK_BYTES])
            return await upload.finish(digest)

    async def get(self, name: str) -> bytes:
        async with (
            Operation(self.session, "get", name) as operation,
            await Download.open(operation) as download,
        ):
            data = b""
            while block := await download.read(len(data), _BLOCK_BYTES):
                data += block
            digest = download.known_digest()
            if digest is not None:
                await download.check(digest, 0, len(data))
            return data

    async def move(self, old: str, new: str) -> None:
        async with Operation(self.session, "mv", old, to=new):
            await files.move(self.session, old, new)

    async def copy(self, old: str, new: str) -> UploadReceipt:
        async with Operation(self.session, "copy", old, to=new) as operation:
            return await files.copy(operation)

    async def checksum(self, name: str) -> Digest:
        async with Operation(self.session, "checksum", name):
            return (await files.checksum(self.session, name)).digest

    async def say(self, text: str) -> None:
        async with Operation(self.session, "say", text):
            await talk.say(self.session, text)

    async def listen(self) -> None:
        async with Operation(self.session, "listen"):
            self.session.hub.listen(self.session.participant)

    async def watch(self, path: str = "") -> None:
        async with Operation(self.session, "watch", path):
            await self.session.service.changes.watch(self.session.participant, parse_path(path))


@contextlib.asynccontextmanager
async def tiny_client(service: Service, host: str = "192.0.2.1") -> AsyncIterator[TinyClient]:
    """A client that has connected from an address.

    Raises:
        Busy: The service refuses it.
    """
    refusal = service.limiter.refusal(host)
    if refusal is not None:
        service.note_refusal(host, host, refusal)
        raise refusal
    client = TinyClient(service, host)
    try:
        yield client
        client.session.note_end("left")
    finally:
        await client.session.leave()
