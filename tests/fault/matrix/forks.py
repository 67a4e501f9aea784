"""Run the program's own commands as real processes, fast, by forking one that imported all.

Python starts in 200 ms and forks in 2, which makes thousands of processes possible. Only a process
without threads and without an event loop may fork; so every part of the matrix that forks runs in a
process of its own.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import pkgutil
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence

import ftransfer
from ftransfer.cli.runtime.app import COMMANDS
from ftransfer.cli.runtime.entry import run_program

_PATIENCE_S = 60.0


class TooLong(Exception):
    """A child neither ended nor spoke for a minute: a hang."""


def own_address() -> str:
    """Return a loopback address that no other process of the matrix uses.

    While a killed server is down, another part may get its port, and the client that waits for it
    would continue with the wrong share. Linux has all of 127.0.0.0/8 on loopback.
    """
    pid = os.getpid()
    return (
        f"127.{1 + (pid >> 16) % 250}.{pid >> 8 & 255}.{pid & 255}"
        if sys.platform == "linux"
        else "127.0.0.1"
    )


@functools.cache
def preload() -> None:
    """Import all of the package and build its commands, once for all forks.

    That is half of the cost of a command.
    """
    for module in pkgutil.walk_packages(ftransfer.__path__, "ftransfer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # Imported by others when they need them
    for name in (
        "encodings.idna",
        "pwd",
        "typer._click.decorators",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in COMMANDS:
        assert COMMANDS[name]  # built when it is asked for
    # Else a child that looks for garbage writes to every page that it shares with us.
    gc.collect()
    gc.freeze()


class Child:
    """A forked process and the end of its stdout."""

    def __init__(self, pid: int, out: int) -> None:
        self.pid = pid
        self.output = b""
        self._out = out
        self._code: int | None = None
        self._ended: int | None = (
            None  # the exit code, when it has been reaped before its output was read
        )

    def kill(self) -> None:
        """End it as kill -9 does, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """Ask it to end (SIGTERM); return its exit code."""
        self._signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Read its output to the end; return its exit code, negative for a signal."""
        if self._code is None:
            while self._read():
                pass
            os.close(self._out)
            if self._ended is None:
                _, status = os.waitpid(self.pid, 0)
                self._ended = os.waitstatus_to_exitcode(status)
            self._code = self._ended
        return self._code

    def has_ended(self) -> bool:
        """Return whether it has ended; its output can still be read."""
        if self._code is None and self._ended is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._ended = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is not None or self._ended is not None

    def line(self) -> str:
        """Return the first line of its output, "" if it ends without one."""
        while b"\n" not in self.output and self._read():
            pass
        return self.output.partition(b"\n")[0].decode()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._out], [], [], _PATIENCE_S)
        if not ready:
            self._signal(signal.SIGKILL)
            raise TooLong(f"process {self.pid} did not end")
        data = os.read(self._out, 65_536)
        self.output += data
        return bool(data)

    def _signal(self, number: int) -> None:
        if not self.has_ended():  # else the number may be another process by now
            os.kill(self.pid, number)


def fork(work: Callable[[], int], *, log: str = os.devnull) -> Child:
    """Run `work` in a child whose stdout we read.

    Its stderr goes to the file `log`; its result is its exit code.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write_end)
        return Child(pid, read_end)
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(read_end)
        os.dup2(write_end, 1)
        os.close(write_end)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)
        code = work()
        sys.stdout.flush()
    finally:
        os._exit(code)


def command(arguments: Sequence[str], *, log: str = os.devnull) -> Child:
    """Start `ftransfer` with these arguments."""
    return fork(lambda: run_program(arguments), log=log)


class ServerProcess:
    """`ftransfer serve` over a folder, killed and started again on the port that it had."""

    def __init__(self, folder: str, *options: str, log: str = os.devnull) -> None:
        self._folder = folder
        self._options = options
        self._log = log
        self.host = own_address()
        self.port = 0
        self._child: Child | None = None

    def start(self) -> None:
        """Start it; on return it accepts connections."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            self._child = command(
                [
                    "serve",
                    self._folder,
                    "--host",
                    self.host,
                    "--port",
                    str(self.port),
                    "--anonymous",
                    "all",
                    *self._options,
                ],
                log=self._log,
            )
            line = self._child.line()
            if line:
                break
            self._child.wait()
            if time.monotonic() > deadline:
                raise TooLong("the server does not start again")
        self.port = int(line.rpartition(":")[2])

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()

    def stop(self) -> int:
        """Stop it gently; return its exit code."""
        assert self._child is not None
        return self._child.stop()
