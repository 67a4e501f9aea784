"""Heartbeats end with what they are for: between two frames, or at once if nobody waits any more."""

from __future__ import annotations

import asyncio

import pytest

from ftransfer.channel import Channel
from ftransfer.errors import NotFound
from ftransfer.limits import Limits
from ftransfer.protocol.connection import Role
from ftransfer.protocol.replies import Hello
from tests.support.links import HeldLink

LIMITS = Limits(heartbeat_s=0.001)
HEARTBEAT = b'V\x00\x00\x00\x15{"event":"heartbeat"}'


async def server_channel() -> tuple[Channel, HeldLink]:
    link = HeldLink()
    channel = Channel(link, Role.SERVER, LIMITS)
    channel.connection.send_hello(Hello(1, "test", 1))
    return channel, link


async def test_heartbeat_that_is_under_way_is_sent_whole_before_the_block_ends() -> None:
    channel, link = await server_channel()

    async def work() -> None:
        async with channel.heartbeats():
            await link.begun.wait()

    working = asyncio.create_task(work())
    await link.begun.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not working.done() and link.written == b""
    link.open.set()
    await working
    assert link.written == HEARTBEAT


async def test_the_same_where_the_block_fails() -> None:
    channel, link = await server_channel()

    async def work() -> None:
        async with channel.heartbeats():
            await link.begun.wait()
            raise NotFound("a: is gone")

    working = asyncio.create_task(work())
    await link.begun.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not working.done()
    link.open.set()
    with pytest.raises(NotFound):
        await working
    assert link.written == HEARTBEAT


async def test_cancelled_block_does_not_wait_for_a_peer_that_takes_nothing() -> None:
    channel, link = await server_channel()

    async def work() -> None:
        async with channel.heartbeats():
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await link.begun.wait()
    working.cancel()
    await asyncio.wait([working], timeout=5)
    assert working.cancelled() and link.written == b""
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_while_it_waits_for_the_last_heartbeat_it_is_cancelled() -> None:
    channel, link = await server_channel()

    async def work() -> None:
        async with channel.heartbeats():
            await link.begun.wait()

    working = asyncio.create_task(work())
    await link.begun.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    working.cancel()
    await asyncio.wait([working], timeout=5)
    assert working.cancelled() and link.written == b""
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_heartbeat_follows_the_block() -> None:
    channel, link = await server_channel()
    link.open.set()
    async with channel.heartbeats():
        await link.begun.wait()
    assert link.written == HEARTBEAT
    assert asyncio.all_tasks() == {asyncio.current_task()}
