"""Work of unbounded length: what it costs the server, and that it ends with its session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.limits import Limits
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.threads import MAX_LONG_EACH
from ftransfer.system.turns import Turn
from tests.support.meter import metered
from tests.support.service import RawPeer, Service, serve

TURN_S = 0.05  # of CPU time on the loop
LARGE = 32 << 20


class OneByOne:
    """A step that has time for one thing."""

    def __init__(self) -> None:
        self._asked = 0

    @property
    def is_over(self) -> bool:
        self._asked += 1
        return self._asked > 1


async def test_removal_ends_with_the_session_that_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftransfer.storage.local.threads.TimeSlice", OneByOne)
    again = Turn.again

    async def slow_again(turn: Turn, size: int) -> None:
        await asyncio.sleep(0.01)  # as a slow disk would take
        await again(turn, size)

    monkeypatch.setattr(Turn, "again", slow_again)
    top = tmp_path / "share/top"
    top.mkdir(parents=True)
    for number in range(2000):
        (top / f"{number}").touch()
    async with serve(tmp_path, limits=Limits(heartbeat_s=0.05)) as service:
        async with service.peer() as peer:
            await peer.send(b'rm "top" {"recursive": true}\n')
            assert (await peer.frame())[0] == b"V"  # a heartbeat: it has begun
        await service.all_gone()
        assert 0 < len(os.listdir(top)) < 2000


@contextlib.asynccontextmanager
async def peers_of(service: Service, count: int) -> AsyncIterator[list[RawPeer]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(service.peer()) for _ in range(count)]


async def commands(peer: RawPeer, line: bytes) -> tuple[bytes, object]:
    """Send a line and return the last frame of the answer."""
    await peer.send(line)
    while (kind := await peer.frame())[0] not in (b"R", b"X", b""):
        pass
    return kind[0], json.loads(kind[1] or b"null")


@pytest.mark.parametrize(
    "verb",
    ["checksum large", 'put "large" {"size": 1, "wait": true, "if_match": "%s"}' % ("0" * 64)],
)
async def test_digests_take_no_thread_of_the_store_and_two_others(
    tmp_path: Path, verb: str
) -> None:
    async with metered(tmp_path) as (service, meter):
        (service.root / "large").touch()
        os.truncate(service.root / "large", LARGE)
        (service.root / "small").write_bytes(b"x")
        async with peers_of(service, 20) as (honest, *others):
            meter.reset()
            asked = [asyncio.create_task(commands(other, f"{verb}\n".encode())) for other in others]
            for _ in range(20):
                kind, _ = await commands(honest, b"stat small\n")
                assert kind == b"R"
            assert {kind for kind, _ in await asyncio.gather(*asked)} == {
                b"R" if verb.startswith("checksum") else b"X"
            }
        assert meter.most_threads["ftransfer-move"] <= Limits().max_checksums
        assert meter.longest_s < TURN_S, meter.longest


@pytest.mark.parametrize(("verb", "options"), [("rm", {}), ("dir", {}), ("dir", {"spans": True})])
async def test_walks_of_one_owner_take_few_threads(
    tmp_path: Path, verb: str, options: dict[str, bool]
) -> None:
    async with metered(tmp_path) as (service, meter):
        for number in range(20):
            for folder in range(20):
                (service.root / f"{number}/{folder}/deep/er").mkdir(parents=True)
        async with peers_of(service, 20) as peers:
            meter.reset()
            words = json.dumps({"recursive": True, **options})
            lines = [f'{verb} "{number}" {words}\n'.encode() for number in range(20)]
            answers = await asyncio.gather(
                *(commands(peer, line) for peer, line in zip(peers, lines, strict=True))
            )
        assert {kind for kind, _ in answers} == {b"R"}
        store = service.server.service.share.store
        assert isinstance(store, LocalStore)
        assert store._jobs.turns.most == MAX_LONG_EACH
        assert meter.longest_s < TURN_S, meter.longest
