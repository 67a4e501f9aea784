"""The events that wait for one listening session, and the task that sends them.

Limited in bytes. A session that does not read delays neither senders nor other listeners: events
that do not fit are counted, and the count is sent in their place when there is space again. The
form of the events (frames, JSON) is the gateway's: each event is encoded once per form, however
many listen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ftransfer.errors import ChannelError, FtransferError
from ftransfer.limits import Limits
from ftransfer.protocol.live import LiveEvent, Missed
from ftransfer.system.threads import stop_task

# As many pieces as one sendmsg takes, and about as much content as a socket takes at once.
_BATCH_PIECES = 64
_BATCH_BYTES = 32 * 1024


class EventFormat(Protocol):
    """How a gateway encodes events. One object serves all listeners of a gateway."""

    @property
    def heartbeat(self) -> bytes:
        """Return what to send when there has been no event for a while."""

    def encode(self, event: LiveEvent) -> bytes:
        """Return an event as bytes that can follow another event."""


class EventSink(Protocol):
    """Where the events of one listener go. Its gateway creates it; only its outbox calls it."""

    @property
    def format(self) -> EventFormat: ...

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Send encoded events; wait while the listener does not read.

        Raises:
            ChannelError: The connection broke.
            FtransferError: The session is over; nothing was sent.
        """

    def abort(self) -> None:
        """Close the connection, so that the session notices that it broke."""


@dataclass(frozen=True, slots=True)
class EncodedEvents:
    """Events that are sent together: `count` of them, in one form."""

    data: bytes
    count: int = 1


class SharedEvent:
    """One event for several listeners, encoded when the first listener of each form takes it."""

    def __init__(self, event: LiveEvent) -> None:
        self._event = event
        self._encoded: dict[EventFormat, EncodedEvents] = {}

    def encoded(self, form: EventFormat) -> EncodedEvents:
        events = self._encoded.get(form)
        if events is None:
            events = self._encoded[form] = EncodedEvents(form.encode(self._event))
        return events


class Outbox:
    """The events for one session. What is put in is shared with other outboxes, never copied."""

    def __init__(self, sink: EventSink, limits: Limits) -> None:
        self.missed = 0  # events dropped since the last one that fitted
        self.format = sink.format
        self._sink = sink
        self._limits = limits
        self._waiting: deque[bytes] = deque()
        self._held_bytes = 0
        self._filled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._is_sending = False
        self._task = self._loop.create_task(self._run())

    def put(self, events: EncodedEvents) -> None:
        """Add events, or count them as missed. They are sent after the next `wake`."""
        # While events are missed nothing is added, so that the gap keeps its position until it has
        # been sent.
        if self.missed or self._held_bytes + len(events.data) > self._limits.max_outbox_bytes:
            self.missed += events.count
            return
        self._waiting.append(events.data)
        self._held_bytes += len(events.data)

    def wake(self) -> None:
        """Start sending what has been added."""
        if self._waiting or self.missed:
            self._filled.set()

    async def close(self) -> None:
        """Stop sending. The session is ending: an event may be half-sent."""
        await stop_task(self._task)

    def send_heartbeat_if_due(self) -> None:
        """Send a heartbeat if nothing has been sent for limits.heartbeat_s."""
        if (
            not self._waiting
            and not self._is_sending
            and self._loop.time() - self._sent_at >= self._limits.heartbeat_s
        ):
            self.put(EncodedEvents(self.format.heartbeat))
            self.wake()

    async def _run(self) -> None:
        try:
            while True:
                pieces = self._take()
                if not pieces:
                    # Without a timeout, which would cost more than the wait: the hub triggers the
                    # heartbeat.
                    self._filled.clear()
                    await self._filled.wait()
                    continue
                self._is_sending = True
                await self._sink.send(pieces)
                self._is_sending = False
                self._sent_at = self._loop.time()
        except ChannelError:
            # Wakes the session, which may be waiting for its peer's next line
            self._sink.abort()
        except FtransferError:
            return  # the session is over

    def _take(self) -> list[bytes]:
        """Remove and return the next pieces to send.

        The count of missed events follows the last piece that fitted.
        """
        pieces: list[bytes] = []
        size = 0
        while self._waiting and len(pieces) < _BATCH_PIECES and size < _BATCH_BYTES:
            pieces.append(self._waiting.popleft())
            size += len(pieces[-1])
        self._held_bytes -= size
        if self.missed and not self._waiting:
            pieces.append(self.format.encode(Missed(self.missed)))
            self.missed = 0
        return pieces
