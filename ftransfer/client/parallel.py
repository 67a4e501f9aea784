"""One large file over several connections, for paths that one connection cannot fill: long ones that lose a packet now and then.

The file is fetched in segments, by as many workers as pay, and put together in order: so the writer, the digest and resume are the
same as for one connection. Memory is bounded by the segments that have come ahead of their turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ftransfer.client.conversation import Conversation
from ftransfer.client.downloads import LONG_PATH_S, OWNER, Report, download, receiving
from ftransfer.client.retry import afresh_once
from ftransfer.digest import digest_of
from ftransfer.errors import (
    ChannelError,
    Closed,
    DigestMismatch,
    FtransferError,
    OffsetConflict,
    RemoteProtocolError,
    RequestError,
    SourceChanged,
)
from ftransfer.jobs import Room
from ftransfer.link import Link
from ftransfer.names import SafeName, escape, parse_name
from ftransfer.protocol.connection import Payload
from ftransfer.protocol.replies import End, Meta, Reply, take
from ftransfer.storage.base import FILE, Announcement, Entry, Store, Writer
from ftransfer.transfer.digesting import RunningDigest
from ftransfer.transfer.records import Receipt, described_from_wire

# Large enough that its command costs nothing; towards the end of a file they become smaller, so that all workers end together.
SEGMENT_BYTES = 512 << 10
LEAST_SEGMENT_BYTES = 64 << 10
# Each worker asks for its next segment before it has the present one, so that no round trip passes unused.
_ASKED_AHEAD = 2
# What may lie in memory before its turn.
_AHEAD_BYTES = 48 << 20
FIRST_STREAMS = 8
MAX_STREAMS = 32
# How long the rate is watched before more are tried: so many round trips, since each connection begins slowly.
_TRIAL_ROUND_TRIPS = 10
# Where the round trip takes so much longer than at first, packets queue: the path is full, and more connections would find no room.
_QUEUING = 1.5
_SHORTEST_TRIAL_S = 0.3
# A file is large from this size on; below, one connection is as quick.
LARGE_BYTES = 16 << 20

Connect = Callable[[], Awaitable[Conversation]]


def streams_for(round_trip_s: float, size: int, wanted: int | None) -> int:
    """Give how many connections to begin with; 1 means that the ordinary way is the better one.

    Args:
        wanted: A number that the user asks for, or None.
    """
    if wanted is not None:
        return max(1, min(wanted, MAX_STREAMS))
    return FIRST_STREAMS if round_trip_s >= LONG_PATH_S and size >= LARGE_BYTES else 1


@dataclass(slots=True)
class _Segment:
    number: int
    offset: int
    length: int


class ParallelDownload:
    """One attempt at a file. The workers grow in number as long as that makes it faster, unless `fixed`.

    Args:
        entry: What the server says of the file now; every segment must be of that identity.
        connect: Makes a further connection, for one worker.
    """

    def __init__(self, name: str, entry: Entry, connect: Connect, streams: int, *, fixed: bool) -> None:
        self._name = name
        self._entry = entry
        self._connect = connect
        self._streams = streams
        self._fixed = fixed
        self._todo: deque[_Segment] = deque()
        self._next_number = 0
        self._next_offset = 0
        self._written = 0
        self._has_asked_digest = False
        self._turn = 0  # the number of the segment that is to be written next
        self._come: dict[int, bytes] = {}
        self._changed = asyncio.Condition()
        self._arrived_bytes = 0

    async def run(
        self, conversation: Conversation, store: Store, target: SafeName, report: Report, *, keep_cancelled: bool
    ) -> Receipt:
        """Receive into a store. `conversation` is asked for the digest of the whole at the end. Raises as downloads.download."""
        entry = self._entry
        announced = Announcement(entry.size, entry.mtime_ns, entry.mode, source=entry.identity, owner=OWNER)
        writer = await store.open_write(target, announced)
        async with receiving(writer, keep_cancelled=keep_cancelled) as digest:
            report(writer.offset, entry.size)
            await self._fetch(conversation, writer, digest, report)
            text = await digest.finish(entry.size)
            await self._verify(conversation, text)
            await digest.close()
            published = await writer.commit(text)
        return Receipt(self._name, published.size, text, published.mtime_ns, store.durable, writer.kept, restarted=writer.restarted)

    async def _verify(self, conversation: Conversation, text: str) -> None:
        if not self._has_asked_digest:
            await self._ask_digest(conversation)
        values = await conversation.reply()
        wanted = take(values, "digest", str)
        if wanted != text:
            message = f"{escape(self._name)}: the content does not match its digest; try again"
            raise DigestMismatch(message, name=self._name, expected=wanted, actual=text)

    async def _fetch(self, first: Conversation, writer: Writer, digest: RunningDigest, report: Report) -> None:
        self._next_offset = self._written = writer.offset
        async with _Workers(self._changed) as workers:
            workers.add(lambda: self._work_first(first))  # it is there already: the first bytes come a few round trips earlier
            for _ in range(self._streams - 1):
                workers.add(self._work_apart)
            if not self._fixed:
                workers.watch(self._grow(workers, first.channel.link))
            while writer.offset < self._entry.size:
                data = await self._in_turn(workers)
                await writer.write(data)
                digest.feed(writer.offset - len(data), data)
                digest.allow(writer.offset)
                self._written = writer.offset
                report(writer.offset, self._entry.size)

    async def _in_turn(self, workers: _Workers) -> bytes:
        """Give the segment that is to be written next."""
        async with self._changed:
            while self._turn not in self._come:
                workers.check()
                await self._changed.wait()
            data = self._come.pop(self._turn)
            self._turn += 1
            self._changed.notify_all()
            return data

    async def _grow(self, workers: _Workers, link: Link) -> None:
        """Double the workers as long as the rate follows and no queue forms: on a path that is full, more would be unfair."""
        loop = asyncio.get_running_loop()
        shortest_s = link.round_trip_s
        trial_s = max(_SHORTEST_TRIAL_S, _TRIAL_ROUND_TRIPS * shortest_s)
        rate = 0.0
        while self._streams < MAX_STREAMS:
            began, before = loop.time(), self._arrived_bytes
            await asyncio.sleep(trial_s)
            if link.round_trip_s > _QUEUING * shortest_s:
                continue
            now = (self._arrived_bytes - before) / (loop.time() - began)
            if now < 1.15 * rate:
                return
            rate = now
            more = min(self._streams, MAX_STREAMS - self._streams)
            for _ in range(more):
                workers.add(self._work_apart)
            self._streams += more

    async def _work_first(self, conversation: Conversation) -> None:
        """Fetch segments until none is left; the digest of the whole is on its way while others fetch the last of theirs."""
        await self._work(conversation)
        await self._ask_digest(conversation)

    async def _ask_digest(self, conversation: Conversation) -> None:
        self._has_asked_digest = True
        await conversation.say("checksum", self._name)

    async def _work_apart(self) -> None:
        """Fetch segments over a connection of its own."""
        conversation = await self._connect()
        await self._work(conversation)
        await conversation.close()

    async def _work(self, conversation: Conversation) -> None:
        """Fetch segments until none is left. A broken connection gives its segments back."""
        asked: deque[_Segment] = deque()
        try:
            while True:
                while len(asked) < _ASKED_AHEAD and (segment := await self._take(wait=not asked)) is not None:
                    asked.append(segment)
                    options = {"offset": segment.offset, "length": segment.length, "identity": self._entry.identity}
                    await conversation.say("get", self._name, options)
                if not asked:
                    return
                data = await self._receive(conversation, asked[0])
                segment = asked.popleft()
                async with self._changed:
                    self._come[segment.number] = data
                    self._arrived_bytes += len(data)
                    self._changed.notify_all()
        except BaseException:
            conversation.abort()
            if asked:
                async with self._changed:
                    self._todo.extendleft(reversed(asked))
                    self._changed.notify_all()
            raise

    async def _take(self, *, wait: bool) -> _Segment | None:
        """Give the next segment to fetch; None if there is none, or (unless `wait`) none that fits into memory yet."""
        async with self._changed:
            while not self._todo:
                left = self._entry.size - self._next_offset
                if not left:
                    return None
                if self._next_offset - self._written < _AHEAD_BYTES:
                    length = min(left, SEGMENT_BYTES, max(LEAST_SEGMENT_BYTES, left // (2 * _ASKED_AHEAD * self._streams)))
                    segment = _Segment(self._next_number, self._next_offset, length)
                    self._next_number += 1
                    self._next_offset += length
                    return segment
                if not wait:
                    return None
                await self._changed.wait()
            return self._todo.popleft()

    async def _receive(self, conversation: Conversation, segment: _Segment) -> bytes:
        """Receive one segment and verify it."""
        meta = await conversation.answer()
        if not isinstance(meta, Meta):
            raise conversation.out_of_turn(meta)
        known = self._entry
        if (meta.identity, meta.mtime_ns, meta.mode) != (known.identity, known.mtime_ns, known.mode):
            raise SourceChanged(f"{escape(self._name)}: the file on the server has changed; try again", name=self._name)
        if (meta.offset, meta.length) != (segment.offset, segment.length):
            raise OffsetConflict(f"{escape(self._name)}: the server sends a part that was not asked for", name=self._name)
        data, room = bytearray(), Room()
        while isinstance(event := await conversation.answer(), Payload):
            if len(data) + event.length > segment.length:
                raise RemoteProtocolError(f"{escape(self._name)}: more came than was announced", name=self._name)
            data += await conversation.channel.whole_payload(room)
        if not isinstance(event, End):
            raise conversation.out_of_turn(event)
        is_right = digest_of(data) == event.digest and conversation.connection.has_right_head(event)
        if len(data) != segment.length or not is_right:
            raise DigestMismatch(f"{escape(self._name)}: a part does not match its digest; try again", name=self._name)
        reply = await conversation.answer()
        if not isinstance(reply, Reply):
            raise conversation.out_of_turn(reply)
        return bytes(data)


class _Workers:
    """Tasks that end together. One that loses its connection, or that the server has no room for, leaves its work to the others;
    when none is left, or one meets any other error, that error is the error of the whole."""

    def __init__(self, changed: asyncio.Condition) -> None:
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0
        self._error: FtransferError | None = None
        self._lost: FtransferError | None = None

    async def __aenter__(self) -> _Workers:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def add(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start a worker."""
        self._working += 1
        self.watch(self._guard(work))

    def watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Start something that is no worker and ends with them."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (ChannelError, RequestError) as error:
            self._lost = error
        except FtransferError as error:
            self._error = error
        finally:
            self._working -= 1
        async with self._changed:
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what ended the whole."""
        if self._error is not None:
            raise self._error
        if self._working == 0:
            raise self._lost or Closed("the connections ended before the file was complete")


async def download_best(
    conversation: Conversation,
    name: str,
    store: Store,
    target: SafeName,
    report: Report,
    connect: Connect,
    *,
    streams: int | None,
    keep_cancelled: bool,
) -> Receipt:
    """Receive a file in the way that fits the path: over one connection, or over several. Raises as downloads.download.

    Args:
        streams: How many connections; None for as many as pay.
        connect: Makes a further connection.
    """
    entry = described_from_wire(await conversation.ask("stat", name), parse_name(name))
    count = streams_for(conversation.channel.link.round_trip_s, entry.size, streams)
    if entry.kind != FILE or count == 1:
        return await download(conversation, name, store, target, report, keep_cancelled=keep_cancelled)

    async def attempt() -> Receipt:
        parallel = ParallelDownload(name, entry, connect, count, fixed=streams is not None)
        return await parallel.run(conversation, store, target, report, keep_cancelled=keep_cancelled)

    return await afresh_once(attempt)
