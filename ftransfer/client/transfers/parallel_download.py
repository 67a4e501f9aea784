"""One large file from a server over several connections, for long paths that lose packets.

Workers fetch the file in segments, which are written in order: so the writer, the digest and resume
are the same as for one connection. The segments ahead of the writer bound the memory.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ftransfer.client.retry import Report, restart_once
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.download import FileDownload, receipt_of_download, receiving
from ftransfer.client.transfers.get_exchange import check_end
from ftransfer.client.transfers.segments import REQUESTED_AHEAD, Segment, SegmentLength, Segments
from ftransfer.client.transfers.stream_count import Streams
from ftransfer.client.transfers.workers import WorkerPool
from ftransfer.errors import DigestMismatch, OffsetConflict, RemoteProtocolError, SourceChanged
from ftransfer.protocol.connection import Event
from ftransfer.protocol.replies import Meta, take
from ftransfer.storage.base import Entry, Writer
from ftransfer.transfer.pump import receive_content
from ftransfer.transfer.records import Receipt
from ftransfer.transfer.running_digest import RunningDigest


async def download_in_parallel(
    download: FileDownload, entry: Entry, streams: Streams, session: ClientSession, report: Report
) -> Receipt:
    """Receive a file over several connections. Raises as FileDownload.run.

    Args:
        entry: The server's current entry of the file; every segment must have its identity.
        streams: The further connections, and `session` itself.
    """
    return await restart_once(
        lambda: ParallelDownload(download, entry, streams).run(session, report)
    )


class _SegmentBuffer:
    """One segment in memory: a sink that takes at most `length` bytes."""

    supports_threads = True

    def __init__(self, length: int, name: str) -> None:
        self.data = bytearray()
        self._length = length
        self._name = name

    @property
    def offset(self) -> int:
        return len(self.data)

    def write_blocking(self, data: memoryview) -> None:
        if len(self.data) + len(data) > self._length:
            raise RemoteProtocolError.about(self._name, "more came than was announced")
        self.data += data

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self.write_blocking(memoryview(data))

    def read_blocking(self, offset: int, view: memoryview) -> int:
        data = self.data[offset : offset + len(view)]
        view[: len(data)] = data
        return len(data)

    async def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])


class ParallelDownload:
    """One attempt at a file. Arguments as download_in_parallel."""

    def __init__(self, download: FileDownload, entry: Entry, streams: Streams) -> None:
        self._download = download
        self._name = download.name
        self._entry = entry
        self._segments = Segments(0, entry.size, streams.first)
        self._workers = WorkerPool(self._segments, streams)
        self._come: dict[int, bytearray] = {}  # arrived but not written, by offset
        self._is_digest_requested = False
        self._wanted = ""  # the digest of the whole file, from the server

    async def run(self, session: ClientSession, report: Report) -> Receipt:
        """Receive the file. Raises as FileDownload.run."""
        entry, download = self._entry, self._download
        writer = await download.open_writer(entry)
        async with receiving(writer, keep_cancelled=download.keep_cancelled) as digest:
            report(writer.offset, entry.size)
            await self._fetch(session, writer, digest, report)
            text = await digest.finish(entry.size)
            if self._wanted != text:
                message = "the content does not match its digest; try again"
                raise DigestMismatch.about(self._name, message, expected=self._wanted, actual=text)
            await digest.close()
            published = await writer.commit(text)
        return receipt_of_download(self._name, published, text, download.store, writer)

    async def _fetch(
        self, first: ClientSession, writer: Writer, digest: RunningDigest, report: Report
    ) -> None:
        self._segments.begin_at(writer.offset)
        async with self._workers as workers:
            workers.start(
                first,
                lambda session: self._work(session, is_first=session is first),
                main_works=True,
            )
            while writer.offset < self._entry.size:
                await workers.wait_for(lambda: writer.offset in self._come)
                data = self._come.pop(writer.offset)
                await writer.write(data)
                digest.feed(writer.offset - len(data), data)
                digest.allow(writer.offset)
                self._segments.in_place = writer.offset
                await workers.notify()
                report(writer.offset, self._entry.size)
            await workers.wait_for(lambda: self._wanted != "")

    async def _work(self, session: ClientSession, *, is_first: bool = False) -> None:
        """Fetch segments until none is left. A broken connection returns its segments."""
        requested: deque[Segment] = deque()
        length, loop = SegmentLength(), asyncio.get_running_loop()
        try:
            # Early enough that the digest is there when the last bytes are
            if not is_first and not self._is_digest_requested:
                await self._fetch_digest(session)
            while True:
                while len(requested) < REQUESTED_AHEAD:
                    segment = await self._workers.take(is_idle=not requested, at_most=length.bytes)
                    if segment is None:
                        break
                    requested.append(segment)
                    options = {
                        "offset": segment.offset,
                        "length": segment.length,
                        "identity": self._entry.identity,
                    }
                    await session.send("get", self._name, options)
                if requested:
                    began = loop.time()
                    data = await self._receive(session, requested[0])
                    length.took(len(data), loop.time() - began)
                    await self._deliver(requested.popleft(), data)
                elif not self._is_digest_requested:
                    await self._fetch_digest(session)
                else:
                    return
        except BaseException:
            if requested:
                session.abort()
                await self._workers.give_back(*requested)
            raise

    async def _deliver(self, segment: Segment, data: bytearray) -> None:
        if self._segments.complete(segment):
            self._come[segment.offset] = data
        await self._workers.notify()

    async def _fetch_digest(self, session: ClientSession) -> None:
        """Request the digest of the whole file."""
        self._is_digest_requested = True
        try:
            self._wanted = take(await session.request("checksum", self._name), "digest", str)
        except BaseException:
            self._is_digest_requested = False
            raise
        await self._workers.notify()

    async def _receive(self, session: ClientSession, segment: Segment) -> bytearray:
        """Receive one segment and verify it."""
        meta = await session.next_event()
        if not isinstance(meta, Meta):
            raise session.unexpected(meta)
        known = self._entry
        if (meta.identity, meta.mtime_ns, meta.mode) != (
            known.identity,
            known.mtime_ns,
            known.mode,
        ):
            raise SourceChanged.about(self._name, "the file on the server has changed; try again")
        if (meta.offset, meta.length) != (segment.offset, segment.length):
            raise OffsetConflict.about(self._name, "the server sends a part that was not asked for")
        whole = _SegmentBuffer(segment.length, self._name)
        digest = RunningDigest(whole)
        event: Event | None = None
        while event is None:
            event = session.dispatch(
                await receive_content(session.channel, whole, digest, lambda count: None)
            )
        size = segment.length
        came = await digest.finish(whole.offset)
        await check_end(
            session, self._name, meta, event, size=size, received=whole.offset, digest=came
        )
        return whole.data
