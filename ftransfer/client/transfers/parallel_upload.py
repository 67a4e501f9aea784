"""One large file to a server over several connections: the mirror of
client.transfers.parallel_download.

The first connection announces the file and is given a word; the others send parts of it under that
word, each acknowledged when it is verified and in place. Then the first says the digest of the
whole, and is given the receipt as for any put.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from typing import Any

from ftransfer.client.retry import restart_once
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.segments import ASKED_AHEAD, Segment, SegmentLength, Segments
from ftransfer.client.transfers.upload import (
    Report,
    announcement_of,
    changed,
    give_up,
    is_unchanged,
    listening,
    offered,
    receipt_of,
    refused,
    upload,
    upload_from,
    values,
)
from ftransfer.client.transfers.workers import Connect, WorkerPool, streams_for
from ftransfer.digest import digest_of
from ftransfer.errors import (
    Aborted,
    Busy,
    ChannelError,
    DigestMismatch,
    FtransferError,
    OffsetConflict,
    SourceChanged,
)
from ftransfer.protocol.connection import Event
from ftransfer.protocol.replies import PARTS, End, Meta
from ftransfer.storage.base import Reader
from ftransfer.transfer.records import Receipt
from ftransfer.transfer.running_digest import RunningDigest, confirm


async def upload_best(
    session: ClientSession,
    reader: Reader,
    name: str,
    source: str,
    options: Mapping[str, Any],
    report: Report,
    connect: Connect,
    *,
    streams: int | None,
) -> Receipt:
    """Send a file in the way that fits the path: over one connection, or over several. Takes and
    raises as uploads.upload.

    Args:
        streams: How many connections; None for as many as pay.
        connect: Makes a further connection.
    """
    count = streams_for(session.round_trip_s, reader.entry.size, streams)

    async def in_one() -> Receipt:
        return await upload(session, reader, name, source, options, report)

    if count == 1 or not reader.entry.size or PARTS not in session.hello.features:
        return await in_one()
    announced = {
        **announcement_of(reader),
        **options,
        "source": source,
        "wait": True,
        "parts": True,
    }

    async def attempt() -> Receipt:
        parallel = ParallelUpload(
            session, reader, name, connect, count, report, fixed=streams is not None
        )
        try:
            return await parallel.run(announced)
        except (Busy, ChannelError):
            if parallel.has_moved or not session.is_between_commands:
                raise
        return await in_one()  # there is room for this connection, and for no other

    return await restart_once(attempt)


class ParallelUpload:
    """One attempt at a file, with as many connections as pay, or as many as are `fixed`, beside the
    one that announces it.
    """

    def __init__(
        self,
        session: ClientSession,
        reader: Reader,
        name: str,
        connect: Connect,
        streams: int,
        report: Report,
        *,
        fixed: bool,
    ) -> None:
        self._main = session
        self._reader = reader
        self._name = name
        self._report = report
        self._size = reader.entry.size
        self._segments = Segments(0, self._size, streams)
        self._streams = WorkerPool(self._segments, connect, fixed=fixed)
        self._word = ""
        self._start = self._done = self._told = (
            0  # bytes in place at the server: at first, now, as told
        )

    async def run(self, announced: Mapping[str, Any]) -> Receipt:
        """Send what is missing."""
        meta = await offered(self._main, self._reader, self._name, announced)
        try:
            if not meta.upload:  # the server takes no parts of this one
                return await upload_from(self._main, self._reader, self._name, meta, self._report)
            return await self._send(meta)
        except DigestMismatch as error:
            if not await is_unchanged(self._reader):
                raise changed(self._name) from error
            error.kept = meta.offset  # the server has dropped them
            raise

    async def _send(self, meta: Meta) -> Receipt:
        self._word = meta.upload
        self._start = self._done = meta.offset
        self._segments.begin_at(meta.offset)
        self._tell_done()
        digest = RunningDigest(self._reader)
        failure: FtransferError | None = None
        text = ""
        try:
            digest.allow(self._size)
            digest.follow()
            async with listening(self._main) as answer:
                async with self._main.channel.heartbeats():
                    try:
                        await self._send_parts(answer)
                        if not answer.done():
                            text = await digest.finish(self._size)
                            await confirm(self._reader, 0, self._size, text)
                    except FtransferError as error:
                        await self._leave(error, answer)
                        failure = error
                if failure is None:
                    if answer.done():
                        await refused(self._main, answer)
                    await self._main.channel.send(
                        self._main.connection.send_end(End(self._size, text))
                    )
                    said = values(self._main, await answer)
        finally:
            await digest.close()
        if isinstance(failure, SourceChanged):
            raise changed(self._name) from failure
        if failure is not None:
            raise failure
        return receipt_of(
            self._name, said, self._size, text, kept=meta.offset, restarted=meta.restarted
        )

    @property
    def has_moved(self) -> bool:
        """Whether any part has been acknowledged."""
        return self._done > self._start

    def _tell_done(self) -> None:
        self._told = self._done
        self._report(self._told, self._size)

    async def _leave(self, why: FtransferError, answer: asyncio.Task[Event]) -> None:
        """Tell the server that nothing more comes. If it has said why itself, raise that."""
        if answer.done():
            await refused(self._main, answer)
        await give_up(self._main, why)
        # After "aborted" the connection is in step again. If the whole way is gone, that is not
        # waited for.
        with contextlib.suppress(Aborted, TimeoutError):
            async with asyncio.timeout(self._main.channel.limits.close_s):
                await answer

    async def _send_parts(self, answer: asyncio.Task[Event]) -> None:
        """Send all parts; or stop, when the server has answered already."""
        if self._segments.is_complete:
            return
        async with self._streams as streams:

            def answered(_: asyncio.Task[Event]) -> None:
                streams.tell_soon()

            streams.start(self._main, self._work, main_works=False)
            answer.add_done_callback(answered)
            try:
                while not (self._segments.is_complete or answer.done()):
                    await streams.wait_for(lambda: self._done > self._told or answer.done())
                    self._tell_done()
            finally:
                answer.remove_done_callback(answered)

    async def _work(self, session: ClientSession) -> None:
        """Send segments until none is left. A broken connection gives back what was not
        acknowledged.
        """
        sent: deque[Segment] = deque()
        length, loop = SegmentLength(), asyncio.get_running_loop()
        began = loop.time()
        try:
            while True:
                while len(sent) < ASKED_AHEAD:
                    segment = await self._streams.take(is_idle=not sent, at_most=length.bytes)
                    if segment is None:
                        break
                    if not sent:
                        began = loop.time()
                    sent.append(segment)
                    await self._send_part(session, segment)
                if not sent:
                    return
                await self._hear(session, sent[0])
                length.took(sent.popleft().length, loop.time() - began)
                began = loop.time()
        except BaseException:
            if sent:
                session.abort()
                await self._streams.give_back(*sent)
            raise

    async def _send_part(self, session: ClientSession, segment: Segment) -> None:
        data = await self._reader.read(segment.offset, segment.length)
        if len(data) != segment.length:
            raise changed(self._name)
        options = {"upload": self._word, "offset": segment.offset, "length": segment.length}
        await session.send("part", self._name, options)
        await session.channel.send_data(data)
        await session.channel.send(session.connection.send_end(End(len(data), digest_of(data))))

    async def _hear(self, session: ClientSession, segment: Segment) -> None:
        # In place already: by another worker, or the acknowledgement was lost
        with contextlib.suppress(OffsetConflict):
            await session.reply()
        if self._segments.complete(segment):
            self._segments.in_place = self._segments.first_gap
            self._done += segment.length
        await self._streams.tell()
