"""What waits to be told to one listening session, and the task that tells it.

Bounded in bytes. A session that does not read holds up neither who speaks nor who else listens:
what finds no room is counted, and the count is said, in its place, when there is room again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from ftransfer.errors import ChannelError, FtransferError
from ftransfer.limits import Limits
from ftransfer.protocol.live import Missed, event_to_notice
from ftransfer.protocol.replies import HEARTBEAT, Notice, encode_notice
from ftransfer.system.threads import stop_task
from ftransfer.transport.channel import Channel

# As many frames as one sendmsg takes, and not much more of content than a socket takes at once.
_BATCH_FRAMES = 64
_BATCH_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class EncodedEvents:
    """Event frames that are told together: encoded, `count` of them."""

    frames: bytes
    count: int = 1


_HEARTBEAT = EncodedEvents(encode_notice(Notice(HEARTBEAT, {})))


class Outbox:
    """The events for one session. Bundles are shared: an event is encoded once, whoever listens."""

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self.missed = 0  # events dropped since the last one that found room
        self._channel = channel
        self._limits = limits
        self._waiting: deque[bytes] = deque()
        self._held_bytes = 0
        self._filled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._is_sending = False
        self._task = self._loop.create_task(self._run())

    def put(self, bundle: EncodedEvents) -> None:
        """Take events in, or count them as missed. They are sent after the next `wake`."""
        # While any have been missed nothing is taken in, so that the gap stays where it is until it
        # has been told.
        if self.missed or self._held_bytes + len(bundle.frames) > self._limits.max_outbox_bytes:
            self.missed += bundle.count
            return
        self._waiting.append(bundle.frames)
        self._held_bytes += len(bundle.frames)

    def wake(self) -> None:
        """Have what has been put sent."""
        if self._waiting or self.missed:
            self._filled.set()

    async def close(self) -> None:
        """Stop sending. The session is at its end: a frame may be left half-sent."""
        await stop_task(self._task)

    def beat(self) -> None:
        """Say that we live, if nothing has been sent for limits.heartbeat_s. Called now and
        then.
        """
        if (
            not self._waiting
            and not self._is_sending
            and self._loop.time() - self._sent_at >= self._limits.heartbeat_s
        ):
            self.put(_HEARTBEAT)
            self.wake()

    async def _run(self) -> None:
        try:
            while True:
                frames = self._take()
                if not frames:
                    # Without a timeout, which would cost more than the wait: the heartbeat is the
                    # hub's to remember.
                    self._filled.clear()
                    await self._filled.wait()
                    continue
                self._is_sending = True
                await self._channel.send_notices(frames)
                self._is_sending = False
                self._sent_at = self._loop.time()
        except ChannelError:
            # Wakes the session, which may have been waiting for its peer's next line
            self._channel.abort()
        except FtransferError:
            return  # the session has said its last word

    def _take(self) -> list[bytes]:
        """Give the next frames to send; when the last that had room are among them, with the count
        of those that had none.
        """
        frames: list[bytes] = []
        size = 0
        while self._waiting and len(frames) < _BATCH_FRAMES and size < _BATCH_BYTES:
            frames.append(self._waiting.popleft())
            size += len(frames[-1])
        self._held_bytes -= size
        if self.missed and not self._waiting:
            frames.append(encode_notice(event_to_notice(Missed(self.missed))))
            self.missed = 0
        return frames
