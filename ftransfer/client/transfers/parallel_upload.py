"""One large file to a server over several connections: the mirror of parallel_download.

The first connection announces the file and receives an upload id. The others send parts under that
id; each is acknowledged once it is verified and in place. Then the first sends the digest of the
whole file, and receives the receipt as for any put.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from ftransfer.client.retry import Report, restart_once
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.put_exchange import (
    answer_task,
    raise_refusal,
    receipt_of_upload,
    reply_values,
    send_abort,
)
from ftransfer.client.transfers.segments import REQUESTED_AHEAD, Segment, SegmentLength, Segments
from ftransfer.client.transfers.stream_count import Streams
from ftransfer.client.transfers.upload import FileUpload
from ftransfer.client.transfers.workers import WorkerPool
from ftransfer.digest import Digest, digest_of
from ftransfer.errors import (
    Aborted,
    Busy,
    ChannelError,
    FtransferError,
    OffsetConflict,
    SourceChanged,
)
from ftransfer.protocol.connection import Event
from ftransfer.protocol.replies import End, Meta
from ftransfer.transfer.records import Receipt
from ftransfer.transfer.running_digest import RunningDigest, confirm


async def upload_in_parallel(
    upload: FileUpload, streams: Streams, session: ClientSession, report: Report
) -> Receipt:
    """Send a file over several connections. Raises as FileUpload.run.

    Args:
        streams: The further connections; `session` announces the file.
    """

    async def attempt() -> Receipt:
        parallel = ParallelUpload(upload, streams, session, report)
        try:
            return await parallel.run()
        except (Busy, ChannelError):
            if parallel.has_moved or not session.is_between_commands:
                raise
        return await upload.run(session, report)  # the server accepts this connection, and no other

    return await restart_once(attempt)


class ParallelUpload:
    """One attempt at a file. Arguments as upload_in_parallel."""

    def __init__(
        self, upload: FileUpload, streams: Streams, session: ClientSession, report: Report
    ) -> None:
        self._upload = upload
        self._main = session
        self._report = report
        self._segments = Segments(0, upload.size, streams.first)
        self._workers = WorkerPool(self._segments, streams)
        self._upload_id = ""
        # Bytes in place at the server: at the start, now, and as reported
        self._start = self._done = self._reported = 0

    async def run(self) -> Receipt:
        """Send what is missing."""
        meta = await self._upload.announce(self._main, parts=True)
        async with self._upload.mismatch_explained(meta):
            if not meta.upload:  # the server accepts no parts of this file
                return await self._upload.send_from(self._main, meta, self._report)
            return await self._send(meta)

    async def _send(self, meta: Meta) -> Receipt:
        self._upload_id = meta.upload
        self._start = self._done = meta.offset
        self._segments.begin_at(meta.offset)
        self._report_done()
        digest = RunningDigest(self._upload.reader)
        failure: FtransferError | None = None
        text = ""
        try:
            digest.allow(self._upload.size)
            digest.follow()
            async with answer_task(self._main) as answer:
                async with self._main.channel.heartbeats():
                    try:
                        text = await self._send_parts(answer, digest)
                    except FtransferError as error:
                        await self._abort(error, answer)
                        failure = error
                if failure is None:
                    if answer.done():
                        await raise_refusal(self._main, answer)
                    await self._main.channel.send(
                        self._main.connection.send_end(End(self._upload.size, text))
                    )
                    values = reply_values(self._main, await answer)
        finally:
            await digest.close()
        if isinstance(failure, SourceChanged):
            raise self._upload.changed() from failure
        if failure is not None:
            raise failure
        return receipt_of_upload(
            self._upload.name,
            values,
            self._upload.size,
            text,
            kept=meta.offset,
            restarted=meta.restarted,
        )

    @property
    def has_moved(self) -> bool:
        """Return whether the server has acknowledged any part."""
        return self._done > self._start

    def _report_done(self) -> None:
        self._reported = self._done
        self._report(self._reported, self._upload.size)

    async def _abort(self, why: FtransferError, answer: asyncio.Task[Event]) -> None:
        """Abort the put. Raise the server's own error if it has sent one."""
        if answer.done():
            await raise_refusal(self._main, answer)
        await send_abort(self._main, why)
        # After "aborted" the connection is in step again. If it is lost, do not wait for that.
        with contextlib.suppress(Aborted, TimeoutError):
            async with asyncio.timeout(self._main.channel.limits.close_s):
                await answer

    async def _send_parts(self, answer: asyncio.Task[Event], digest: RunningDigest) -> Digest:
        """Send all parts; return the digest of the file, "" if the server has already answered."""
        if not self._segments.is_complete:
            await self._work_until(answer)
        if answer.done():
            return ""
        text = await digest.finish(self._upload.size)
        await confirm(self._upload.reader, 0, self._upload.size, text)
        return text

    async def _work_until(self, answer: asyncio.Task[Event]) -> None:
        """Let the workers send until all parts are in place or the server has answered."""
        async with self._workers as workers:

            def answered(_: asyncio.Task[Event]) -> None:
                workers.notify_soon()

            workers.start(self._main, self._work, main_works=False)
            answer.add_done_callback(answered)
            try:
                while not (self._segments.is_complete or answer.done()):
                    await workers.wait_for(lambda: self._done > self._reported or answer.done())
                    self._report_done()
            finally:
                answer.remove_done_callback(answered)

    async def _work(self, session: ClientSession) -> None:
        """Send segments until none is left. A broken connection returns its unacknowledged ones."""
        sent: deque[Segment] = deque()
        length, loop = SegmentLength(), asyncio.get_running_loop()
        began = loop.time()
        try:
            while True:
                while len(sent) < REQUESTED_AHEAD:
                    segment = await self._workers.take(is_idle=not sent, at_most=length.bytes)
                    if segment is None:
                        break
                    if not sent:
                        began = loop.time()
                    sent.append(segment)
                    await self._send_part(session, segment)
                if not sent:
                    return
                await self._receive_ack(session, sent[0])
                length.took(sent.popleft().length, loop.time() - began)
                began = loop.time()
        except BaseException:
            if sent:
                session.abort()
                await self._workers.give_back(*sent)
            raise

    async def _send_part(self, session: ClientSession, segment: Segment) -> None:
        data = await self._upload.reader.read(segment.offset, segment.length)
        if len(data) != segment.length:
            raise self._upload.changed()
        options = {"upload": self._upload_id, "offset": segment.offset, "length": segment.length}
        await session.send("part", self._upload.name, options)
        await session.channel.send_data(data)
        await session.channel.send(session.connection.send_end(End(len(data), digest_of(data))))

    async def _receive_ack(self, session: ClientSession, segment: Segment) -> None:
        # In place already: sent by another worker, or the acknowledgement was lost
        with contextlib.suppress(OffsetConflict):
            await session.reply()
        if self._segments.complete(segment):
            self._segments.in_place = self._segments.first_gap
            self._done += segment.length
        await self._workers.notify()
