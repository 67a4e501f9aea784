"""Measure the live layer: many listeners, one of which never reads, during a stream of puts.

`make live` runs the long form: 200 listeners and 2000 puts in a minute; `QUICK=1` a short one. It
prints the figures, and exits with 1 if a bound does not hold. The server is a process of its own.
All listeners share another, which only records what arrives and when, and decodes it at the end, so
that the server is what is measured.
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
    """One listener: what came, and when (time.time_ns)."""

    chunks: list[tuple[int, bytes]] = field(default_factory=list)

    def heard(self) -> Iterator[tuple[bytes, float]]:
        """Return the name in each event and its delay in seconds; "(missed)" for a gap."""
        rest = b""
        for now, chunk in self.chunks:
            data, at = rest + chunk, 0
            while len(data) - at >= _HEADER.size:
                end = at + _HEADER.size + _HEADER.unpack_from(data, at)[1]
                if end > len(data):
                    break
                payload, at = data[at + _HEADER.size : end], end
                if (stamp := _TIME.search(payload)) and (name := _NAME.search(payload)):
                    yield name[1], (now - int(stamp[1])) / 1e9
                elif b"missed" in payload:
                    yield b"(missed)", 0.0
            rest = data[at:]


def listen(port: int, count: int, pipe: multiprocessing.connection.Connection) -> None:
    """Run all listeners until the other end of the pipe stops them; then send their records."""
    selector = selectors.DefaultSelector()
    ears = [Ear() for _ in range(count)]
    for ear in ears:
        selector.register(subscribe(port), selectors.EVENT_READ, ear)
    selector.register(pipe, selectors.EVENT_READ, None)
    known: dict[bytes, bytes] = {}  # all hear the same, which is kept once
    pipe.send("ready")
    while True:
        for key, _ in selector.select():
            if key.data is None:
                heard = [list(ear.heard()) for ear in ears]
                pipe.send(
                    (
                        [[name for name, _ in names] for names in heard],
                        [delay for names in heard for _, delay in names],
                    )
                )
                return
            assert isinstance(key.fileobj, socket.socket)
            chunk = key.fileobj.recv(1 << 16)
            key.data.chunks.append((time.time_ns(), known.setdefault(chunk, chunk)))


def subscribe(port: int) -> socket.socket:
    """Connect and watch everything; return a socket on which only events are to come."""
    sock = socket.create_connection(("127.0.0.1", port))
    read_frame(sock)
    sock.sendall(b"watch\n")
    while (frame := read_frame(sock))[0] != b"R":
        assert frame[0] != b"X", frame
    return sock


def read_frame(sock: socket.socket) -> tuple[bytes, bytes]:
    kind, length = _HEADER.unpack(sock.recv(_HEADER.size, socket.MSG_WAITALL))
    return kind, sock.recv(length, socket.MSG_WAITALL)


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, int]]:
    """Serve a folder in a process; return its port and pid."""
    server = Popen(
        [
            sys.executable,
            "-m",
            "ftransfer",
            "serve",
            str(folder),
            "--port",
            "0",
            "--anonymous",
            "all",
        ],
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


@dataclass
class Audience:
    """The listeners that run, and the one that never reads."""

    pipe: multiprocessing.connection.Connection

    def end(self) -> tuple[list[list[bytes]], list[float]]:
        """Stop the listeners; return what each has received, and all delays in seconds."""
        self.pipe.send("end")
        heard: tuple[list[list[bytes]], list[float]] = self.pipe.recv()
        return heard


@contextmanager
def audience(port: int, count: int) -> Iterator[Audience]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=listen, args=(port, count, theirs), daemon=True)
    process.start()
    try:
        ours.recv()
        with subscribe(port):  # and never reads again
            yield Audience(ours)
    finally:
        process.terminate()
        process.join()


@dataclass
class Pace:
    """How some puts went."""

    per_s: float  # in all, pauses counted
    busy_s: float  # a put on average, from its command to its receipt


async def put_files(port: int, file: Path, prefix: str, count: int, seconds: float = 0.0) -> Pace:
    """Put a file under many names, evenly over some seconds or as fast as it goes."""
    async with connect("127.0.0.1", port) as client:
        began = time.monotonic()
        busy_s = 0.0
        for number in range(count):
            asked = time.monotonic()
            await client.put(file, f"{prefix}{number}")
            now = time.monotonic()
            busy_s += now - asked
            await asyncio.sleep(max(0.0, began + (number + 1) * seconds / count - now))
        return Pace(count / (time.monotonic() - began), busy_s / count)


@dataclass
class Figures:
    """What came out. The ratios are of speeds: with listeners, against without."""

    listeners: int
    puts: int
    p50_s: float = 0.0
    p99_s: float = 0.0
    worst_s: float = 0.0
    complete: int = 0  # listeners that heard every event once and in order
    listener_kib: float = 0.0
    puts_per_s: float = 0.0
    paced_ratio: float = 0.0
    full_ratio: float = 0.0
    full_per_s: float = 0.0

    @property
    def faults(self) -> list[str]:
        found = []
        if self.complete != self.listeners:
            found.append(
                f"{self.listeners - self.complete} listeners did not hear every event once and in"
                " order"
            )
        if self.p99_s >= _P99_S:
            found.append(f"the 99th percentile of the delay is not under {_P99_S} s")
        if self.listener_kib > _LISTENER_KIB:
            found.append(f"a listener costs more than {_LISTENER_KIB} KiB")
        for ratio, how in ((self.paced_ratio, "paced"), (self.full_ratio, "as fast as they go")):
            if ratio < _PUT_RATIO:
                found.append(
                    f"puts, {how}, are slower than {_PUT_RATIO} times those without listeners"
                )
        return found


def measure(listeners: int, puts: int, seconds: float, rounds: int) -> Figures:
    figures = Figures(listeners, puts)
    with tempfile.TemporaryDirectory() as temporary:
        share, file = Path(temporary) / "share", Path(temporary) / "file"
        share.mkdir()
        file.write_bytes(os.urandom(1000))
        with served(share) as (port, pid):

            def put(prefix: str, count: int = _ROUND_FILES, seconds: float = 0.0) -> Pace:
                return asyncio.run(put_files(port, file, prefix, count, seconds))

            put("warm")
            alone = put("alone", puts // 4, seconds / 4)
            before = rss_kib(pid)
            with audience(port, listeners) as here:
                paced = put("f", puts, seconds)
                time.sleep(1)  # what is under way is told
                figures.listener_kib = (rss_kib(pid) - before) / (listeners + 1)
                heard, delays = here.end()
            full_alone, full = [], []
            for _ in range(rounds):  # by turns, whatever the machine does meanwhile
                full_alone.append(put("warm").per_s)
                with audience(port, listeners):
                    full.append(put("warm").per_s)
    expected = [f"f{number}".encode() for number in range(puts)]
    figures.complete = sum(names == expected for names in heard)
    delays.sort()
    figures.p50_s, figures.p99_s, figures.worst_s = (
        delays[len(delays) // 2],
        delays[len(delays) * 99 // 100],
        delays[-1],
    )
    figures.puts_per_s, figures.paced_ratio = paced.per_s, alone.busy_s / paced.busy_s
    figures.full_per_s, figures.full_ratio = (
        statistics.median(full),
        statistics.median(full) / statistics.median(full_alone),
    )
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--quick", action="store_true", help="40 listeners, 200 puts in six seconds"
    )
    quick = parser.parse_args().quick
    figures = measure(40, 200, 6.0, 5) if quick else measure(200, 2000, 60.0, 7)
    delays = (
        f"median {figures.p50_s * 1e3:.0f} ms, 99 % {figures.p99_s * 1e3:.0f} ms, worst"
        f" {figures.worst_s * 1e3:.0f} ms"
    )
    lines = [
        (
            f"{figures.listeners} listeners, one more that never reads, {figures.puts} puts at"
            f" {figures.puts_per_s:.0f} a second"
        ),
        f"listeners that heard every event once and in order: {figures.complete}",
        f"commit to event: {delays}",
        f"memory of the server for each listener: {figures.listener_kib:.0f} KiB",
        (
            "time for a put at that pace, without listeners against with them:"
            f" {figures.paced_ratio:.2f}"
        ),
        (
            f"puts as fast as they go: {figures.full_per_s:.0f} a second, against without"
            f" listeners: {figures.full_ratio:.2f}"
        ),
        *(f"BOUND MISSED: {fault}" for fault in figures.faults),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if figures.faults else 0


if __name__ == "__main__":
    sys.exit(main())
