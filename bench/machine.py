"""Where it was measured: what a reader has to know to compare it with a machine of theirs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.peers.base import Peer
from bench.setting import program

_VERSION_OPTIONS = {
    "rsync": "--version", "nginx": "-v", "curl": "--version", "vsftpd": "-v", "lftp": "--version",
    "sshd": "-V", "rclone": "version",
}  # fmt: skip
_VERSION = re.compile(r"\d+\.\d+[\w.]*")


def describe(places: dict[str, Path], peers: Sequence[Peer]) -> dict[str, str]:
    """Return facts about this machine by name."""
    found = {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "congestion control": _read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "file systems": ", ".join(f"{name}: {file_system(path)}" for name, path in places.items()),
        "Python": platform.python_version(),
    }
    wanted = {name for peer in peers for name in peer.needs if name in _VERSION_OPTIONS}
    for name in sorted(wanted):
        found[name] = program_version(name)
    for name in sorted({name for peer in peers for name in peer.modules}):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"


def file_system(path: Path) -> str:
    """Return the type of the file system that holds a path."""
    best, kind = "", "unknown"
    for line in _read("/proc/mounts").splitlines():
        _, where, name, *_ = line.split()
        if len(where) >= len(best) and (
            path == Path(where) or Path(where) in path.resolve().parents
        ):
            best, kind = where, name
    return kind


def program_version(name: str) -> str:
    path = program(name)
    if path is None:
        return "not installed"
    try:
        # vsftpd -v writes to its standard input; sshd -V is an error that tells what one wants to
        # know.
        words = ["sh", "-c", 'exec "$0" "$1" 0>&1', path, _VERSION_OPTIONS[name]]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    match = _VERSION.search(done.stdout + done.stderr)
    return match.group() if match else "unknown"
