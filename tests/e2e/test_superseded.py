"""A put of the same source supersedes an earlier session, which learns it at once.

Also if its client sends nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.digest import digest_of
from tests.support.service import RawPeer, Service, end_frame, frame, serve

CONTENT = b"0123456789"
HALF = frame(b"D", CONTENT)[:9]  # a frame of which not all has come


@pytest.fixture(params=[True, False], ids=["sockets", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        yield service


async def begin(peer: RawPeer, **options: Any) -> Any:
    """Begin a put that waits; return its meta."""
    line = {"size": len(CONTENT), "source": "s", "wait": True, **options}
    await peer.send(f'put "a" {json.dumps(line)}\n'.encode())
    kind, meta = await peer.json()
    assert kind == b"M"
    return meta


@pytest.mark.parametrize("sent", [b"", frame(b"D"), frame(b"D", CONTENT[:4]), HALF], ids=range(4))
@pytest.mark.parametrize("parts", [False, True])
async def test_earlier_session_is_told_at_once_and_goes_on(
    service: Service, sent: bytes, parts: bool
) -> None:
    if parts and sent not in (b"", frame(b"D")):
        pytest.skip("no content comes in the session that announces parts")
    async with service.peer() as old, service.peer() as new:
        await begin(old, parts=parts)
        await old.send(sent)
        meta = await begin(new)
        async with asyncio.timeout(30):
            assert await old.error() == "superseded"
        await new.send(
            frame(b"D", CONTENT[meta["offset"] :]) + end_frame(len(CONTENT), digest_of(CONTENT))
        )
        assert (await new.json())[0] == b"R"
        assert (service.root / "a").read_bytes() == CONTENT
        rest = frame(b"D", CONTENT)[len(HALF) :] if sent == HALF else b""
        await old.send(rest + frame(b"X", b'{"code":"aborted","message":""}') + b"stat a\n")
        kind, value = await old.json()
        assert kind == b"R" and value["size"] == len(CONTENT)


async def test_other_sources_and_names_are_left_alone(service: Service) -> None:
    async with service.peer() as one, service.peer() as two, service.peer() as three:
        await begin(one)
        await begin(two, source="t")
        await three.send(b'put "b" {"size":10,"source":"s","wait":true}\n')
        assert (await three.json())[0] == b"M"
        await one.send(frame(b"D", CONTENT) + end_frame(len(CONTENT), digest_of(CONTENT)))
        # Two sources of one name: the store keeps one of them
        assert (await one.json())[0] in (
            b"R",
            b"X",
        )


async def test_session_that_was_taken_over_stops_with_the_server(service: Service) -> None:
    async with service.peer() as old, service.peer() as new:
        await begin(old)
        await begin(new)
        assert await old.error() == "superseded"
        async with asyncio.timeout(30):
            await service.server.stop(grace_s=0)
