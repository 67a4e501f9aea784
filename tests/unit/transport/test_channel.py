"""Heartbeats end with their command, between two frames or at once if nobody waits.

Queued frames go out with what follows.
"""

from __future__ import annotations

import asyncio

import pytest

from ftransfer.errors import NotFound
from ftransfer.limits import Limits
from ftransfer.protocol.connection import Role
from ftransfer.protocol.replies import Hello
from ftransfer.transport.channel import Channel
from tests.support.transports import HeldTransport

LIMITS = Limits(heartbeat_s=0.001)
HEARTBEAT = b'V\x00\x00\x00\x15{"event":"heartbeat"}'


async def server_channel() -> tuple[Channel, HeldTransport]:
    transport = HeldTransport()
    channel = Channel(transport, Role.SERVER, LIMITS)
    channel.connection.send_hello(Hello(1, "test", 1))
    return channel, transport


class Block:
    """A block with heartbeats that has ended, while one of them is under way."""

    def __init__(
        self, channel: Channel, transport: HeldTransport, error: Exception | None = None
    ) -> None:
        self._channel, self._transport, self._error = channel, transport, error
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._channel.heartbeats():
            await self._transport.begun.wait()
            if self._error is not None:
                raise self._error

    async def is_waiting(self) -> bool:
        await self._transport.begun.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        return not self.task.done() and not self._transport.written


@pytest.mark.parametrize("error", [None, NotFound("a: is gone")])
async def test_heartbeat_that_is_under_way_is_sent_whole_before_the_block_ends(
    error: NotFound | None,
) -> None:
    channel, transport = await server_channel()
    block = Block(channel, transport, error)
    assert await block.is_waiting()
    transport.open.set()
    await asyncio.wait([block.task])
    assert block.task.exception() is error
    assert transport.written == HEARTBEAT


async def test_what_is_held_goes_out_in_one_write_with_what_is_sent_next() -> None:
    channel, transport = await server_channel()
    transport.open.set()
    await channel.queue_content(2, b"head", b"da")
    await channel.queue_content(0, b"end")
    assert not transport.begun.is_set()
    await channel.send(b"reply")
    assert transport.writes == [b"headdaendreply"]
    await channel.send(b"next")
    assert transport.writes == [b"headdaendreply", b"next"]


async def test_cancelled_block_does_not_wait_for_a_peer_that_takes_nothing() -> None:
    channel, transport = await server_channel()

    async def work() -> None:
        async with channel.heartbeats():
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await transport.begun.wait()
    working.cancel()
    await asyncio.wait([working], timeout=5)
    assert working.cancelled() and transport.written == b""
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_while_it_waits_for_the_last_heartbeat_it_is_cancelled() -> None:
    channel, transport = await server_channel()
    block = Block(channel, transport)
    assert await block.is_waiting()
    block.task.cancel()
    await asyncio.wait([block.task], timeout=5)
    assert block.task.cancelled() and transport.written == b""
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_heartbeat_follows_the_block() -> None:
    channel, transport = await server_channel()
    transport.open.set()
    async with channel.heartbeats():
        await transport.begun.wait()
    assert transport.written == HEARTBEAT
    assert asyncio.all_tasks() == {asyncio.current_task()}
