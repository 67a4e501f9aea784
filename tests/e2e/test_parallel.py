"""One file over several connections: the same bytes, the same resume, the same verification."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.transfers.segments import SEGMENT_BYTES
from ftransfer.client.transfers.stream_count import (
    LARGE_BYTES,
    LONG_PATH_S,
    MAX_STREAMS,
    streams_for,
)
from ftransfer.digest import digest_of
from ftransfer.errors import NotFound, SourceChanged
from ftransfer.limits import Limits
from ftransfer.transfer.records import Progress
from tests.support.service import Service, serve


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        yield service


@pytest.mark.parametrize("size", [0, 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 7 * SEGMENT_BYTES + 5])
@pytest.mark.parametrize("streams", [2, 5])
async def test_any_size_arrives(service: Service, size: int, streams: int) -> None:
    data = os.urandom(size)
    (service.root / "a").write_bytes(data)
    async with service.client() as client:
        receipt = await client.get("a", service.local, streams=streams)
    assert (service.local / "a").read_bytes() == data
    assert (receipt.digest, receipt.size) == (digest_of(data), size)
    await service.all_gone()


async def test_more_than_fits_into_memory_at_once(tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        (service.root / "a").touch()
        os.truncate(service.root / "a", 64 * SEGMENT_BYTES)
        async with service.client() as client:
            receipt = await client.get("a", service.local, streams=MAX_STREAMS + 1)
        assert receipt.size == (service.local / "a").stat().st_size == 64 * SEGMENT_BYTES


async def test_progress_is_in_order_and_whole(service: Service) -> None:
    (service.root / "a").write_bytes(bytes(5 * SEGMENT_BYTES))
    told: list[Progress] = []
    async with service.client() as client:
        await client.get("a", service.local, streams=3, progress=told.append)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert told[-1].done == told[-1].total == 5 * SEGMENT_BYTES


async def test_cut_attempt_is_gone_on_with(service: Service) -> None:
    data = os.urandom(6 * SEGMENT_BYTES)
    (service.root / "a").write_bytes(data)

    class Enough(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.done >= 2 * SEGMENT_BYTES:
            raise Enough

    async with service.client(keep_cancelled=True) as client:
        with pytest.raises(Enough):
            await client.get("a", service.local, streams=3, progress=stop)
        receipt = await client.get("a", service.local, streams=3)
    assert receipt.kept >= 2 * SEGMENT_BYTES
    assert (service.local / "a").read_bytes() == data


async def test_file_that_changes_meanwhile_is_not_spliced(service: Service) -> None:
    path = service.root / "a"
    path.touch()
    os.truncate(path, 80 * SEGMENT_BYTES)

    def change(progress: Progress) -> None:
        if progress.done:
            path.write_bytes(b"other")

    async with service.client() as client:
        with pytest.raises(SourceChanged):
            await client.get("a", service.local, streams=3, progress=change)
    assert not (service.local / "a").exists()


async def test_file_that_is_not_there(service: Service) -> None:
    async with service.client() as client:
        with pytest.raises(NotFound):
            await client.get("nothing", service.local, streams=4)


async def test_server_without_room_for_more_serves_with_what_it_gives(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=Limits(max_sessions=3)) as service:
        data = os.urandom(9 * SEGMENT_BYTES)
        (service.root / "a").write_bytes(data)
        async with service.client() as client:
            await client.get("a", service.local, streams=8)
        assert (service.local / "a").read_bytes() == data
        await service.all_gone()
    async with serve(tmp_path, limits=Limits(max_sessions=1)) as service:
        async with service.client() as client:
            await client.get("a", service.local / "b", streams=8)
            assert (service.local / "b").read_bytes() == data


def test_number_of_connections() -> None:
    assert streams_for(0.0, 10 * LARGE_BYTES, None) == 1
    assert streams_for(LONG_PATH_S, LARGE_BYTES - 1, None) == 1
    assert streams_for(LONG_PATH_S, LARGE_BYTES, None) > 1
    assert streams_for(0.0, 1, 3) == 3
    assert streams_for(0.0, 1, 1000) == MAX_STREAMS
