"""A crowd of connections that mean no good, and one honest client among them.

The short form shows that the honest client is served, that all others are gone after the time that
the server has announced, and that their memory comes back. The long form (`make soak`) has a
thousand of each kind and measures what the honest client notices.
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
        """Return the process's memory in KiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    async def get(self, name: str, as_name: str = "got") -> float:
        """Get a file; return the seconds that it took, the connection included."""
        loop = asyncio.get_running_loop()
        options = {} if self.security is None else {"security": self.security}
        began = loop.time()
        async with connect("127.0.0.1", self.port, **options) as client:  # type: ignore[arg-type]  # one type for all values
            await client.get(name, self.local / as_name)
        return loop.time() - began


@contextlib.asynccontextmanager
async def target(
    folder: Path, limits: dict[str, float], *, encrypted: bool
) -> AsyncIterator[Target]:
    share, local = folder / "share", folder / "local"
    share.mkdir()
    local.mkdir()
    certificate = ""
    if encrypted:
        certificate = str(folder / "own.pem")
        Path(certificate).write_text(make_identity())
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "tests.support.crowd_server",
            str(share),
            certificate,
            json.dumps(limits),
        ),
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


@contextlib.asynccontextmanager
async def crowd(port: int, count: int) -> AsyncIterator[asyncio.StreamReader]:
    """Run a crowd in its own process, so that it costs the honest client only server time.

    Yields a reader of the crowd's line: the seconds it took, once all of it is gone.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.crowd", str(port), str(count)),
        stdout=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"here\n"
        yield process.stdout
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()


@pytest.fixture(autouse=True)
def many_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(
            resource.RLIMIT_NOFILE,
            (min(65_536, hard) if hard != resource.RLIM_INFINITY else 65_536, hard),
        )


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_small_crowd_is_sent_away_and_the_honest_client_served(
    tmp_path: Path, encrypted: bool
) -> None:
    times = {"idle_s": 2.0, "line_s": 2.0, "handshake_s": 2.0, "login_s": 2.0}
    limits = {**times, "max_sessions": 100, "max_unauthenticated": 40}
    async with target(tmp_path, limits, encrypted=encrypted) as server:
        (server.share / "a").write_bytes(bytes(1 << 20))
        await server.get("a")
        async with crowd(server.port, 30) as said:
            await asyncio.gather(*(server.get("a", str(number)) for number in range(3)))
            async with asyncio.timeout(max(times.values()) + MARGIN_S):
                assert float(await said.readline()) > 0
        await server.get("a")


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_a_thousand_of_each_kind(
    tmp_path: Path, encrypted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    times = {"idle_s": 20.0, "line_s": 20.0, "handshake_s": 10.0, "login_s": 20.0}
    async with target(tmp_path, times, encrypted=encrypted) as server:
        await asyncio.to_thread((server.share / "a").write_bytes, bytes(100 << 20))
        await server.get("a")
        alone = statistics.median([await server.get("a") for _ in range(5)])
        before = server.memory()
        async with crowd(server.port, 1000) as said:
            amid = statistics.median([await server.get("a") for _ in range(5)])
            at_most = server.memory()
            async with asyncio.timeout(max(times.values()) + MARGIN_S):
                gone_s = float(await said.readline())
        await server.get("a")
        await asyncio.sleep(4.0)  # the memory is given back a moment after the crowd has gone
        after = server.memory()
    with capsys.disabled():
        print(  # noqa: T201  # the figures are what the long form is for
            f"\n{'tls' if encrypted else 'plain'}: get of 100 MiB alone {alone:.3f} s, amid 3000"
            f" others {amid:.3f} s ({amid / alone:.2f}); all gone after {gone_s:.1f} s; RSS"
            f" {before} -> {at_most} -> {after} KiB ({after / before:.2f})"
        )
    assert amid <= 1.5 * alone
    assert after <= 1.15 * before
