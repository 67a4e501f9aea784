"""Runs clients against a server and takes wall time, CPU time and peak memory of both sides.

CPU time comes from the kernel's own accounts (wait4 for clients, /proc/PID/stat with its reaped
children for servers), peak memory from VmHWM, sampled while the clients run: a process that lived
shorter than a sample has none.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_S = 0.02
_SETTLE_S = 2.0


class Failed(Exception):
    """A program did not do what it should; the text says which and how."""


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def behind(self, prefix: Sequence[str]) -> Command:
        """The same, run by another program: ip netns exec NAME ..."""
        return Command((*prefix, *self.argv), self.env)


@dataclass(frozen=True, slots=True)
class Sample:
    """The cost of one timed run, in seconds and bytes; None if it was too short to see."""

    wall_s: float
    client_cpu_s: float
    server_cpu_s: float
    client_peak_bytes: int | None
    server_peak_bytes: int | None
    # What the client wrote as its last line, if that is a JSON object
    told: Mapping[str, Any] = field(default_factory=dict)
    was_cut: bool = False  # it had not come to its end when its time was over


def run_clients(
    commands: Sequence[Command],
    server: int | None = None,
    *,
    timeout_s: float = 300,
    may_be_cut: bool = False,
) -> Sample:
    """Run all commands at once and wait for the last.

    Args:
        server: The process whose CPU time and memory count as the server's, with its children.
        may_be_cut: At the timeout the clients are ended, and that is no failure.

    Raises:
        Failed: One did not end with 0, or not in time.
    """
    tally = Tally(server)
    children_before = len(family(server)) if server else 0
    cpu_before = cpu_seconds(server) if server else 0.0
    cut = threading.Event()
    with tempfile.TemporaryFile() as output, tally:
        began = time.monotonic()
        running = [_start(command, output, tally) for command in commands]
        timer = threading.Timer(timeout_s, _cut, (running, cut))
        timer.start()
        try:
            ends = [_wait(process) for process in running]
        finally:
            timer.cancel()
        wall_s = time.monotonic() - began
        text = _text_of(output)
    if not (cut.is_set() and may_be_cut):
        _refuse_failure(
            commands, [status for status, _ in ends], text, timeout_s if cut.is_set() else None
        )
    if server:
        _let_settle(server, children_before)
    return Sample(
        wall_s,
        sum(cpu_s for _, cpu_s in ends),
        cpu_seconds(server) - cpu_before if server else 0.0,
        tally.client_peak,
        tally.server_peak,
        _told(text),
        cut.is_set(),
    )


def _start(command: Command, output: IO[bytes], tally: Tally) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command.argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **command.env},
        start_new_session=True,
    )
    tally.add_client(process.pid)  # after exec: Popen returns only then
    return process


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


def _cut(running: Sequence[subprocess.Popen[bytes]], cut: threading.Event) -> None:
    cut.set()
    for process in running:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: nobody else's


def _text_of(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode("utf-8", "replace")


def _refuse_failure(
    commands: Sequence[Command], statuses: Sequence[int], text: str, timeout_s: float | None
) -> None:
    if timeout_s is not None:
        raise Failed(f"{commands[0].argv[0]} did not end within {timeout_s:.0f} s")
    for command, status in zip(commands, statuses, strict=True):
        if status != 0:
            raise Failed(
                f"{' '.join(command.argv)[:300]} ended with {status}: {text.strip()[-300:]}"
            )


def _told(text: str) -> dict[str, Any]:
    last = text.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        return {}
    try:
        value: dict[str, Any] = json.loads(last)
    except ValueError:
        return {}
    return value


def _let_settle(server: int, count: int) -> None:
    """Wait until the server's children for these clients have ended.

    Only then does their CPU time count for it.
    """
    deadline = time.monotonic() + _SETTLE_S
    while len(family(server)) > count and time.monotonic() < deadline:
        time.sleep(0.01)


class Tally:
    """Watches the memory of two families of processes in a thread."""

    def __init__(self, server: int | None) -> None:
        self.client_peak: int | None = None
        self.server_peak: int | None = None
        self._server = server
        self._clients: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Tally:
        for pid in family(self._server) if self._server else ():
            # From now on VmHWM counts anew.
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def add_client(self, pid: int) -> None:
        self._clients.append(pid)

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self._look()

    def _look(self) -> None:
        self.client_peak = _larger(self.client_peak, _peak_of(list(self._clients)))
        if self._server:
            self.server_peak = _larger(self.server_peak, _peak_of([self._server]))


def _larger(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def _peak_of(roots: Sequence[int]) -> int | None:
    peaks = [
        peak
        for root in roots
        for pid in family(root)
        if (peak := memory_of(pid, "VmHWM")) is not None
    ]
    return sum(peaks) if peaks else None


def memory_of(pid: int, field_name: str = "VmRSS") -> int | None:
    """Return one of the memory fields of a process in bytes; None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1]) * 1024
    return None


def family(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    found = [pid]
    for member in found:
        for task in _tasks(member):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{member}/task/{task}/children").read_text().split())
    return found


def _tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, its reaped children and its living descendants."""
    return sum(_cpu_of(member) for member in family(pid))


def _cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS  # utime stime cutime cstime


@contextlib.contextmanager
def running_server(command: Command, port: int, log: Path, *, ready_s: float = 20) -> Iterator[int]:
    """Run a server while the block runs, once it listens on `port`; yield its process number.

    Its children are stopped with it.

    Raises:
        Failed: It ended or did not listen in time; with the end of its log.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **command.env},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + ready_s
        while not listens(process.pid, port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(
                    f"{command.argv[0]} does not listen:"
                    f" {log.read_text(errors='replace').strip()[-300:]}"
                )
            time.sleep(0.01)
        yield process.pid
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], grace_s: float = 5) -> None:
    """End a process that was started here, and what it has started."""
    members = family(process.pid)
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in members[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def listens(pid: int, port: int) -> bool:
    """Return whether a process or a descendant listens on a TCP port, in any network namespace.

    No connection is made to find out.
    """
    wanted, found = f":{port:04X}", set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            rows = [
                row.split() for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            ]
            found |= {
                f"socket:[{row[9]}]" for row in rows if row[1].endswith(wanted) and row[3] == "0A"
            }
    # It must be its own: another program may have taken the port first.
    return bool(found) and any(
        target in found for member in family(pid) for target in _open_things(member)
    )


def _open_things(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{number}")
