"""A session leaves nothing in the server's memory for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftransfer.limits import Limits
from tests.support.certificates import own_tls
from tests.support.service import raw_peer, serve

HURRIED = Limits(idle_s=0.3, line_s=0.3, handshake_s=0.3, close_s=0.3)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only what nothing refers to any more is freed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "said",
    [b"", b"a", b"close\n", b"put a\nE\0\0\0\0", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"],
    ids=["silence", "half a line", "close", "nonsense", "half a handshake"],
)
async def test_a_session_that_has_ended_is_freed_at_once(
    tmp_path: Path, said: bytes, encrypted: bool
) -> None:
    tls = own_tls(tmp_path) if encrypted else None
    async with serve(tmp_path, limits=HURRIED, tls=tls) as service:
        async with raw_peer(*service.address) as peer:
            await peer.send(said)
            while not service.server.sessions:  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0)
            (session,) = service.server.sessions
            left = [
                weakref.ref(part)
                for part in (
                    session,
                    session.channel,
                    session.channel.transport,
                    session.session,
                    session.session.participant,
                )
            ]
            del session
            while await peer.reader.read(1000):
                pass
        await service.all_gone()
        for _ in range(3):  # what is called soon has been called
            await asyncio.sleep(0)
        assert [type(part()).__name__ for part in left if part() is not None] == []
