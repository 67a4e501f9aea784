"""The table of bounds in docs/security.md: the worst cost of each verb for several sessions.

No wall clock: the longest turn on the event loop in CPU time, busy threads in each pool, bytes of
content held, bytes on disk.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftransfer.limits import DEFAULT_LIMITS
from ftransfer.system.threads import KEPT_BUFFERS
from tests.support.attacks import ATTACKS, under
from tests.support.meter import metered
from tests.support.service import RawPeer

LONGEST_S = 0.05
IO_THREADS, MOVERS, LOGINS = 16, 16, 2


@pytest.fixture(autouse=True)
def no_garbage() -> Iterator[None]:
    """What earlier tests have left is collected in no turn of these."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def honest_work(peer: RawPeer) -> None:
    """What must go on meanwhile: it ends, however much the others ask for."""
    for _ in range(5):
        await peer.send(b"stat .\n")
        assert (await _answer(peer))[0] == b"R"
        await peer.send(b"get small\n")
        assert (await _answer(peer))[0] == b"R"


async def _answer(peer: RawPeer) -> tuple[bytes, bytes]:
    while True:
        kind, payload = await peer.frame()
        if kind in (b"R", b"X", b""):
            return kind, payload


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "share"
    made.mkdir()
    (made / "small").write_bytes(bytes(100_000))
    yield made
    # Pytest cannot remove a tree that is too deep to recurse
    subprocess.run(["rm", "-rf", made], check=True)


@pytest.mark.parametrize("name", ATTACKS)
async def test_bound(tmp_path: Path, share: Path, name: str) -> None:
    attack = ATTACKS[name]
    await asyncio.to_thread(attack.prepare, share, attack.sessions, 1)
    options = await asyncio.to_thread(attack.options)
    free_before = _free_bytes(tmp_path)
    async with metered(tmp_path, **options) as (service, meter), service.peer() as honest:
        meter.reset()
        async with under(attack, service.peer, attack.sessions, 1) as times, asyncio.timeout(50):
            while (
                times() < attack.least
                or meter.turns < 200
                or not attack.reached(service.server.service.memory)
            ):
                await honest_work(honest)
            assert meter.longest_s < LONGEST_S, f"{meter.longest_s:.3f} s in {meter.longest}"
            assert meter.most_threads["ftransfer-io"] <= IO_THREADS
            assert meter.most_threads["ftransfer-move"] <= MOVERS
            assert meter.most_threads["ftransfer-login"] <= LOGINS
            memory = service.server.service.memory
            buffers = KEPT_BUFFERS * DEFAULT_LIMITS.max_chunk_bytes
            assert (
                memory.packs.most + memory.names.most + memory.blocks.most + buffers
                <= DEFAULT_LIMITS.max_content_bytes
            )
            if name == "announced sizes":
                assert free_before - _free_bytes(tmp_path) < 1 << 30
        if name == "many files, with a quota of files":
            assert (
                sum(len(files) + len(folders) for _, folders, files in os.walk(service.root)) <= 510
            )


def _free_bytes(folder: Path) -> int:
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize


async def test_idle_sessions_that_have_said_a_word_hold_no_content(tmp_path: Path) -> None:
    async with metered(tmp_path) as (service, meter):
        peers = [service.peer() for _ in range(100)]
        for peer in peers:
            await (await peer.__aenter__()).send(b"stat .\n")
        async with service.peer() as honest:
            await honest.send(b"stat .\n")
            assert (await honest.frame())[0] == b"R"
        assert service.server.service.memory.held == 0 and meter.longest_s < LONGEST_S
        for peer in peers:
            await peer.__aexit__(None, None, None)
