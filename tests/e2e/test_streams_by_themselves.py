"""More connections are opened for a long path, never because the server itself is slow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftransfer.client.client import connect
from ftransfer.client.transfers.stream_count import LARGE_BYTES
from ftransfer.transport import tcp_info as liveness
from tests.support.programs import start_server
from tests.support.service import raw_peer, serve


async def sessions_so_far(address: tuple[str, int]) -> int:
    """Return the number of connections before this one."""
    async with raw_peer(*address) as peer:
        _, hello = await peer.json()
        return int(hello["session"]) - 1


@pytest.mark.parametrize("size", [20_000_000])
async def test_server_that_bounds_its_rate_is_sent_a_file_over_one_connection(
    tmp_path: Path, size: int
) -> None:
    assert size >= LARGE_BYTES
    (tmp_path / "share").mkdir()
    (tmp_path / "big").write_bytes(os.urandom(size))
    async with start_server(tmp_path / "share", "--rate", "20M") as server:
        address = server.addresses[0]
        async with connect(*address) as client:
            # By the second time the kernel has seen how long the server lets data wait
            for _ in range(2):
                await client.put(tmp_path / "big")
            await client.get("big", tmp_path / "copy")
        assert await sessions_so_far(address) == 1


async def test_path_is_measured_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big").write_bytes(bytes(LARGE_BYTES))
    async with serve(tmp_path) as service, service.client() as client:
        # As under load: what the kernel says later must not count.
        monkeypatch.setattr(liveness, "round_trip_s", lambda sock: 0.2)
        monkeypatch.setattr(liveness, "least_round_trip_s", lambda sock: 0.2)
        await client.put(tmp_path / "big")
        await client.get("big", service.local)
        assert await sessions_so_far(service.address) == 1


async def test_long_path_is_used_over_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "least_round_trip_s", lambda sock: 0.2)
    (tmp_path / "big").write_bytes(bytes(LARGE_BYTES))
    async with serve(tmp_path) as service, service.client() as client:
        await client.put(tmp_path / "big")
        assert await sessions_so_far(service.address) > 2


def test_shortest_time_is_that_of_the_path() -> None:
    class Kernel:
        """A socket whose smoothed time has grown."""

        family = 2

        def __init__(self, least_us: int) -> None:
            self._least_us = least_us

        def setsockopt(self, level: int, option: int, value: int, /) -> None: ...

        def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
            info = bytearray(152)
            info[68:72] = (250_000).to_bytes(4, "little")
            info[148:152] = self._least_us.to_bytes(4, "little")
            return bytes(info[:size])

    assert liveness.round_trip_s(Kernel(40)) == 0.25
    assert liveness.least_round_trip_s(Kernel(40)) == 0.00004
    assert liveness.least_round_trip_s(Kernel(0xFFFFFFFF)) == 0.25  # not measured
