"""The live layer under load: many listeners, one that never reads, and files that are put all the while.

`make live` runs the long form: 200 listeners and 2000 puts in a minute; `QUICK=1` a short one. It prints what was measured, and
ends with 1 if a bound does not hold. The server is a process of its own; all listeners share another, which reads with as little
work as can be, so that it is the server that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import multiprocessing.connection
import os
import re
import selectors
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen

from ftransfer.client.client import connect

_TIME = re.compile(rb'"time_ns":(\d+)')
_NAME = re.compile(rb'"name":"([^"]*)"')
_HEADER = struct.Struct(">cI")

# The bounds.
_P99_S = 0.5
_LISTENER_KIB = 200
_PUT_RATIO = 0.8

_ROUND_FILES = 200  # in one round of puts as fast as they go


@dataclass
class Ear:
    """One listener: what it has not understood yet, and the names it has heard."""

    rest: bytes = b""
    heard: list[bytes] = field(default_factory=list)


def listen(port: int, count: int, pipe: multiprocessing.connection.Connection) -> None:
    """Run all listeners until the other end of the pipe says so; then give each one's names, and all delays in seconds."""
    selector = selectors.DefaultSelector()
    for _ in range(count):
        selector.register(subscribe(port), selectors.EVENT_READ, Ear())
    selector.register(pipe, selectors.EVENT_READ, None)
    delays: list[float] = []
    pipe.send("ready")
    while True:
        for key, _ in selector.select():
            if key.data is None:
                if pipe.recv() == "end":
                    pipe.send(([ear.data.heard for ear in selector.get_map().values() if ear.data], delays))
                    return
                delays.clear()
                for other in selector.get_map().values():
                    if other.data:
                        other.data.heard.clear()
                pipe.send("cleared")
                continue
            assert isinstance(key.fileobj, socket.socket)
            take_in(key.data, key.fileobj.recv(1 << 16), delays)


def subscribe(port: int) -> socket.socket:
    """Connect and watch everything; gives a socket on which only events are to come."""
    sock = socket.create_connection(("127.0.0.1", port))
    read_frame(sock)
    sock.sendall(b"watch\n")
    while (frame := read_frame(sock))[0] != b"R":
        assert frame[0] != b"X", frame
    return sock


def read_frame(sock: socket.socket) -> tuple[bytes, bytes]:
    kind, length = _HEADER.unpack(sock.recv(_HEADER.size, socket.MSG_WAITALL))
    return kind, sock.recv(length, socket.MSG_WAITALL)


def take_in(ear: Ear, data: bytes, delays: list[float]) -> None:
    now = time.time_ns()
    data = ear.rest + data
    at = 0
    while len(data) - at >= _HEADER.size:
        _, length = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + length
        if end > len(data):
            break
        payload = data[at + _HEADER.size : end]
        at = end
        if (stamp := _TIME.search(payload)) and (name := _NAME.search(payload)):
            delays.append((now - int(stamp[1])) / 1e9)
            ear.heard.append(name[1])
        elif b"missed" in payload:
            ear.heard.append(b"(missed)")
    ear.rest = data[at:]


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, int]]:
    """Serve a folder in a process; gives its port and pid."""
    server = Popen(
        [sys.executable, "-m", "ftransfer", "serve", str(folder), "--port", "0"],
        stdout=PIPE,
        stderr=open(os.devnull, "w"),
        text=True,
    )
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline().rsplit(":", 1)[1]), server.pid
    finally:
        server.terminate()
        server.wait()


def rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found is not None
    return int(found[1])


async def put_files(port: int, file: Path, prefix: str, count: int, seconds: float = 0.0) -> float:
    """Put a file under many names, evenly over some seconds or as fast as it goes; give how many a second."""
    async with connect("127.0.0.1", port) as client:
        began = time.monotonic()
        for number in range(count):
            await client.put(file, f"{prefix}{number}")
            ahead = began + (number + 1) * seconds / count - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
        return count / (time.monotonic() - began)


@dataclass
class Figures:
    """What came out."""

    listeners: int
    puts: int
    p50_s: float = 0.0
    p99_s: float = 0.0
    worst_s: float = 0.0
    complete: int = 0  # listeners that heard every event once and in order
    listener_kib: float = 0.0
    put_ratio: float = 0.0
    puts_per_s: float = 0.0

    @property
    def faults(self) -> list[str]:
        found = []
        if self.complete != self.listeners:
            found.append(f"{self.listeners - self.complete} listeners did not hear every event once and in order")
        if self.p99_s >= _P99_S:
            found.append(f"the 99th percentile of the delay is not under {_P99_S} s")
        if self.listener_kib > _LISTENER_KIB:
            found.append(f"a listener costs more than {_LISTENER_KIB} KiB")
        if self.put_ratio < _PUT_RATIO:
            found.append(f"puts are slower than {_PUT_RATIO} times those without listeners")
        return found


def measure(listeners: int, puts: int, seconds: float, rounds: int) -> Figures:
    figures = Figures(listeners, puts)
    with tempfile.TemporaryDirectory() as temporary:
        share, file = Path(temporary) / "share", Path(temporary) / "file"
        share.mkdir()
        file.write_bytes(os.urandom(1000))
        with served(share) as (port, pid):
            alone = [asyncio.run(put_files(port, file, "warm", _ROUND_FILES)) for _ in range(rounds)]
            before = rss_kib(pid)
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=listen, args=(port, listeners, theirs), daemon=True)
            process.start()
            ours.recv()
            slow = subscribe(port)  # and never reads again
            figures.puts_per_s = asyncio.run(put_files(port, file, "f", puts, seconds))
            time.sleep(1)  # what is under way is told
            figures.listener_kib = (rss_kib(pid) - before) / (listeners + 1)
            together = [asyncio.run(put_files(port, file, "more", _ROUND_FILES)) for _ in range(rounds)]
            time.sleep(1)  # what is under way is told
            ours.send("end")
            heard, delays = ours.recv()
            slow.close()
            process.join()
            # Whatever the machine does meanwhile, alone and together are measured by turns once more.
            alone += [asyncio.run(put_files(port, file, "warm", _ROUND_FILES)) for _ in range(rounds)]
    expected = [f"f{number}".encode() for number in range(puts)]
    figures.complete = sum([name for name in names if name.startswith(b"f") or name == b"(missed)"] == expected for names in heard)
    delays.sort()
    figures.p50_s, figures.p99_s, figures.worst_s = delays[len(delays) // 2], delays[len(delays) * 99 // 100], delays[-1]
    figures.put_ratio = statistics.median(together) / statistics.median(alone)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="40 listeners, 200 puts in six seconds")
    quick = parser.parse_args().quick
    figures = measure(40, 200, 6.0, 5) if quick else measure(200, 2000, 60.0, 3)
    delays = f"median {figures.p50_s * 1e3:.0f} ms, 99 % {figures.p99_s * 1e3:.0f} ms, worst {figures.worst_s * 1e3:.0f} ms"
    lines = [
        f"{figures.listeners} listeners, one more that never reads, {figures.puts} puts at {figures.puts_per_s:.0f} a second",
        f"listeners that heard every event once and in order: {figures.complete}",
        f"commit to event: {delays}",
        f"memory of the server for each listener: {figures.listener_kib:.0f} KiB",
        f"puts as fast as they go, with listeners against without: {figures.put_ratio:.2f}",
        *(f"BOUND MISSED: {fault}" for fault in figures.faults),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if figures.faults else 0


if __name__ == "__main__":
    sys.exit(main())
