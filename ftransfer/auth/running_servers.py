"""The running servers of this user on this machine: each has a record with its key and token.

Clients of the same user read it. A record is a small file that its server keeps locked while it
runs. The system releases the lock when the process ends, however it ends, so an unlocked record is
out of date; nothing depends on process ids, which are reused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ftransfer.addresses import is_loopback
from ftransfer.errors import BadFile
from ftransfer.system.private_files import locked

_FOLDER = "running"
_MAX_BYTES = 64 * 1024
_ANY_ADDRESS = ("0.0.0.0", "::")
# The boot of the machine, and its network: a state folder may be shared, and an address means
# nothing elsewhere.
_BOOT, _NETWORK = "/proc/sys/kernel/random/boot_id", "/proc/self/ns/net"


class RunningServer(NamedTuple):
    """What a server publishes for clients of its own user.

    `fingerprint` is of its certificate, "" without TLS; `token` opens the share, "" if the client
    must supply one.
    """

    addresses: Sequence[tuple[str, int]]
    fingerprint: str
    token: str

    def __repr__(self) -> str:
        return f"RunningServer({self.addresses!r})"  # no secret in a trace

    def listens_on(self, host: str, port: int, own_host: str) -> bool:
        """Return whether a connection to an address reaches this server.

        `own_host` is the address of the connection's own end.
        """
        is_here = is_loopback(host) or host == own_host
        return any(
            port == own_port and (host == address or (is_here and address in _ANY_ADDRESS))
            for address, own_port in self.addresses
        )


class Registration:
    """A server's record. `open` makes it before the server gives up its access to files.

    The caller of `open` closes it. All methods block.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._where = _where()

    @classmethod
    def open(cls, state: Path) -> Registration:
        """Make an empty record, and remove outdated ones.

        Raises:
            BadFile: It cannot be made.
        """
        folder = state / _FOLDER
        path = folder / f"{os.getpid()}-{os.urandom(8).hex()}"
        # A separate lock: a new record that is not locked yet must not look outdated.
        with locked(folder):
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
                _remove_outdated(folder)
                fd = os.open(
                    path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
                )
                fcntl.flock(fd, fcntl.LOCK_EX)
            except OSError as error:
                raise BadFile(f"{path}: it cannot be written: {error.strerror}") from error
        return cls(path, fd)

    def publish(self, server: RunningServer) -> None:
        """Write what clients need to know, in place of the previous content."""
        record = {"where": self._where, "pid": os.getpid(), **server._asdict()}
        data = json.dumps(record).encode()
        os.ftruncate(self._fd, 0)  # a client that reads in between finds no record
        os.pwrite(self._fd, data, 0)

    def close(self) -> None:
        """Remove the record.

        In a process that may no longer remove files, it is emptied; the next server removes it.
        """
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.unlink(self._path)
        os.close(self._fd)


def find_running(state: Path, host: str, port: int, own_host: str) -> RunningServer | None:
    """Return the server of this user that a connection to an address reaches, or None. Blocking.

    Args:
        host, port: The address of the other end, as the system gives it.
        own_host: The address of our own end.
    """
    folder = state / _FOLDER
    with contextlib.suppress(OSError):  # usually there is no such folder
        for name in os.listdir(folder):
            server = _read(folder / name)
            if server is not None and server.listens_on(host, port, own_host):
                return server
    return None


def _read(path: Path) -> RunningServer | None:
    """Return the content of a record, or None if it is outdated, not ours, or no record."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(fd).st_uid != os.geteuid() or not _is_locked(fd, fcntl.LOCK_SH):
            return None
        record = json.loads(os.read(fd, _MAX_BYTES))
        if record["where"] != _where():
            return None
        addresses = [(str(host), int(port)) for host, port in record["addresses"]]
        return RunningServer(addresses, str(record["fingerprint"]), str(record["token"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    finally:
        os.close(fd)


def _remove_outdated(folder: Path) -> None:
    for name in os.listdir(folder):
        path = folder / name
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not _is_locked(fd, fcntl.LOCK_EX):
                    os.unlink(path)
            finally:
                os.close(fd)


def _is_locked(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _where() -> str:
    try:
        with open(_BOOT, "rb") as file:
            return f"{file.read().strip().decode()} {os.readlink(_NETWORK)}"
    except OSError:
        import socket

        return socket.gethostname()
