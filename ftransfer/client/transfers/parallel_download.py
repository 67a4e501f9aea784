"""One large file over several connections, for paths that one connection cannot fill: long ones
that lose a packet now and then.

The file is fetched in segments, by as many workers as pay, and put together in order: so the
writer, the digest and resume are the same as for one connection. Memory is bounded by the segments
that have come ahead of their turn.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ftransfer.client.retry import restart_once
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.download import (
    OWNER,
    Report,
    check_end,
    download,
    receipt_of_download,
    receiving,
)
from ftransfer.client.transfers.segments import ASKED_AHEAD, Segment, SegmentLength, Segments
from ftransfer.client.transfers.workers import Connect, WorkerPool, streams_for
from ftransfer.errors import DigestMismatch, OffsetConflict, RemoteProtocolError, SourceChanged
from ftransfer.names import SafeName, parse_name
from ftransfer.protocol.connection import Event
from ftransfer.protocol.replies import Meta, take
from ftransfer.storage.base import FILE, Entry, Store, UploadSpec, Writer
from ftransfer.transfer.pump import receive_content
from ftransfer.transfer.records import Receipt, described_from_wire
from ftransfer.transfer.running_digest import RunningDigest


class _Whole:
    """One segment in memory: the sink of its data, of which it takes no more than `length`."""

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
    """One attempt at a file, with as many connections as pay, or as many as are `fixed`.

    Args:
        entry: What the server says of the file now; every segment must be of that identity.
        connect: Makes a further connection, for one worker.
    """

    def __init__(
        self, name: str, entry: Entry, connect: Connect, streams: int, *, fixed: bool
    ) -> None:
        self._name = name
        self._entry = entry
        self._segments = Segments(0, entry.size, streams)
        self._streams = WorkerPool(self._segments, connect, fixed=fixed)
        self._come: dict[int, bytearray] = {}  # what has arrived and is not written, by its offset
        self._is_digest_asked = False
        self._wanted = ""  # the digest of the whole, as the server says

    async def run(
        self,
        session: ClientSession,
        store: Store,
        target: SafeName,
        report: Report,
        *,
        keep_cancelled: bool,
    ) -> Receipt:
        """Receive into a store. Raises as downloads.download."""
        entry = self._entry
        announced = UploadSpec(
            entry.size, entry.mtime_ns, entry.mode, source=entry.identity, owner=OWNER
        )
        writer = await store.open_write(target, announced)
        async with receiving(writer, keep_cancelled=keep_cancelled) as digest:
            report(writer.offset, entry.size)
            await self._fetch(session, writer, digest, report)
            text = await digest.finish(entry.size)
            if self._wanted != text:
                message = "the content does not match its digest; try again"
                raise DigestMismatch.about(self._name, message, expected=self._wanted, actual=text)
            await digest.close()
            published = await writer.commit(text)
        return receipt_of_download(self._name, published, text, store, writer)

    async def _fetch(
        self, first: ClientSession, writer: Writer, digest: RunningDigest, report: Report
    ) -> None:
        self._segments.begin_at(writer.offset)
        async with self._streams as streams:
            streams.start(
                first,
                lambda session: self._work(session, is_first=session is first),
                main_works=True,
            )
            while writer.offset < self._entry.size:
                await streams.wait_for(lambda: writer.offset in self._come)
                data = self._come.pop(writer.offset)
                await writer.write(data)
                digest.feed(writer.offset - len(data), data)
                digest.allow(writer.offset)
                self._segments.in_place = writer.offset
                await streams.tell()
                report(writer.offset, self._entry.size)
            await streams.wait_for(lambda: self._wanted != "")

    async def _work(self, session: ClientSession, *, is_first: bool = False) -> None:
        """Fetch segments until none is left. A broken connection gives its segments back."""
        asked: deque[Segment] = deque()
        length, loop = SegmentLength(), asyncio.get_running_loop()
        try:
            # So early that it is there when the last bytes are
            if not is_first and not self._is_digest_asked:
                await self._ask_digest(session)
            while True:
                while len(asked) < ASKED_AHEAD:
                    segment = await self._streams.take(is_idle=not asked, at_most=length.bytes)
                    if segment is None:
                        break
                    asked.append(segment)
                    options = {
                        "offset": segment.offset,
                        "length": segment.length,
                        "identity": self._entry.identity,
                    }
                    await session.send("get", self._name, options)
                if asked:
                    began = loop.time()
                    data = await self._receive(session, asked[0])
                    length.took(len(data), loop.time() - began)
                    await self._hand_over(asked.popleft(), data)
                elif not self._is_digest_asked:
                    await self._ask_digest(session)
                else:
                    return
        except BaseException:
            if asked:
                session.abort()
                await self._streams.give_back(*asked)
            raise

    async def _hand_over(self, segment: Segment, data: bytearray) -> None:
        if self._segments.complete(segment):
            self._come[segment.offset] = data
        await self._streams.tell()

    async def _ask_digest(self, session: ClientSession) -> None:
        """Ask for the digest of the whole."""
        self._is_digest_asked = True
        try:
            self._wanted = take(await session.request("checksum", self._name), "digest", str)
        except BaseException:
            self._is_digest_asked = False
            raise
        await self._streams.tell()

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
        whole = _Whole(segment.length, self._name)
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


async def download_best(
    session: ClientSession,
    name: str,
    store: Store,
    target: SafeName,
    report: Report,
    connect: Connect,
    *,
    streams: int | None,
    keep_cancelled: bool,
) -> Receipt:
    """Receive a file in the way that fits the path: over one connection, or over several. Raises as
    downloads.download.

    Args:
        streams: How many connections; None for as many as pay.
        connect: Makes a further connection.
    """
    entry = described_from_wire(await session.request("stat", name), parse_name(name))
    count = streams_for(session.round_trip_s, entry.size, streams)
    if entry.kind != FILE or count == 1:
        return await download(session, name, store, target, report, keep_cancelled=keep_cancelled)

    async def attempt() -> Receipt:
        parallel = ParallelDownload(name, entry, connect, count, fixed=streams is not None)
        return await parallel.run(session, store, target, report, keep_cancelled=keep_cancelled)

    return await restart_once(attempt)
