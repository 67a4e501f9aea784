"""protocol.Connection over a transport: the only place where the wire's rules meet a socket.

Events come out and messages go in. Payloads move past the protocol: in threads, directly between
socket and file, where the transport can do that; else in pieces through the loop. Deadlines and
heartbeats are kept here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from ftransfer.errors import Closed, LocalProtocolError, SourceChanged, TimedOut
from ftransfer.limits import Limits
from ftransfer.protocol.connection import Connection, Event, Role
from ftransfer.protocol.replies import HEARTBEAT, Notice
from ftransfer.protocol.state import State
from ftransfer.system.threads import io_pool, reusable_buffer, run_job, stop_task
from ftransfer.transport.base import Buffer, DirectTransport, Transport
from ftransfer.transport.file_io import (
    Feed,
    FeedAt,
    FileSink,
    FileSource,
    FileToSocket,
    SocketToFile,
)
from ftransfer.transport.loop_turn import LoopTurn
from ftransfer.transport.stall import StallDetector

# After so many bytes a job goes back to the loop, so that a hundred transfers share sixteen threads
# fairly.
_JOB_BYTES = 32 << 20
# TLS decrypts as it receives: a whole pack in one call would be longer than a turn.
_RECEIVED_AT_ONCE = 256 * 1024


# What is announced to be larger needs memory that was reserved, beyond what one read brings.
_LARGE_FRAME = 16 * 1024
BLOCK_BYTES = 1 << 20


class Pace(Protocol):
    """Bandwidth (throttle.Throttle)."""

    async def take(self, wanted: int) -> int: ...
    def give_back(self, count: int) -> None: ...


class Held(Protocol):
    """Memory that was reserved (memory.Reservation)."""

    def release(self) -> None: ...


Reserve = Callable[[int], Awaitable[Held]]
Moved = Callable[[int], None]  # called on the loop with how many more bytes have been moved


class Channel:
    """One end of one connection. One task receives, any task may send: what one `send` gives is
    never mixed with another's.
    """

    def __init__(self, transport: Transport, role: Role, limits: Limits) -> None:
        self.transport = transport
        self.limits = limits
        self.connection = Connection(role, limits)
        transport.keep_alive(limits.vanish_s)
        self.pace: Pace | None = None  # bandwidth: asked before content is moved
        self.block_bytes = BLOCK_BYTES  # content is copied in blocks of at most so many
        self.reserve: Reserve | None = None  # memory: asked before a large frame is taken in
        self._sending = asyncio.Lock()
        self._held: tuple[Buffer, ...] = ()  # frames that go out together with the next ones
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._turn = LoopTurn()
        # A client does not cut a server that is slow, only one that sends nothing at all; what is
        # slow may be its own path.
        least = limits if role is Role.SERVER else limits._replace(least_bytes=1)
        self._least = StallDetector(least, self._loop.time)

    @property
    def moves_files(self) -> bool:
        """Whether `receive_to_file` and `send_file` can be used."""
        return self.transport.direct is not None

    # Receiving.

    async def next_data_event(self) -> Event:
        """As next_event, while a transfer runs: the peer must make progress within
        limits.stall_s.
        """
        event = await self.next_event(self.limits.stall_s)
        self._check_progress(0, is_mid_frame=False)
        return event

    def begin_transfer(self, quiet_s: float | None = None) -> None:
        """Watch the peer's progress from now on; it may send nothing but heartbeats for `quiet_s`
        (default: limits.quiet_s).
        """
        self._least.begin(quiet_s)

    def note_progress(self, count: int) -> None:
        """Say that so many bytes of this transfer came elsewhere."""
        self._least.note(count)

    def _check_progress(self, count: int, *, is_mid_frame: bool) -> None:
        self._least.note(count)
        self._least.check(self.transport.peer, is_mid_frame=is_mid_frame)

    async def _take(self, wanted: int) -> int:
        """Wait until some bytes of content may be moved; give how many."""
        if self.pace is None:
            return wanted
        began = self._loop.time()
        count = await self.pace.take(wanted)
        self.excuse(self._loop.time() - began)
        return count

    def excuse(self, seconds: float) -> None:
        """Leave time out in which the peer was made to wait."""
        self._least.excuse(seconds)

    async def _came(self, count: int) -> None:
        """Count bytes of a payload that have come, whichever way: against the least progress, and
        against the bandwidth.
        """
        self._check_progress(count, is_mid_frame=self.connection.payload_left > 0)
        await self._paced(count)

    async def _paced(self, count: int) -> None:
        while count > 0:
            count -= await self._take(count)

    async def next_event(self, timeout_s: float) -> Event:
        """Give the next event from the peer.

        Raises:
            TimedOut: No line was complete within `timeout_s`; one took longer than limits.line_s;
                or, of a frame, nothing came for `timeout_s`, or too little. The clock decides, not
                the wait: a peer that always has bytes ready gains nothing.
            Closed: The connection broke. (That the peer sends no more is an event: InputEnded.)
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
                    # A line has its own, shorter time, which does not begin anew with each byte.
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
                    self._check_progress(len(data), is_mid_frame=True)
        finally:
            if held is not None:
                held.release()

    async def payload(self) -> AsyncIterator[Buffer]:
        """Give the payload that has begun, in pieces as they come.

        Raises:
            TimedOut, Closed: The peer stopped in the middle.
        """
        connection = self.connection
        while connection.payload_left:
            data: Buffer = connection.take_payload(connection.payload_left)
            if not data:
                data = await self._read_payload()
                if not data:
                    continue
            await self._came(len(data))
            yield data

    async def _read_payload(self) -> Buffer:
        connection = self.connection
        await self._turn.take()
        data = await self.transport.read(self.limits.stall_s)
        if not data:
            raise Closed(f"{self.transport.peer} closed the connection in the middle of a frame")
        if len(data) > connection.payload_left:
            connection.receive_bytes(data)
            return b""
        connection.payload_moved(len(data))
        return data

    async def whole_payload(self) -> memoryview:
        """Give the payload that has begun as one buffer; its length is bounded by
        limits.max_chunk_bytes.
        """
        whole = reusable_buffer(self.connection.payload_left)
        position = 0
        if self.transport.direct is not None:
            position = await self._receive_into(self.transport.direct, whole)
        async for piece in self.payload():
            whole[position : position + len(piece)] = piece
            position += len(piece)
        return whole

    async def _receive_into(self, direct: DirectTransport, whole: memoryview) -> int:
        """Fill a buffer straight from the socket; how many bytes."""
        early = self.connection.take_payload(len(whole))
        filled = len(early)
        whole[:filled] = early
        await self._came(filled)
        while filled < len(whole):
            await self._turn.take()
            count = direct.receive_into(whole[filled : filled + _RECEIVED_AT_ONCE])
            if count is None:
                await direct.wait_readable(self.limits.stall_s, len(whole) - filled)
            elif count == 0:
                raise Closed(
                    f"{self.transport.peer} closed the connection in the middle of a frame"
                )
            else:
                self.connection.payload_moved(count)
                filled += count
                await self._came(count)
        return filled

    async def discard_payload(self) -> None:
        async for _ in self.payload():
            pass

    async def receive_to_file(self, sink: FileSink, feed: Feed, moved: Moved) -> Event:
        """Receive data frames into a file in threads, until another event comes; give that event.
        Begins within a data frame.

        Events of the live layer that come between (heartbeats) are given to whoever called, like
        any other event.

        After cancellation no job runs any more; what was written is whole up to the sink's offset.

        Raises:
            TimedOut, Closed, RemoteProtocolError, and what the sink raises.
        """
        direct = self.transport.direct
        if direct is None:
            raise LocalProtocolError("this transport cannot move bytes in threads")
        inflow = SocketToFile(self.connection, direct, sink, feed)
        stalled: TimedOut | None = None
        while True:
            budget = await self._take(_JOB_BYTES)
            inflow.budget = budget
            event = await run_job(io_pool(), inflow.run, inflow.stop)
            count = inflow.take_moved()
            if self.pace is not None:
                self.pace.give_back(budget - count)
            if count:
                moved(count)
            if event is not None:
                return event
            if stalled is not None and not count:
                raise stalled
            stalled = None
            self._check_progress(count, is_mid_frame=self.connection.payload_left > 0)
            if inflow.is_trickle:
                self._turn.use(inflow.used_s)
                await self._turn.take()
            if inflow.would_block:
                try:
                    await direct.wait_readable(
                        self.limits.stall_s, self.connection.payload_left or 1
                    )
                except TimedOut as error:
                    stalled = error  # unless something has come that was too little to be woken for

    # Sending.

    async def send(self, *buffers: Buffer) -> None:
        """Send whole frames or lines.

        Raises:
            TimedOut: The peer took nothing for limits.stall_s.
            Closed: The connection broke.
        """
        await self._turn.take()
        async with self._sending:
            held, self._held = self._held, ()
            await self.transport.write((*held, *buffers), self.limits.stall_s)
            self._sent_at = self._loop.time()

    async def send_notices(self, frames: Sequence[bytes]) -> None:
        """Send event frames that are encoded already. There is no deadline: a listener may pause
        for as long as it likes.

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
        """As send, for frames with so many bytes of content among them."""
        await self._paced(count)
        await self.send(*buffers)
        self._check_progress(count, is_mid_frame=False)

    async def queue_content(self, count: int, *buffers: Buffer) -> None:
        """As send_accounted, for what is followed by another `send` at once: it goes out with that,
        in one call and one packet.
        """
        await self._paced(count)
        self._held += buffers
        self._check_progress(count, is_mid_frame=False)

    async def send_chunk(self, data: Buffer) -> None:
        """Send content that is in memory, as one data frame or as many as the cap needs."""
        view = memoryview(data)
        while view:
            await self._turn.take()
            count = await self._take(min(len(view), self.limits.max_chunk_bytes))
            piece, view = view[:count], view[count:]
            async with self._sending:
                await self.transport.write(
                    [self.connection.send_data_header(len(piece)), piece], self.limits.stall_s
                )
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
        """Send a part of a file as data frames, in threads, as long as `proceed` is true before
        each frame.

        `feed`, if there is one, gets the bytes as they pass.

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
            count = await self._take(min(end - offset, self.limits.max_chunk_bytes))
            async with self._sending:
                outflow.begin_frame(self.connection.send_data_header(count), offset, count)
                while not await run_job(io_pool(), outflow.run, outflow.stop):
                    self._check_progress(self._report(outflow, moved), is_mid_frame=True)
                    await direct.wait_writable(self.limits.stall_s)
                self._check_progress(self._report(outflow, moved), is_mid_frame=False)
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

    @contextlib.asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[None]:
        """While the block runs, say that we live whenever nothing else was sent for
        limits.heartbeat_s.

        Raises:
            Closed, TimedOut: The peer is gone, and took no heartbeat. The block was cancelled.
        """
        worker = asyncio.current_task()
        assert worker is not None
        beat = self._loop.create_task(self._beat())
        beat.add_done_callback(end_with := _CancelOnError(worker))
        try:
            try:
                yield
            except asyncio.CancelledError:
                raise  # nobody waits any more for a peer that takes nothing
            except BaseException:
                await self._cancel_between_frames(beat)
                raise
            await self._cancel_between_frames(beat)
        except asyncio.CancelledError:
            if end_with.error is not None and worker.uncancel() == 0:
                raise end_with.error from None
            raise
        finally:
            beat.remove_done_callback(end_with)
            await stop_task(beat)

    async def _cancel_between_frames(self, beat: asyncio.Task[None]) -> None:
        # Half a heartbeat would put the stream out of step, and OpenSSL must be given again what it
        # has begun to send.
        async with self._sending:
            beat.cancel()

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
        """Close after what was sent has been read, within limits.close_s."""
        await self.transport.close(self.limits.close_s)

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()


class _CancelOnError:
    """Cancels a task if another one fails; keeps the error."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.error: BaseException | None = None
        self._task = task

    def __call__(self, failed: asyncio.Task[None]) -> None:
        if not failed.cancelled() and (error := failed.exception()) is not None:
            self.error = error
            self._task.cancel()
