"""A crowd of connections that mean no good, and one honest client among them.

The short form shows that the honest client is served, that all others are gone after the time that the server has announced, and
that their memory comes back. The long form (`make soak`) has a thousand of each kind and measures what the honest client notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import statistics
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ftransfer.client.client import connect
from ftransfer.client.security import Security
from ftransfer.tls.identity import make_identity

PROJECT = Path(__file__).parents[2]
# The beginning of a TLS handshake: a record of 512 bytes is announced, and five of them come.
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"
MARGIN_S = 5.0  # on a busy machine


@dataclass
class Target:
    """The server, and how to reach it."""

    port: int
    pid: int
    share: Path
    local: Path
    security: Security | None

    def memory(self) -> int:
        """Give what the process holds, in KiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    async def get(self, name: str, as_name: str = "got") -> float:
        """Get a file; give the seconds that it took, the connection included."""
        loop = asyncio.get_running_loop()
        options = {} if self.security is None else {"security": self.security}
        began = loop.time()
        async with connect("127.0.0.1", self.port, **options) as client:  # type: ignore[arg-type]  # one type for all values
            await client.get(name, self.local / as_name)
        return loop.time() - began


@contextlib.asynccontextmanager
async def target(folder: Path, limits: dict[str, float], *, encrypted: bool) -> AsyncIterator[Target]:
    share, local = folder / "share", folder / "local"
    share.mkdir()
    local.mkdir()
    certificate = ""
    if encrypted:
        certificate = str(folder / "own.pem")
        Path(certificate).write_text(make_identity())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.crowd_server", str(share), certificate, json.dumps(limits)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        security = Security(tls="on", state=folder / "state") if encrypted else None
        yield Target(port, process.pid, share, local, security)
    finally:
        await process.communicate(b"")  # which closes its stdin


class Crowd:
    """Connections from many addresses of 127/8, each of one kind."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: list[asyncio.Task[None]] = []
        self._connected = 0

    async def gather(self, count: int) -> None:
        """Let `count` of each kind come, and wait until they are there."""
        kinds = (self._silent, self._trickling, self._halfway)
        for number in range(count):
            for kind, act in enumerate(kinds):
                host = f"127.{kind + 1}.{number // 250}.{number % 250 + 1}"
                self._tasks.append(asyncio.create_task(self._come(host, act)))
            if number % 50 == 49:
                await asyncio.sleep(0)
        while self._connected < 3 * count:
            await asyncio.wait(self._tasks, timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)

    async def gone(self, within_s: float) -> float:
        """Wait until the server has closed all of them; give how long that took."""
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(within_s):
            await asyncio.gather(*self._tasks)
        return asyncio.get_running_loop().time() - began

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _come(self, host: str, act: object) -> None:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(host, 0))
            self._connected += 1
            ended = asyncio.create_task(_read_to_end(reader))
            try:
                await act(writer, ended)  # type: ignore[operator]
            finally:
                ended.cancel()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _silent(self, writer: asyncio.StreamWriter, ended: asyncio.Task[None]) -> None:
        await ended

    async def _trickling(self, writer: asyncio.StreamWriter, ended: asyncio.Task[None]) -> None:
        while not ended.done():
            writer.write(b"a")
            await asyncio.wait([ended], timeout=1.0)

    async def _halfway(self, writer: asyncio.StreamWriter, ended: asyncio.Task[None]) -> None:
        writer.write(HALF_HELLO)
        await ended


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65_536):
            pass


@pytest.fixture(autouse=True)
def many_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(65_536, hard) if hard != resource.RLIM_INFINITY else 65_536, hard))


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_small_crowd_is_sent_away_and_the_honest_client_served(tmp_path: Path, encrypted: bool) -> None:
    times = {"idle_s": 2.0, "line_s": 2.0, "handshake_s": 2.0, "login_s": 2.0}
    limits = {**times, "max_sessions": 100, "max_unproven": 40}
    async with target(tmp_path, limits, encrypted=encrypted) as server:
        (server.share / "a").write_bytes(bytes(1 << 20))
        await server.get("a")
        crowd = Crowd(server.port)
        try:
            await crowd.gather(30)
            await asyncio.gather(*(server.get("a", str(number)) for number in range(3)))
            await crowd.gone(max(times.values()) + MARGIN_S)
        finally:
            crowd.stop()
        await server.get("a")


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_a_thousand_of_each_kind(tmp_path: Path, encrypted: bool, capsys: pytest.CaptureFixture[str]) -> None:
    times = {"idle_s": 20.0, "line_s": 20.0, "handshake_s": 10.0, "login_s": 20.0}
    async with target(tmp_path, times, encrypted=encrypted) as server:
        (server.share / "a").write_bytes(os.urandom(100 << 20))
        await server.get("a")
        alone = statistics.median([await server.get("a") for _ in range(5)])
        before = server.memory()
        crowd = Crowd(server.port)
        try:
            await crowd.gather(1000)
            amid = statistics.median([await server.get("a") for _ in range(5)])
            at_most = server.memory()
            gone_s = await crowd.gone(max(times.values()) + MARGIN_S)
        finally:
            crowd.stop()
        await server.get("a")
        after = server.memory()
    with capsys.disabled():
        print(  # noqa: T201  # the figures are what the long form is for
            f"\n{'tls' if encrypted else 'plain'}: get of 100 MiB alone {alone:.3f} s, amid 3000 others {amid:.3f} s "
            f"({amid / alone:.2f}); all gone after {gone_s:.1f} s; memory {before} -> {at_most} -> {after} KiB"
        )
    assert amid <= 1.5 * alone
    assert after <= 1.2 * before
