"""Large files that are put one after the other, over a connection in memory."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

from ftransfer.client.session import ClientSession
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.pipelined_uploads import PipelinedUploads
from ftransfer.client.trees.report import TreeItem
from ftransfer.client.trees.run import TreeRun
from ftransfer.digest import digest_of
from ftransfer.errors import Forbidden, FtransferError
from ftransfer.names import parse_name, parse_path
from ftransfer.protocol.connection import Connection
from ftransfer.storage.base import FILE, Entry, UploadSpec
from ftransfer.storage.memory import MemoryStore
from tests.support.pair import Pair

Answer = Mapping[str, Any] | FtransferError


class FakeChannel:
    """A channel that keeps what is sent."""

    moves_files = False
    block_bytes = 1 << 20

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sent = b""
        self.changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[None]:
        yield

    async def send(self, *buffers: bytes | memoryview) -> None:
        self.sent += b"".join(buffers)
        self.changed.set()

    async def send_data(self, data: bytes | bytearray | memoryview) -> None:
        await self.send(self._connection.send_data_header(len(data)), bytes(data))

    @property
    def announced(self) -> list[bytes]:
        """The names of the files that have been announced."""
        return re.findall(rb'put "to/(\w)"', self.sent)


class FakeSession:
    """The client's end, whose answers the test gives."""

    is_between_commands = True

    def __init__(self) -> None:
        self.connection = Pair().client
        self.channel = FakeChannel(self.connection)
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()

    async def result_or_error(self) -> Answer:
        return await self.answers.get()


async def store_of(*names: str) -> MemoryStore:
    store = MemoryStore(now_ns=lambda: 1)
    for name in names:
        writer = await store.open_write(parse_name(name), UploadSpec(len(name), 1, 0o644))
        await writer.write(name.encode())
        await writer.commit(digest_of(name.encode()))
    return store


def receipt(name: str) -> dict[str, Any]:
    """The reply to a put of a file whose content is its name."""
    return {
        "name": f"to/{name}",
        "size": len(name),
        "digest": digest_of(name.encode()),
        "mtime_ns": 1,
    }


class Upload:
    """Files on their way to a server, each of which holds its name."""

    def __init__(self) -> None:
        self.session = FakeSession()
        self.items: list[TreeItem] = []

    async def send(self, store: MemoryStore, *names: str) -> None:
        run = TreeRun(TreeOptions(), self.items.append, None)
        uploads = PipelinedUploads(cast(ClientSession, self.session), store, parse_path("to"), run)
        await uploads.send([Entry(name, FILE, len(name), 1, 0o644) for name in names], set())

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(item.name, item.did) for item in self.items]


async def test_next_file_is_sent_before_the_receipt_of_the_one_before() -> None:
    upload = Upload()
    sending = asyncio.create_task(upload.send(await store_of("a", "b"), "a", "b"))
    channel = upload.session.channel
    while len(channel.announced) < 2:
        channel.changed.clear()
        await channel.changed.wait()
    assert channel.announced == [b"a", b"b"] and not upload.items
    upload.session.answers.put_nowait(receipt("a"))
    upload.session.answers.put_nowait(receipt("b"))
    await sending
    assert upload.outcomes == [("a", "copied"), ("b", "copied")]


async def test_refusal_of_one_file_leaves_the_others() -> None:
    upload = Upload()
    for answer in (receipt("a"), Forbidden("b: you may not"), receipt("c")):
        upload.session.answers.put_nowait(answer)
    await upload.send(await store_of("a", "b", "c"), "a", "b", "c")
    assert upload.outcomes == [("a", "copied"), ("b", "failed"), ("c", "copied")]


async def test_file_that_is_gone_here_is_reported_and_not_announced() -> None:
    upload = Upload()
    upload.session.answers.put_nowait(receipt("b"))
    await upload.send(await store_of("b"), "a", "b")
    assert sorted(upload.outcomes) == [("a", "failed"), ("b", "copied")]
    assert upload.session.channel.announced == [b"b"]
