"""Batches on the wire: names are answered in order, and what is out of turn is refused at once."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import RawPeer, Service, frame, serve

LARGE = 5 << 20


@pytest.fixture(params=[True, False], ids=["sockets", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        for name in ("a", "b", "c"):
            (service.root / name).write_bytes(name.encode())
        for name in ("large", "larger"):
            (service.root / name).write_bytes(bytes(LARGE))
        (service.root / "folder").mkdir()
        yield service


async def heard_names(peer: RawPeer) -> tuple[list[str], Any]:
    """Return the names of all items in order of arrival, and the reply."""
    names: list[str] = []
    async with asyncio.timeout(30):
        while True:
            kind, payload = await peer.frame()
            if kind in (b"R", b"X"):
                return names, json.loads(payload)
            if kind == b"P":
                (length,) = struct.unpack(">I", payload[:4])
                names += json.loads(payload[36 : 36 + length])["name"]
            elif kind == b"O":
                names += [item["name"] for item in json.loads(payload)]


@pytest.mark.parametrize(
    "asked",
    [
        [["none", "large", "a", "../x", "b", "none/x"]],
        [["a", "b", "c"], ["../x"], ["large", "a"]],
        [["../x", "../y", "a", "larger", "large", "folder", "a", "a"]],
        [[], ["a"], []],
    ],
)
async def test_names_are_answered_in_order(service: Service, asked: list[list[str]]) -> None:
    async with service.peer() as peer:
        await peer.send(
            b"mget\n"
            + b"".join(frame(b"L", json.dumps(names).encode()) for names in asked)
            + frame(b"F")
        )
        names, reply = await heard_names(peer)
        assert names == [name for some in asked for name in some]
        assert reply["sent"] == sum(name in ("a", "b", "c", "folder") for name in names)


@pytest.mark.parametrize("count", [1, 4, 5, 50])
@pytest.mark.parametrize("names", [b'["x"]', b"[]"])
async def test_names_of_a_recursive_mget_are_out_of_turn(
    service: Service, count: int, names: bytes
) -> None:
    async with service.peer() as peer:
        await peer.send(b'mget "." {"recursive":true}\n' + frame(b"L", names) * count + frame(b"F"))
        _, reply = await heard_names(peer)
        assert reply["code"] == "protocol"
        assert await peer.is_at_end()
    await service.all_gone()


async def test_recursive_mget_names_all_itself(service: Service) -> None:
    async with service.peer() as peer:
        await peer.send(b'mget "." {"recursive":true}\n' + frame(b"F"))
        names, reply = await heard_names(peer)
        assert (
            sorted(names) == ["a", "b", "c", "folder", "large", "larger"] and reply["failed"] == 0
        )
