"""The work of a thread for a transfer: bytes from socket to file, or from file to socket.

A run ends when the socket would block. Between two runs the channel waits on the event loop,
decides whether to continue, and reports progress.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, thread_time
from typing import Protocol

from ftransfer.errors import Closed, FtransferError
from ftransfer.protocol.connection import Connection, Event, InputEnded, Payload
from ftransfer.protocol.framing import Kind
from ftransfer.system.threads import scratch
from ftransfer.transport.base import DirectTransport

# The block of one write or hash call. Larger ones fall out of the processor's cache, smaller ones
# cost more calls; 1 MiB was measured best.
_BLOCK = 1 << 20
# The same where bytes are read, hashed or encrypted, and sent: they should stay in the cache
# throughout.
_COPIED = _BLOCK // 4
# How long the thread waits for a socket that would block. On a fast network the wait is shorter
# than the trip to the loop and back, which costs more than moving the bytes. Only a few threads may
# wait, and only briefly, so that free ones remain in a crowd.
_LINGER_S = 0.01
_RUN_S = 0.1
# Frames with almost no content keep the interpreter busy while the loop's thread waits: after this
# many, or one with no content at all, a job returns to the loop. Less than this in a job is almost
# none.
_MOST_FRAMES = 64
_LEAST_BYTES = 64 * 1024
_lingering = threading.BoundedSemaphore(4)

# Called in the job's thread with the bytes just written
Feed = Callable[[memoryview], None]
# The same for bytes just read, with their offset in the file
FeedAt = Callable[[int, memoryview], None]


class FileSource(Protocol):
    """A file that can be read in a thread (storage.base.Reader with `fast`)."""

    def fileno(self) -> int: ...
    def read_blocking(self, offset: int, view: memoryview) -> int: ...


class FileSink(Protocol):
    """A file that can be written in a thread (storage.base.Writer with `fast`)."""

    def write_blocking(self, data: memoryview) -> None: ...


class CopyJob:
    """A blocking piece of a transfer. The loop and the thread never touch it at the same time."""

    def __init__(self, transport: DirectTransport) -> None:
        self._transport = transport
        self._stopped = False
        self._until = 0.0
        self._moved = 0

    def stop(self) -> None:
        """Ask the running job to end soon."""
        self._stopped = True

    def take_moved(self) -> int:
        """Return the number of content bytes moved since the last call."""
        count, self._moved = self._moved, 0
        return count

    def _begin(self) -> None:
        self._until = monotonic() + _RUN_S

    def _linger(self, wait: Callable[[float], bool]) -> bool:
        """Wait in this thread, if allowed, until the socket is ready; return whether it is."""
        if self._stopped or monotonic() > self._until or not _lingering.acquire(blocking=False):
            return False
        try:
            return wait(_LINGER_S)
        finally:
            _lingering.release()


class SocketToFile(CopyJob):
    """Socket -> hasher -> file, until the socket would block.

    It reads the headers between data frames itself.
    """

    def __init__(
        self, connection: Connection, transport: DirectTransport, sink: FileSink, feed: Feed
    ) -> None:
        super().__init__(transport)
        self._connection = connection
        self._sink = sink
        self._feed = feed
        self.would_block = False
        self.is_trickle = False  # the peer sends many frames with almost no content
        self.used_s = 0.0  # CPU time of the last run, for which the event loop had to wait
        self.budget = 0  # bytes that may be moved before the job returns to the loop

    def run(self) -> Event | None:
        """Move bytes; return the event that ends the data.

        None if the loop should wait or call again.
        """
        view = scratch(_BLOCK)
        self.would_block = False
        left = self.budget
        self._begin()
        self.is_trickle = False
        frames = 0
        began = thread_time()
        while left > 0 and not self.is_trickle and not self._stopped and not self.would_block:
            if self._connection.payload_left:
                left -= self._move(view[:left])
                continue
            frames += 1
            event = self._next_event(view)
            if event is not None and not (isinstance(event, Payload) and event.kind is Kind.DATA):
                return event
            self.is_trickle = frames >= _MOST_FRAMES and self.budget - left < _LEAST_BYTES
        self.used_s = thread_time() - began
        return None

    def _next_event(self, view: memoryview) -> Event | None:
        """Return the next event, reading no more from the socket than its frame."""
        event = self._connection.next_event()
        if event is not None:
            return event
        count = self._receive_into(view[: min(self._connection.wanted, len(view))])
        if count is None:
            return None
        self._connection.receive_bytes(view[:count])
        return InputEnded(clean=False) if count == 0 else None

    def _move(self, view: memoryview) -> int:
        """Fill one block, then hash and write it; return its size."""
        connection = self._connection
        early = connection.take_payload(len(view))
        filled = len(early)
        view[:filled] = early
        while filled < len(view) and connection.payload_left and not self._stopped:
            count = self._receive_into(
                view[filled : filled + min(len(view) - filled, connection.payload_left)]
            )
            if count is None:
                break
            if count == 0:
                self._store(view[:filled])
                raise Closed(
                    f"{self._transport.peer} closed the connection in the middle of a file"
                )
            connection.payload_moved(count)
            filled += count
        self._store(view[:filled])
        return filled

    def _receive_into(self, view: memoryview) -> int | None:
        """Receive bytes as DirectTransport.receive_into, waiting briefly if necessary."""
        count = self._transport.receive_into(view)
        if count is None and self._linger(self._wait_readable):
            count = self._transport.receive_into(view)
        self.would_block = count is None
        return count

    def _wait_readable(self, timeout_s: float) -> bool:
        return self._transport.wait_readable_now(timeout_s, self._connection.payload_left or 1)

    def _store(self, block: memoryview) -> None:
        if block:
            self._sink.write_blocking(block)
            self._feed(block)
            self._moved += len(block)


class FileToSocket(CopyJob):
    """File -> socket, one data frame after the other.

    Content that must be read anyway, to hash or encrypt it, is sent from memory: that is cheaper
    than sendfile plus a second read. The same holds for a peer on this machine, which then finds it
    in the cache. All other content uses sendfile.
    """

    def __init__(
        self,
        transport: DirectTransport,
        source: FileSource,
        feed: FeedAt | None,
        block_bytes: int = _COPIED,
    ) -> None:
        super().__init__(transport)
        self._block_bytes = min(_COPIED, block_bytes)
        self._source = source
        self._feed = feed
        self._copies = transport.encrypted or transport.is_local or feed is not None
        self._header = self._block = self._buffer = memoryview(b"")
        self._offset = 0
        self._left = 0
        self.is_short = False
        self.failure: FtransferError | None = None

    def begin_frame(self, header: bytes, offset: int, count: int) -> None:
        """Prepare a frame of `count` bytes of the file."""
        self._header = memoryview(header)
        self._offset = offset
        self._left = count

    def run(self) -> bool:
        """Move bytes until the frame is complete or the socket would block.

        Return whether the frame is complete.
        """
        self._begin()
        while (self._header or self._left) and not self._stopped:
            sent = (
                self._send_header()
                if self._header
                else self._send_copied()
                if self._copies
                else self._send_direct()
            )
            if sent is None and not self._linger(self._transport.wait_writable_now):
                return False
        return not self._left

    def _send_header(self) -> int | None:
        sent = self._transport.send([self._header], more=True)
        if sent is not None:
            self._header = self._header[sent:]
        return sent

    def _send_direct(self) -> int | None:
        try:
            sent = self._transport.send_from_file(self._source.fileno(), self._offset, self._left)
        except OSError:
            # A file system without sendfile, or a failing disk; the source's own read will give the
            # better error.
            self._copies = True
            return 0
        if sent == 0:
            self.is_short = self._copies = True
        self._offset += sent or 0
        self._count(sent or 0)
        return sent

    def _send_copied(self) -> int | None:
        if not self._block:
            self._block = self._next_block()
        sent = self._transport.send([self._block])
        if sent is not None:
            self._block = self._block[sent:]
            self._count(sent)
        return sent

    def _count(self, sent: int) -> None:
        self._left -= sent
        self._moved += sent

    def _next_block(self) -> memoryview:
        if len(self._buffer) < min(self._left, self._block_bytes):
            self._buffer = memoryview(bytearray(min(self._left, self._block_bytes)))
        block, count = self._buffer[: self._left], 0
        if not self.is_short:
            try:
                count = self._source.read_blocking(self._offset, block)
            except FtransferError as error:
                self.failure = error
        if count == 0:
            self.is_short = True
            # Zeros keep the stream in step until the error can be sent
            return memoryview(bytes(min(self._left, self._block_bytes)))
        if self._feed is not None:
            self._feed(self._offset, block[:count])
        self._offset += count
        return block[:count]
