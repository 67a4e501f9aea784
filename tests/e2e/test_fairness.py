"""A running server against slow, silent, greedy or faulty clients; and its audit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.auth.permissions import Allowance
from ftransfer.digest import digest_of
from ftransfer.errors import NotFound, QuotaFull
from ftransfer.gateways.native.listener import Server
from ftransfer.limits import Limits
from ftransfer.service.audit import Audit
from ftransfer.service.bandwidth import BandwidthLimits
from ftransfer.service.quota_limits import QuotaLimits
from ftransfer.service.share import Share
from ftransfer.storage.memory import MemoryStore
from tests.support.service import RawPeer, Service, frame, raw_peer, serve

DIRECT = pytest.mark.parametrize("direct", [True, False], ids=["sockets", "streams"])
IMPATIENT = Limits(stall_s=1.5, min_progress_bytes=1000, quiet_s=2.5, line_s=1.0, heartbeat_s=0.2)


async def trickle(peer: RawPeer, data: bytes, every_s: float) -> bytes:
    """Send the same bytes until the server reports an error or closes; return all that it sends."""
    said = asyncio.create_task(_listen(peer))
    while not said.done():
        with contextlib.suppress(ConnectionError):
            peer.writer.write(data)
            await peer.writer.drain()
        await asyncio.wait([said], timeout=every_s)
    return said.result()


async def _listen(peer: RawPeer) -> bytes:
    heard = b""
    with contextlib.suppress(ConnectionError):
        while b'"code"' not in heard and (more := await peer.reader.read(65_536)):
            heard += more
    return heard


@DIRECT
@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b'put "a" {"size":100000}\n' + frame(b"D", bytes(100_000))[:100],
        b"mput\n" + frame(b"P", bytes(100_000))[:100],
    ],
    ids=["line", "frame", "pack"],
)
async def test_peer_that_trickles_is_cut(tmp_path: Path, direct: bool, begin: bytes) -> None:
    async with serve(tmp_path, limits=IMPATIENT, direct=direct) as service:
        async with service.peer() as peer:
            await peer.send(begin)
            assert b"timed_out" in await trickle(peer, b"a", 0.02)
        await service.all_gone()


@DIRECT
@pytest.mark.parametrize(
    "beat", [frame(b"D"), frame(b"D", b"x")], ids=["heartbeats", "frames of a byte"]
)
async def test_peer_that_sends_hardly_more_than_heartbeats_is_cut_in_the_end(
    tmp_path: Path, direct: bool, beat: bytes
) -> None:
    async with serve(tmp_path, limits=IMPATIENT, direct=direct) as service:
        async with service.peer() as peer:
            await peer.send(b'put "a"\n')
            began = asyncio.get_running_loop().time()
            assert b"timed_out" in await trickle(peer, beat, 0.02)
            assert asyncio.get_running_loop().time() - began >= IMPATIENT.quiet_s
        assert not (service.root / "a").exists()


@DIRECT
async def test_slow_but_steady_peer_is_served(tmp_path: Path, direct: bool) -> None:
    data = os.urandom(40_000)
    async with serve(tmp_path, limits=IMPATIENT, direct=direct) as service, service.peer() as peer:
        await peer.send(b'put "a" {"size":40000}\n' + frame(b"D", data)[:5])
        for start in range(0, len(data), 2000):  # 2 s in all, in one frame
            await peer.send(data[start : start + 2000])
            await asyncio.sleep(0.1)  # what is tried is the passing of time itself
        await peer.send(
            frame(b"E", json.dumps({"size": len(data), "digest": digest_of(data)}).encode())
        )
        while (said := await peer.json())[0] == b"V":
            pass  # a heartbeat
        kind, receipt = said
        assert kind == b"R" and receipt["size"] == len(data)


async def test_silent_connections_do_not_lock_anybody_out(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=Limits(max_sessions=20, max_unauthenticated=8)) as service:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(60):
                await stack.enter_async_context(raw_peer(*service.address))
            async with service.client() as client:
                assert await client.dir() == []
            assert len(service.server.sessions) <= 20


async def test_one_source_cannot_take_all_places(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=Limits(max_source_sessions=2)) as service:
        async with service.peer(), service.peer(), raw_peer(*service.address) as third:
            kind, error = await third.json()
            assert (kind, error["code"]) == (b"X", "busy") and "your address" in error["message"]
            assert await third.is_at_end()
        await service.all_gone()
        async with service.peer():
            pass


async def test_source_that_breaks_the_protocol_again_and_again_is_refused_for_a_while(
    tmp_path: Path,
) -> None:
    async with serve(tmp_path) as service:
        for _ in range(1000):
            if service.server.service.limiter.penalties.left_s("127.0.0.1"):
                break
            async with service.peer() as peer:
                await peer.send(b"put a\n" + frame(b"Z"))
                assert await peer.error() == "protocol"
        async with raw_peer(*service.address) as peer:
            kind, error = await peer.json()
    assert (kind, error["code"]) == (b"X", "busy") and "try again in" in error["message"]


@DIRECT
@pytest.mark.parametrize(
    "bounds",
    [
        BandwidthLimits(all=2 << 20),
        BandwidthLimits(each_user=2 << 20),
        BandwidthLimits(each_session=2 << 20),
    ],
)
async def test_rate_bounds_gets_and_puts(
    tmp_path: Path, direct: bool, bounds: BandwidthLimits
) -> None:
    data = os.urandom(1 << 20)
    async with (
        serve(tmp_path, direct=direct, bandwidth=bounds) as service,
        service.client() as client,
    ):
        (service.local / "a").write_bytes(data)
        clock = asyncio.get_running_loop().time
        began = clock()
        await client.put(service.local / "a", "a")
        between = clock()
        await client.get("a", service.local / "b")
        ended = clock()
        assert (service.local / "b").read_bytes() == data
    # Half a second each, less what is saved up
    assert between - began > 0.35 and ended - between > 0.35


@DIRECT
@pytest.mark.parametrize(
    "bounds",
    [
        BandwidthLimits(all=2 << 20),
        BandwidthLimits(each_user=2 << 20),
        BandwidthLimits(each_session=2 << 20),
    ],
)
async def test_rate_bounds_trees_of_small_files(
    tmp_path: Path, direct: bool, bounds: BandwidthLimits
) -> None:
    async with (
        serve(tmp_path, direct=direct, bandwidth=bounds) as service,
        service.client() as client,
    ):
        (service.local / "a").mkdir()
        for number in range(64):
            (service.local / "a" / f"{number}").write_bytes(os.urandom(16 << 10))
        clock = asyncio.get_running_loop().time
        began = clock()
        await client.put_tree(service.local / "a", "a")
        between = clock()
        await client.get_tree("a", service.local / "b")
        ended = clock()
        assert sorted(path.name for path in (service.local / "b").iterdir()) == sorted(
            map(str, range(64))
        )
    # Half a second each, less what is saved up
    assert between - began > 0.35 and ended - between > 0.35


@pytest.mark.parametrize(
    "bounds", [BandwidthLimits(all=4 << 20), BandwidthLimits(each_user=4 << 20)]
)
async def test_rate_bounds_a_put_in_parts(tmp_path: Path, bounds: BandwidthLimits) -> None:
    async with serve(tmp_path, bandwidth=bounds) as service, service.client() as client:
        (service.local / "a").write_bytes(bytes(4 << 20))
        clock = asyncio.get_running_loop().time
        began = clock()
        await client.put(service.local / "a", "a", streams=3)
        assert clock() - began > 0.7


async def test_sessions_share_the_rate_fairly(tmp_path: Path) -> None:
    size = 1 << 20
    are_done: list[None] = []
    moved_of_the_others: list[int] = []
    async with serve(tmp_path, bandwidth=BandwidthLimits(all=4 << 20)) as service:
        (service.root / "a").write_bytes(bytes(size))
        ready = asyncio.Barrier(4)

        async def get(number: int) -> None:
            async with service.client() as client:
                await ready.wait()
                await client.get("a", service.local / str(number))
                # What the server has sent, since a client sees it late on a busy machine
                if not are_done:
                    moved_of_the_others.extend(
                        operation.moved
                        for native in service.server.sessions
                        for operation in native.session.operations
                    )
                are_done.append(None)

        await asyncio.gather(*(get(number) for number in range(4)))
    assert len(are_done) == 4
    assert all(moved > size // 3 for moved in moved_of_the_others)  # nobody was served first


async def test_put_above_the_quota_is_refused_at_once_and_the_session_goes_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share/old").write_bytes(bytes(900))
    async with (
        serve(tmp_path, quota_limits=QuotaLimits(all=Allowance(quota_bytes=1000))) as service,
        service.client() as client,
    ):
        (service.local / "a").write_bytes(bytes(101))
        with pytest.raises(QuotaFull, match="does not fit into the share's quota"):
            await client.put(service.local / "a", "a")
        (service.local / "b").write_bytes(bytes(100))
        await client.put(service.local / "b", "b")
        assert sorted(path.name for path in service.root.iterdir() if path.is_file()) == [
            "b",
            "old",
        ]


@contextlib.asynccontextmanager
async def recording(tmp_path: Path) -> AsyncIterator[tuple[Service, Audit]]:
    audit = Audit.open(str(tmp_path / "audit.log"), lambda: 0.0)
    try:
        async with serve(tmp_path, audit=audit) as service:
            yield service, audit
    finally:
        audit.close()


def records(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]


async def test_record_says_who_did_what_and_with_what_result(tmp_path: Path) -> None:
    name = 'a"}\n{"event":"forged"'
    async with recording(tmp_path) as (service, audit):
        (service.local / "a").write_bytes(b"hello")
        async with service.client() as client:
            await client.put(service.local / "a", name)
            await client.get(name, service.local / "b")
            with pytest.raises(NotFound):
                await client.get("none", service.local / "c")
        assert audit.flush(5)
    found = [
        (each["event"], each.get("name"), each.get("bytes"), each.get("digest"), each["result"])
        for each in records(tmp_path)
    ]
    digest = digest_of(b"hello")
    assert ("put", name, 5, digest, "ok") in found
    assert ("get", name, 5, digest, "ok") in found
    assert ("get", "none", 0, None, "not_found") in found
    assert all(
        each["session"] == 1 and each["peer"].startswith("127.0.0.1:") for each in records(tmp_path)
    )


async def test_limits_and_rates_can_be_changed_while_the_server_runs() -> None:
    store = MemoryStore()
    server = await Server.start(Share(store), port=0)
    try:
        server.service.set_limits(Limits(max_source_sessions=1))
        server.service.bandwidth.set_limits(BandwidthLimits(all=1000))
        async with (
            raw_peer(*server.addresses[0]) as first,
            raw_peer(*server.addresses[0]) as second,
        ):
            assert (await first.json())[0] == b"H"
            assert await second.error() == "busy"
            await first.send(b"help\n")
            assert (await first.json())[0] == b"R"
            assert [session.channel.progress.pace is not None for session in server.sessions] == [
                True
            ]
    finally:
        await server.stop(0)
        await store.close()
