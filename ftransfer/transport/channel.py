"""protocol.Connection over a transport: the only place where the wire's rules meet a socket.

Events come out and messages go in. Payloads bypass the protocol: in threads, directly between
socket and file, where the transport supports it; else in pieces through the loop. Deadlines and
heartbeats are kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ftransfer.errors import LocalProtocolError, SourceChanged, TimedOut
from ftransfer.limits import Limits
from ftransfer.protocol.connection import Connection, Event, Role
from ftransfer.protocol.replies import HEARTBEAT, Notice
from ftransfer.protocol.state import State
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transport.base import Buffer, Transport
from ftransfer.transport.file_io import (
    Feed,
    FeedAt,
    FileSink,
    FileSource,
    FileToSocket,
    SocketToFile,
)
from ftransfer.transport.heartbeat import beating
from ftransfer.transport.loop_turn import LoopTurn
from ftransfer.transport.payload import PayloadReader
from ftransfer.transport.progress import TransferProgress

# After this many bytes a job returns to the loop, so that a hundred transfers share sixteen threads
# fairly.
_JOB_BYTES = 32 << 20
# A larger announced frame needs reserved memory, beyond what one read brings.
_LARGE_FRAME = 16 * 1024
BLOCK_BYTES = 1 << 20


class Held(Protocol):
    """Reserved memory (memory.Reservation)."""

    def release(self) -> None: ...


Reserve = Callable[[int], Awaitable[Held]]
Moved = Callable[[int], None]  # called on the loop with the number of bytes just moved


class Channel:
    """One end of one connection. One task receives; any task may send.

    The buffers of one `send` are never mixed with another's.
    """

    def __init__(self, transport: Transport, role: Role, limits: Limits) -> None:
        self.transport = transport
        self.limits = limits
        self.connection = Connection(role, limits)
        transport.keep_alive(limits.vanish_s)
        self.block_bytes = BLOCK_BYTES  # the largest block in which content is copied
        self.reserve: Reserve | None = None  # called before a large frame is received
        self._sending = asyncio.Lock()
        self._queued: tuple[Buffer, ...] = ()  # frames to send together with the next ones
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._turn = LoopTurn()
        # A client does not drop a slow server, only one that sends nothing at all; the slow part
        # may be its own network.
        least = limits if role is Role.SERVER else limits._replace(min_progress_bytes=1)
        self.progress = TransferProgress(least, transport.peer)
        self.payload = PayloadReader(
            transport, self.connection, self.progress, self._turn, limits.stall_s
        )

    @property
    def moves_files(self) -> bool:
        """Return whether `receive_to_file` and `send_file` can be used."""
        return self.transport.direct is not None

    # Receiving.

    async def next_data_event(self) -> Event:
        """Return the next event during a transfer, as next_event.

        The peer must make progress within limits.stall_s.
        """
        event = await self.next_event(self.limits.stall_s)
        self.progress.check(0, is_mid_frame=False)
        return event

    async def next_event(self, timeout_s: float) -> Event:
        """Return the next event from the peer.

        Raises:
            TimedOut: No line was complete within `timeout_s`; a line took longer than
                limits.line_s; or nothing, or too little, of a frame came for `timeout_s`. The clock
                decides, not the wait: a peer that always has bytes ready gains nothing.
            Closed: The connection broke. (The end of the peer's stream is an event: InputEnded.)
            RemoteProtocolError: The peer broke the rules.
        """
        held: Held | None = None
        try:
            deadline = self._loop.time() + timeout_s
            line_deadline = None
            while True:
                await self._turn.take()
                event = self.connection.next_event()
                if event is not None:
                    return event
                now = self._loop.time()
                if self.connection.awaits_line:
                    timeout_s = deadline - now
                    if timeout_s <= 0:
                        raise TimedOut(f"{self.transport.peer} sent no whole line in time")
                if self.connection.is_mid_line:
                    # A line has a shorter deadline, which does not restart with each byte.
                    line_deadline = line_deadline or now + self.limits.line_s
                    timeout_s = min(timeout_s, line_deadline - now)
                    if timeout_s <= 0:
                        raise TimedOut(
                            f"{self.transport.peer} did not finish its line within"
                            f" {self.limits.line_s:.0f} s"
                        )
                if self.reserve is not None and held is None and self.connection.is_mid_frame:
                    if (wanted := self.connection.wanted) > _LARGE_FRAME:
                        held = await self.reserve(wanted)
                data = await self.transport.read(timeout_s)
                self.connection.receive_bytes(data)
                if self.connection.is_mid_frame:
                    self.progress.check(len(data), is_mid_frame=True)
        finally:
            if held is not None:
                held.release()

    async def receive_to_file(self, sink: FileSink, feed: Feed, moved: Moved) -> Event:
        """Receive data frames into a file in threads; return the first other event.

        Starts within a data frame. Live events in between (heartbeats) are returned like any other
        event.

        After cancellation no job runs, and everything up to the sink's offset has been written.

        Raises:
            TimedOut, Closed, RemoteProtocolError, and what the sink raises.
        """
        direct = self.transport.direct
        if direct is None:
            raise LocalProtocolError("this transport cannot move bytes in threads")
        inflow = SocketToFile(self.connection, direct, sink, feed)
        stalled: TimedOut | None = None
        while True:
            budget = await self.progress.take(_JOB_BYTES)
            inflow.budget = budget
            event = await run_job(io_pool(), inflow.run, inflow.stop)
            count = inflow.take_moved()
            if self.progress.pace is not None:
                self.progress.pace.give_back(budget - count)
            if count:
                moved(count)
            if event is not None:
                return event
            if stalled is not None and not count:
                raise stalled
            stalled = None
            self.progress.check(count, is_mid_frame=self.connection.payload_left > 0)
            if inflow.is_trickle:
                self._turn.use(inflow.used_s)
                await self._turn.take()
            if inflow.would_block:
                try:
                    await direct.wait_readable(
                        self.limits.stall_s, self.connection.payload_left or 1
                    )
                except TimedOut as error:
                    stalled = error  # unless fewer bytes came than wake the loop

    # Sending.

    async def send(self, *buffers: Buffer) -> None:
        """Send whole frames or lines.

        Raises:
            TimedOut: The peer took nothing for limits.stall_s.
            Closed: The connection broke.
        """
        await self._turn.take()
        async with self._sending:
            queued, self._queued = self._queued, ()
            await self.transport.write((*queued, *buffers), self.limits.stall_s)
            self._sent_at = self._loop.time()

    async def send_notices(self, frames: Sequence[bytes]) -> None:
        """Send event frames that are already encoded.

        There is no deadline: a listener may pause for as long as it likes.

        Raises:
            LocalProtocolError: The session is over.
            Closed: The connection broke.
        """
        async with self._sending:
            if self.connection.state is State.CLOSED:
                raise LocalProtocolError("an event after the last word")
            await self.transport.write(frames, float("inf"))
            self._sent_at = self._loop.time()

    async def send_accounted(self, count: int, *buffers: Buffer) -> None:
        """Send frames that contain `count` bytes of content, as send."""
        await self.progress.spend(count)
        await self.send(*buffers)
        self.progress.check(count, is_mid_frame=False)

    async def queue_content(self, count: int, *buffers: Buffer) -> None:
        """Queue content for the next `send`, as send_accounted.

        Both go out in one call and one packet; that `send` must follow at once.
        """
        await self.progress.spend(count)
        self._queued += buffers
        self.progress.check(count, is_mid_frame=False)

    async def send_data(self, data: Buffer) -> None:
        """Send content from memory, in as few data frames as the cap allows."""
        view = memoryview(data)
        while view:
            await self._turn.take()
            count = await self.progress.take(min(len(view), self.limits.max_chunk_bytes))
            piece, view = view[:count], view[count:]
            async with self._sending:
                await self.transport.write(frame_data(self.connection, piece), self.limits.stall_s)
                self._sent_at = self._loop.time()

    async def send_file(
        self,
        source: FileSource,
        offset: int,
        length: int,
        feed: FeedAt | None,
        moved: Moved,
        proceed: Callable[[], bool],
    ) -> None:
        """Send a part of a file as data frames, in threads.

        Each frame is sent only if `proceed` is true before it.

        `feed`, if given, receives the bytes as they pass.

        Raises:
            SourceChanged, or what the source raises: It ended early or failed. The stream is in
                step: the last frame was filled up with zeros.
            TimedOut, Closed.
        """
        direct = self.transport.direct
        if direct is None:
            raise LocalProtocolError("this transport cannot move bytes in threads")
        end = offset + length
        outflow = FileToSocket(direct, source, feed, self.block_bytes)
        while offset < end and proceed():
            count = await self.progress.take(min(end - offset, self.limits.max_chunk_bytes))
            async with self._sending:
                outflow.begin_frame(self.connection.send_data_header(count), offset, count)
                while not await run_job(io_pool(), outflow.run, outflow.stop):
                    self.progress.check(self._report(outflow, moved), is_mid_frame=True)
                    await direct.wait_writable(self.limits.stall_s)
                self.progress.check(self._report(outflow, moved), is_mid_frame=False)
            if outflow.failure is not None:
                raise outflow.failure
            if outflow.is_short:
                raise SourceChanged("the file became shorter while it was sent")
            offset += count

    def _report(self, outflow: FileToSocket, moved: Moved) -> int:
        self._sent_at = self._loop.time()
        count = outflow.take_moved()
        if count:
            moved(count)
        return count

    def heartbeats(self) -> AbstractAsyncContextManager[None]:
        """Send heartbeats during the block, after each limits.heartbeat_s without other output.

        Raises:
            Closed, TimedOut: The peer is gone and accepted no heartbeat. The block was cancelled.
        """
        return beating(self._beat, self._sending)

    async def _beat(self) -> None:
        while True:
            quiet_s = self._loop.time() - self._sent_at
            if quiet_s < self.limits.heartbeat_s or self._sending.locked():
                await asyncio.sleep(
                    max(self.limits.heartbeat_s - quiet_s, self.limits.heartbeat_s / 4)
                )
                continue
            await self._send_heartbeat()
            self._sent_at = self._loop.time()

    async def _send_heartbeat(self) -> None:
        async with self._sending:
            if self.connection.role is Role.SERVER:
                beat = self.connection.send_notice(Notice(HEARTBEAT, {}))
            elif self.connection.said is State.RECEIVING:
                beat = self.connection.send_data_header(0)
            else:
                return
            await self.transport.write([beat], self.limits.stall_s)

    # The end.

    async def close(self) -> None:
        """Close after the peer has read what was sent, within limits.close_s."""
        await self.transport.close(self.limits.close_s)

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()


def frame_data(connection: Connection, content: Buffer) -> list[Buffer]:
    """Return content from memory as one data frame, or nothing if it is empty."""
    return [connection.send_data_header(len(content)), content] if content else []
