"""The events that wait for one listener, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ftransfer.errors import Closed, LocalProtocolError
from ftransfer.limits import Limits
from ftransfer.protocol.live import Rescan
from ftransfer.service.outbox import EncodedEvents, Outbox, SharedEvent
from tests.support.members import FakeSink, Lines

LIMITS = Limits(max_outbox_bytes=100)


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink(Lines())


@pytest.fixture
async def outbox(sink: FakeSink) -> AsyncIterator[Outbox]:
    outbox = Outbox(sink, LIMITS)
    yield outbox
    await outbox.close()


async def test_events_are_sent_in_order_after_wake(sink: FakeSink, outbox: Outbox) -> None:
    for piece in (b"a", b"b", b"c"):
        outbox.put(EncodedEvents(piece))
    await asyncio.sleep(0)
    assert sink.pieces.empty()
    outbox.wake()
    assert [await sink.pieces.get() for _ in range(3)] == [b"a", b"b", b"c"]


async def test_what_finds_no_room_is_counted_in_its_place(sink: FakeSink, outbox: Outbox) -> None:
    sink.is_read.clear()
    outbox.put(EncodedEvents(b"first"))
    outbox.wake()
    await asyncio.sleep(0)  # it is being sent, and holds no room
    outbox.put(EncodedEvents(b"x" * 90, 3))
    outbox.put(EncodedEvents(b"y" * 11, 4))
    outbox.put(EncodedEvents(b"z"))  # there is room, but the gap must stay where it is
    assert outbox.missed == 5
    sink.is_read.set()
    assert await sink.pieces.get() == b"first"
    assert await sink.pieces.get() == b"x" * 90
    assert await sink.next() == {"event": "missed", "count": 5}
    outbox.put(EncodedEvents(b"later"))
    outbox.wake()
    assert await sink.pieces.get() == b"later"


async def test_one_send_takes_a_bounded_batch() -> None:
    batches: list[int] = []

    class Counting(FakeSink):
        async def send(self, pieces: object) -> None:
            assert isinstance(pieces, list)
            batches.append(len(pieces))
            await super().send(pieces)

    sink = Counting(Lines())
    outbox = Outbox(sink, Limits(max_outbox_bytes=1 << 20))
    for _ in range(100):
        outbox.put(EncodedEvents(b"x"))
    for _ in range(3):
        outbox.put(EncodedEvents(b"x" * 40_000))
    outbox.wake()
    for _ in range(103):
        await sink.pieces.get()
    await outbox.close()
    assert batches == [64, 37, 1, 1]


async def test_a_heartbeat_is_sent_if_nothing_else_is(sink: FakeSink) -> None:
    outbox = Outbox(sink, Limits(heartbeat_s=0.0))
    outbox.send_heartbeat_if_due()
    assert await sink.pieces.get() == Lines.heartbeat
    await outbox.close()
    outbox = Outbox(sink, Limits(heartbeat_s=3600.0))
    outbox.send_heartbeat_if_due()
    outbox.put(EncodedEvents(b"a"))
    outbox.wake()
    assert await sink.pieces.get() == b"a"
    await outbox.close()


async def test_a_broken_connection_is_cut(sink: FakeSink, outbox: Outbox) -> None:
    sink.failure = Closed("lost")
    outbox.put(EncodedEvents(b"a"))
    outbox.wake()
    await sink.was_aborted.wait()


async def test_a_session_that_is_over_is_left_alone(sink: FakeSink, outbox: Outbox) -> None:
    sink.failure = LocalProtocolError("over")
    outbox.put(EncodedEvents(b"a"))
    outbox.wake()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not sink.was_aborted.is_set()
    await outbox.close()


def test_an_event_is_encoded_when_it_is_first_taken() -> None:
    one, other = Lines(), Lines()
    shared = SharedEvent(Rescan("", "why"))
    assert not one.encoded
    first = shared.encoded(one)
    assert shared.encoded(one) is first and len(one.encoded) == 1 and not other.encoded
    shared.encoded(other)
    assert len(other.encoded) == 1
