"""The client's end of a native session, as the service sees it: its address and event sink."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ftransfer.protocol.live import LiveEvent, event_to_notice
from ftransfer.protocol.replies import HEARTBEAT, Notice, encode_notice
from ftransfer.service.outbox import EventFormat, EventSink
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


class ChannelEndpoint:
    """See service.session.Endpoint.

    It does not refer to the session, which is therefore freed as soon as it ends.
    """

    __slots__ = ("_channel", "task")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.task: asyncio.Task[None] | None = None  # that serves the session

    @property
    def peer(self) -> str:
        return self._channel.transport.peer

    @property
    def peer_host(self) -> str:
        return self._channel.transport.peer_host

    @property
    def is_local(self) -> bool:
        return self._channel.transport.is_local

    def open_event_sink(self) -> EventSink:
        return ChannelSink(self._channel)

    def unanswered_s(self) -> float:
        return self._channel.transport.unanswered_s()

    def abort(self) -> None:
        self._channel.abort()

    def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
