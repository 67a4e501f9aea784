"""Measure one honest client beside twenty sessions, or a crowd, at each verb's worst.

`make soak`. Server, attackers and honest client are separate processes. Figures are 95th
percentiles of what the honest client waits for a `stat` and for a `get` of 1 MiB. A row above the
bound makes it fail. ROWS names the attacks to try (default: all).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from ftransfer.gateways.native.listener import Server
from ftransfer.service.service import ServiceOptions
from ftransfer.service.share import Share
from ftransfer.storage.local import LocalStore
from ftransfer.system.threads import switch_often
from ftransfer.watch.watcher import FolderWatcher
from tests.support.attacks import ATTACKS, under
from tests.support.service import RawPeer, raw_peer

BOUND_S = 0.25
SECONDS = 8.0
SIZE = 4
BEGIN, END = "<!-- figures of make soak -->", "<!-- end of figures -->"


async def be_server(name: str, folder: str) -> None:
    switch_often()  # as serve does
    store = await LocalStore.open(folder, durable=False)
    options = await asyncio.to_thread(ATTACKS[name].options)
    share = Share(store, quota_limits=options.pop("quota_limits", None))
    server = await Server.start(
        share,
        port=0,
        options=ServiceOptions(watcher=FolderWatcher(Path(folder), store), **options),
    )
    sys.stdout.write(f"{server.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)
    await store.close()


async def be_attackers(name: str, port: str) -> None:
    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[RawPeer]:
        async with raw_peer("127.0.0.1", int(port)) as peer:
            await peer.frame()
            yield peer

    async with under(ATTACKS[name], connect, ATTACKS[name].crowd, SIZE):
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def process(role: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.fault.soak", f"--{role}", *arguments]
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


async def answer(peer: RawPeer) -> None:
    while (await peer.frame())[0] not in (b"R", b"X", b""):
        pass


async def timed(peer: RawPeer, line: bytes) -> float:
    began = time.monotonic()
    await peer.send(line)
    async with asyncio.timeout(60):
        await answer(peer)
    return time.monotonic() - began


def percentile(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


async def measure(port: int, seconds: float) -> tuple[float, float]:
    """Return how long an honest client waits for a stat and a get, at the 95th percentile."""
    stats: list[float] = []
    gets: list[float] = []
    async with raw_peer("127.0.0.1", port) as peer:
        await peer.frame()
        until = time.monotonic() + seconds
        while time.monotonic() < until or len(gets) < 3:
            stats.append(await timed(peer, b"stat .\n"))
            gets.append(await timed(peer, b"get honest\n"))
            await asyncio.sleep(0.02)
    return percentile(stats), percentile(gets)


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def run_row(name: str, seconds: float) -> tuple[float, float, float]:
    """Return both figures in seconds, and the highest memory of the server in MiB."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        share = Path(folder, "share")
        share.mkdir()
        (share / "honest").write_bytes(os.urandom(1 << 20))
        ATTACKS[name].prepare(share, ATTACKS[name].crowd if ATTACKS[name].crowd <= 20 else 1, SIZE)
        with process("server", name, str(share)) as server:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            with process("attackers", name, port):
                time.sleep(1.0)
                figures = asyncio.run(measure(int(port), seconds))
            memory = resident_mib(server.pid)
        subprocess.run(["rm", "-rf", share], check=True)  # too deep for Python
    return *figures, memory


def table(rows: dict[str, tuple[float, float, float]]) -> str:
    lines = [
        "| sessions do | how many | `stat`, ms | `get` of 1 MiB, ms | memory at most, MiB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, (stat_s, get_s, memory) in rows.items():
        lines.append(
            f"| {name} | {ATTACKS[name].crowd} | {stat_s * 1000:.0f} | {get_s * 1000:.0f} |"
            f" {memory:.0f} |"
        )
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Put the table between its marks in the document."""
    document = path.read_text()
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ATTACKS))
    parser.add_argument("--write", type=Path, help="the document that gets the table")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--server", nargs=2)
    parser.add_argument("--attackers", nargs=2)
    options = parser.parse_args()
    if options.server or options.attackers:
        asyncio.run(
            be_server(*options.server) if options.server else be_attackers(*options.attackers)
        )
        return 0
    rows = {}
    for name in options.rows:
        rows[name] = run_row(name, options.seconds)
        sys.stderr.write(f"{name}: {json.dumps([round(value, 3) for value in rows[name]])}\n")
    text = table(rows)
    sys.stdout.write(f"{text}\n")
    if options.write:
        write(options.write, text)
    late = [name for name, (stat_s, get_s, _) in rows.items() if max(stat_s, get_s) > BOUND_S]
    if late:
        sys.stderr.write(f"above {BOUND_S * 1000:.0f} ms: {', '.join(late)}\n")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
