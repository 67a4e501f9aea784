"""Events as frames of the native protocol: what a hub's outbox sends to a listening session."""

from __future__ import annotations

from collections.abc import Sequence

from ftransfer.protocol.live import LiveEvent, event_to_notice
from ftransfer.protocol.replies import HEARTBEAT, Notice, encode_notice
from ftransfer.service.outbox import EventFormat
from ftransfer.transport.channel import Channel


class EventFrames:
    """See EventFormat."""

    heartbeat = encode_notice(Notice(HEARTBEAT, {}))

    def encode(self, event: LiveEvent) -> bytes:
        return encode_notice(event_to_notice(event))


_FRAMES = EventFrames()


class ChannelSink:
    """See EventSink: event frames between the replies on one channel."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def format(self) -> EventFormat:
        return _FRAMES

    async def send(self, pieces: Sequence[bytes]) -> None:
        await self._channel.send_notices(pieces)

    def abort(self) -> None:
        self._channel.abort()
