"""One local file to a server. Run again on the next session, it resumes at the server's offset."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ftransfer.client.retry import Report, restart_once
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.put_exchange import (
    announce,
    answer_task,
    raise_refusal,
    receipt_of_upload,
    reply_values,
    send_abort,
)
from ftransfer.client.transfers.stream_upload import StreamUpload
from ftransfer.digest import Digest, digest_of
from ftransfer.errors import DigestMismatch, FtransferError, ShareError, SourceChanged
from ftransfer.protocol.replies import End, Meta
from ftransfer.storage.base import Reader
from ftransfer.storage.capabilities import ThreadedFile, supports_threads
from ftransfer.transfer.pump import send_content
from ftransfer.transfer.records import Receipt
from ftransfer.transfer.running_digest import RunningDigest, confirm
from ftransfer.transport import Buffer
from ftransfer.transport.channel import frame_data

# Up to this size a file is sent without waiting for the server's offset: sending it twice costs
# less than a round trip.
AT_ONCE_BYTES = 256 * 1024


def source_of(path: str, reader: Reader) -> str:
    """Return the key of this version of a file: of its host, path, inode, size and mtime."""
    words = (socket.gethostname(), path, reader.entry.identity)
    return digest_of("\0".join(words).encode("utf-8", "surrogateescape"))[:32]


class FileUpload:
    """One local file that is sent under a name.

    Args:
        source: The key of this version of the file (source_of); the server resumes a partial that
            has the same key.
        options: Further options of the put: if_absent, if_match, durable.
    """

    def __init__(
        self, reader: Reader, name: str, source: str, options: Mapping[str, Any] | None = None
    ) -> None:
        self.reader = reader
        self.name = name
        self.size = reader.entry.size
        self._source = source
        self._options = options or {}

    async def run(self, session: ClientSession, report: Report) -> Receipt:
        """Send the file; on return the server has verified, published and (if durable) synced it.

        A partial of an earlier attempt on the server is resumed. If the whole file does not verify
        then, it is sent again from the start.

        Raises:
            SourceChanged: The file changed while it was sent; the server publishes nothing.
            DigestMismatch: What was sent from the start did not verify there.
            FtransferError: From the server.
        """
        if self.size <= AT_ONCE_BYTES:
            return await self._send_at_once(session)

        async def attempt() -> Receipt:
            meta = await self.announce(session)
            async with self.mismatch_explained(meta):
                return await self.send_from(session, meta, report)

        return await restart_once(attempt)

    async def announce(self, session: ClientSession, **extra: Any) -> Meta:
        """Announce the file, and receive the offset to send from."""
        waiting = {"source": self._source, "wait": True, **extra}
        return await announce(session, self.reader, self.name, {**self._described(), **waiting})

    @contextlib.asynccontextmanager
    async def mismatch_explained(self, meta: Meta) -> AsyncIterator[None]:
        """Explain a mismatch that the server reports in the block.

        Raises:
            SourceChanged: Some of it was sent before a change, and hashed after it.
            DigestMismatch: `kept` is the size of the server's partial, which it has dropped.
        """
        try:
            yield
        except DigestMismatch as error:
            if not await self.is_unchanged():
                raise self.changed() from error
            error.kept = meta.offset
            raise

    async def send_from(self, session: ClientSession, meta: Meta, report: Report) -> Receipt:
        """Send what is missing, from the offset on."""
        digest = RunningDigest(self.reader)
        try:
            digest.allow(meta.offset)
            digest.follow()
            report(meta.offset, self.size)
            values, text = await self._send(session, meta.offset, digest, report)
        finally:
            await digest.close()
        return receipt_of_upload(
            self.name, values, self.size, text, kept=meta.offset, restarted=meta.restarted
        )

    async def is_unchanged(self) -> bool:
        """Return whether the file is as it was when it was opened."""
        try:
            await self.reader.check()
        except SourceChanged:
            return False
        return True

    def changed(self) -> SourceChanged:
        """Return the error for a file that changed while it was sent."""
        return source_changed(self.name)

    def _described(self) -> dict[str, Any]:
        return {**description_of(self.reader), **self._options}

    async def _send_at_once(self, session: ClientSession) -> Receipt:
        """Send command, data and end together: one round trip in all."""
        data = await self.reader.read(0, AT_ONCE_BYTES + 1)
        # As in /proc: only reading shows the size
        if len(data) != self.size and await self.is_unchanged():
            options = {key: value for key, value in self._described().items() if key != "size"}
            file: object = self.reader
            assert supports_threads(file)  # true for every file of the user
            stream = StreamUpload(_ReaderStream(file), self.name, options)
            return await stream.run(session, lambda *_: None)
        data = data[: self.size]
        text = digest_of(data)
        try:
            await confirm(self.reader, 0, self.size, text)
        except SourceChanged as error:
            raise self.changed() from error
        connection, cap = session.connection, session.channel.limits.max_chunk_bytes
        await session.send("put", self.name, self._described())
        frames: list[Buffer] = []
        for start in range(0, len(data), cap):
            frames += frame_data(connection, data[start : start + cap])
        await session.channel.send(*frames, connection.send_end(End(len(data), text)))
        return receipt_of_upload(self.name, await session.reply(), len(data), text)

    async def _send(
        self, session: ClientSession, offset: int, digest: RunningDigest, report: Report
    ) -> tuple[Mapping[str, Any], Digest]:
        """Send the data and the end; return the reply and the digest.

        An error from the server stops the sending.
        """
        channel, size = session.channel, self.size
        position = offset

        def moved(count: int) -> None:
            nonlocal position
            position += count
            report(position, size)

        text = ""
        async with answer_task(session) as answer:
            async with channel.heartbeats():
                try:
                    await send_content(
                        channel,
                        self.reader,
                        offset,
                        size - offset,
                        digest,
                        moved,
                        lambda: not answer.done(),
                    )
                    if not answer.done():
                        text = await digest.finish(size)
                        await confirm(self.reader, 0, size, text)
                except (SourceChanged, ShareError) as error:
                    await send_abort(session, error)
                    # The answer is "aborted"; after it the connection is in step again
                    with contextlib.suppress(FtransferError):
                        await answer
                    if isinstance(error, ShareError):
                        raise
                    raise self.changed() from error
            if answer.done():
                await raise_refusal(session, answer)
            await channel.send(session.connection.send_end(End(size, text)))
            return reply_values(session, await answer), text


def description_of(reader: Reader) -> dict[str, Any]:
    """Return the options of a put that describe the file itself."""
    entry = reader.entry
    return {"size": entry.size, "mtime_ns": entry.mtime_ns, "mode": entry.mode}


def source_changed(name: str) -> SourceChanged:
    """Return the error for a file that changed while it was sent."""
    return SourceChanged.about(name, "the file changed while it was sent; put it again")


class _ReaderStream:
    """An open file, read from its start to its end, whatever size is reported."""

    def __init__(self, reader: ThreadedFile) -> None:
        self._reader = reader
        self._position = 0

    def read(self, size: int) -> memoryview:
        view = memoryview(bytearray(size))
        count = self._reader.read_blocking(self._position, view)
        self._position += count
        return view[:count]
