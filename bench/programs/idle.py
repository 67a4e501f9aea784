"""Open silent sessions: `idle HOST PORT COUNT`.

Writes "ready" when all have received the hello, and ends with its stdin.
"""

from __future__ import annotations

import resource
import socket
import struct
import sys


def main() -> None:
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sessions = [socket.create_connection((host, port)) for _ in range(count)]
    for session in sessions:
        _hear_hello(session)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


def _hear_hello(session: socket.socket) -> None:
    kind, length = struct.unpack(">cI", session.recv(5, socket.MSG_WAITALL))
    if kind != b"H":
        sys.exit(f"refused: {session.recv(length, socket.MSG_WAITALL)!r}")
    session.recv(length, socket.MSG_WAITALL)


if __name__ == "__main__":
    main()
