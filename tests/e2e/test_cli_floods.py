"""Ctrl-C ends the program while a server sends without end, as fast as it can."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.programs import Running, start_at_terminal, start_program
from tests.support.service import frame

HELLO = frame(b"H", b'{"protocol":1,"features":["live"]}')
DONE = frame(b"R", b'{"session":1,"name":"me","verified":false}')
# More than can be sent while the test runs, in small frames, and less than the disk has free.
_SIZE = 1 << 31
META = frame(
    b"M",
    json.dumps(
        {"name": "x", "size": _SIZE, "mtime_ns": 1, "mode": 420, "identity": "i"}
        | {"offset": 0, "length": _SIZE}
    ).encode(),
)
ENTRY = {"name": "x", "kind": "file", "size": 1, "mtime_ns": 1, "mode": 420}
CHANGE = {"event": "change", "change": "created", "name": "x", "kind": "file", "size": 1}
BYTE = frame(b"D", b"x")
BEAT = frame(b"V", b'{"event":"heartbeat"}')
LISTING = frame(b"L", json.dumps([ENTRY] * 100).encode())
NOTICE = frame(b"V", json.dumps(CHANGE | {"mtime_ns": 1, "digest": ""}).encode())

_PIECE_BYTES = 1 << 16
_FLOODED_BYTES = 4 << 20  # what the buffers of the kernel may hold
_END_S = 15.0  # the program gives itself five


class FloodServer:
    """A server that answers one verb with `first`, and then sends `again` for ever."""

    def __init__(self, verb: str, first: bytes, again: bytes) -> None:
        self._verb = verb.encode()
        self._first = first
        self._again = again * max(1, _PIECE_BYTES // len(again))
        self._loop = asyncio.get_running_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_flooding = asyncio.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            connection.sendall(HELLO)
            for line in lines:
                if line.split()[0] == self._verb:
                    self._flood(connection)
                connection.sendall(DONE)

    def _flood(self, connection: socket.socket) -> None:
        connection.sendall(self._first)
        sent = 0
        while True:
            connection.sendall(self._again)
            sent += len(self._again)
            if sent >= _FLOODED_BYTES and not self.is_flooding.is_set():
                with contextlib.suppress(RuntimeError):  # the test has ended
                    self._loop.call_soon_threadsafe(self.is_flooding.set)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thread.join()


@contextlib.asynccontextmanager
async def flood(verb: str, first: bytes, again: bytes) -> AsyncIterator[FloodServer]:
    server = FloodServer(verb, first, again)
    server.thread.start()
    try:
        yield server
    finally:
        server.close()


async def discard(program: Running) -> None:
    """Read stdout to its end."""
    assert program.process.stdout is not None
    while await program.process.stdout.read(1 << 20):
        pass


@pytest.mark.parametrize(
    ("first", "again", "words"),
    [
        (META, frame(b"D", bytes(100)), ("get", "x", "-")),
        (META, BYTE, ("get", "x", "y")),
        (META, frame(b"D"), ("get", "x", "y")),
        (b"", BEAT, ("get", "x", "y")),
        (b"", BEAT, ("put", "x")),
        (b"", BEAT, ("stat", "x")),
        (b"", frame(b"L", b"[]"), ("dir",)),
        (DONE, NOTICE, ("watch",)),
    ],
    ids=["stdout", "file", "empty data", "beats", "put", "stat", "listing", "changes"],
)
async def test_interrupt_ends_a_command_under_a_flood(
    tmp_path: Path, first: bytes, again: bytes, words: tuple[str, ...]
) -> None:
    (tmp_path / "x").write_bytes(b"content" * 1000)
    async with (
        flood(words[0], first, again) as server,
        start_program(words[0], "127.0.0.1", server.port, *words[1:], folder=tmp_path) as program,
    ):
        reading = asyncio.create_task(discard(program))
        await server.is_flooding.wait()
        program.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_END_S):
            assert await program.end() == 130
        await reading
    assert program.err.endswith("ftransfer: interrupted\n")


async def test_interrupt_ends_a_command_whose_flood_nobody_reads(tmp_path: Path) -> None:
    """The listing fills the pipe of stdout, whose writer can only be ended with the process."""
    entries = [ENTRY | {"name": f"{number:06}"} for number in range(20_000)]
    first = b"".join(
        frame(b"L", json.dumps(entries[at : at + 100]).encode()) for at in range(0, 20_000, 100)
    )
    async with (
        flood("dir", first, BEAT) as server,
        start_program("dir", "127.0.0.1", server.port, folder=tmp_path) as program,
    ):
        assert await program.out_line()  # and no more, so the pipe is soon full
        program.process.send_signal(signal.SIGINT)
        assert program.process.stderr is not None
        async with asyncio.timeout(_END_S):
            assert (await program.process.stderr.read()).endswith(b"ftransfer: interrupted\n")
        await discard(program)
        assert await program.end() == 130


async def test_interrupt_returns_to_the_prompt_of_the_shell_under_a_flood(tmp_path: Path) -> None:
    async with (
        flood("get", META, BYTE) as server,
        start_at_terminal(
            "connect",
            "127.0.0.1",
            server.port,
            folder=tmp_path,
            environment={"XDG_STATE_HOME": str(tmp_path / "state")},
        ) as terminal,
    ):
        await terminal.see("127.0.0.1:/>")
        terminal.press("get x y\r")
        await server.is_flooding.wait()
        terminal.press("\x03")
        async with asyncio.timeout(_END_S):
            await terminal.see("stopped at ")
            await terminal.see("127.0.0.1:/>")
        terminal.press("\x04")
        assert await terminal.end() == 0
