"""The command line as processes: a finished run, a running server, a shell at a terminal."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import pty
import re
import shlex
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parents[2]
_WAIT_S = 40
_ENVIRONMENT = {
    **{
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("FTRANSFER", "_FTRANSFER"))
    },
    "PYTHONPATH": str(PROJECT),
    "PYTHONWARNINGS": "error",
}
_PROGRAM = (sys.executable, "-m", "ftransfer")


@dataclass(frozen=True, slots=True)
class Done:
    """A program that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


async def run_program(
    *arguments: str | int | Path,
    folder: Path,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
    prefix: Sequence[str] = (),
) -> Done:
    """Run `ftransfer` with arguments in a folder until it exits.

    Args:
        stdout: A descriptor to write to, instead of into the result.
        prefix: Words before the program, such as `ip netns exec`.
    """
    process = await asyncio.create_subprocess_exec(
        *prefix,
        *_PROGRAM,
        *map(str, arguments),
        cwd=folder,
        env={**_ENVIRONMENT, **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
        stderr=asyncio.subprocess.PIPE,
    )
    async with _ended(process), asyncio.timeout(_WAIT_S):
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Done(process.returncode, out or b"", err.decode())


@dataclass
class Running:
    """A program that runs. What it writes is read line by line, as the test needs it."""

    process: asyncio.subprocess.Process
    err: str = ""
    addresses: list[tuple[str, int]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.addresses[0][1]

    async def out_line(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode()

    async def err_until(self, pattern: str) -> str:
        """Read stderr until a line matches; return that line."""
        assert self.process.stderr is not None
        async with asyncio.timeout(_WAIT_S):
            while line := (await self.process.stderr.readline()).decode():
                self.err += line
                if re.search(pattern, line):
                    return line
        raise AssertionError(f"no line matches {pattern!r} in:\n{self.err}")

    async def line_to_hand_on(self) -> tuple[dict[str, str], list[str]]:
        """Return the command that a server shows for others.

        It is returned as the variable with its token, if shown, and the words after the program.
        """
        line = await self.err_until("(connect|log in) with: ")
        words = shlex.split(line.partition(" with: ")[2])
        assert tuple(words[:3]) == _PROGRAM
        shows_token = "log in" in line and "--user" not in words
        token = (await self.err_until("^token: ")).split()[1] if shows_token else ""
        return ({"FTRANSFER_TOKEN": token} if token else {}), words[3:]

    async def end(self) -> int:
        """Wait until it ends; return its exit code."""
        assert self.process.stderr is not None
        async with asyncio.timeout(_WAIT_S):
            self.err += (await self.process.stderr.read()).decode()
            return await self.process.wait()


@contextlib.asynccontextmanager
async def start_program(
    *arguments: str | int | Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *prefix,
        *_PROGRAM,
        *map(str, arguments),
        cwd=folder,
        env={**_ENVIRONMENT, **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with _ended(process):
        yield Running(process)


@contextlib.asynccontextmanager
async def start_server(
    share: Path,
    *options: str | int,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> AsyncIterator[Running]:
    """Run `ftransfer serve` on a free port; it accepts connections when the block begins."""
    words = ("serve", share, "--port", 0, *options)
    async with start_program(
        *words, folder=share.parent, environment=environment, prefix=prefix
    ) as server:
        async with asyncio.timeout(_WAIT_S):
            line = await server.out_line()
        found = re.fullmatch(r"listening on (?:\[(.+)\]|(.+)):(\d+)\n", line)
        assert found, line or (await server.end(), server.err)
        server.addresses.append((found[1] or found[2], int(found[3])))
        yield server


@contextlib.asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        # communicate and not wait: the pipes have to be read out, or their transports stay open.
        await process.communicate()


# Also one that is not complete yet.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]?|[^\[]|$)")


class Terminal:
    """A program at a pseudo-terminal of 80 columns: keys go in, what it draws comes out."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.screen = ""  # all text that was drawn, without the sequences that move the cursor
        self._drawn = ""
        self._master = master
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unread = 0
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # EIO: nobody has the other side open any more
            data = b""
        if not data:
            self._loop.remove_reader(self._master)
        self._drawn += self._decoder.decode(data)
        self.screen = _SEQUENCE.sub("", self._drawn)
        self._changed.set()

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def see(self, text: str) -> str:
        """Wait until new text is drawn; return what was drawn up to its end."""
        try:
            async with asyncio.timeout(_WAIT_S):
                while (at := self.screen.find(text, self._unread)) < 0:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"{text!r} is not drawn; drawn is {self.screen[self._unread :]!r}"
            ) from None
        start, self._unread = self._unread, at + len(text)
        return self.screen[start : self._unread]

    async def end(self) -> int:
        async with asyncio.timeout(_WAIT_S):
            return await self.process.wait()

    def close(self) -> None:
        self._loop.remove_reader(self._master)
        os.close(self._master)


# A session leader takes the terminal on its stdin as its own, so that Ctrl-C reaches it.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1],"
    " sys.argv[1:])"
)


@contextlib.asynccontextmanager
async def start_at_terminal(
    *arguments: str | int | Path, folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _TAKE_TERMINAL,
            *_PROGRAM,
            *map(str, arguments),
            cwd=folder,
            # The terminal of the test does not answer questions about the cursor.
            env={**_ENVIRONMENT, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **environment},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
    finally:
        os.close(slave)
    terminal = Terminal(process, master)
    try:
        async with _ended(process):
            yield terminal
    finally:
        terminal.close()
