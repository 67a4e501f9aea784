"""The yardstick: the least that moves a file between two processes over TCP.

It uses blocking calls and one thread for each connection.

    bare_loop [--blake3] serve HOST PORT FOLDER | get HOST PORT NAME DEST | put HOST PORT SOURCE
    NAME

With --blake3 both ends hash, block by block, and the sender's digest follows the content. No names
are checked: not for use.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Protocol

BLOCK = 1 << 20
_SIZE = struct.Struct(">Q")
_DIGEST_BYTES = 32


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> object: ...
    def digest(self) -> bytes: ...


class _NoHash:
    def update(self, data: memoryview, /) -> None:
        pass

    def digest(self) -> bytes:
        return b""


def _hash(hashed: bool) -> _Hash:
    if not hashed:
        return _NoHash()
    from blake3 import blake3

    made: _Hash = blake3()
    return made


def send_file(peer: socket.socket, path: Path, hashed: bool) -> None:
    """Send size, content and, if hashed, digest."""
    hasher, buffer = _hash(hashed), memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        peer.sendall(_SIZE.pack(size))
        offset = hashed_to = 0
        while offset < size:
            if hashed and hashed_to == offset:
                count = file.readinto(buffer) or 0
                hasher.update(buffer[:count])
                hashed_to += count
            offset += os.sendfile(
                peer.fileno(), file.fileno(), offset, hashed_to - offset if hashed else 1 << 30
            )
    if hashed:
        peer.sendall(hasher.digest())


def receive_file(peer: socket.socket, path: Path, hashed: bool) -> None:
    """Receive what send_file sends; ends the program if it is not what was sent."""
    hasher, buffer = _hash(hashed), memoryview(bytearray(BLOCK))
    size: int = _SIZE.unpack(_exactly(peer, _SIZE.size))[0]
    with path.open("wb", buffering=0) as file:
        left = size
        while left:
            filled = 0
            while filled < min(BLOCK, left):
                count = peer.recv_into(buffer[filled : min(BLOCK, left)])
                if count == 0:
                    sys.exit("the connection ended early")
                filled += count
            hasher.update(buffer[:filled])
            file.write(buffer[:filled])
            left -= filled
    if hashed and _exactly(peer, _DIGEST_BYTES) != hasher.digest():
        sys.exit("the digests differ")


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = peer.recv(count - len(data))
        if not more:
            sys.exit("the connection ended early")
        data += more
    return data


def serve(host: str, port: int, folder: Path, hashed: bool) -> None:
    with socket.create_server((host, port), backlog=1024) as server:
        while True:
            peer, _ = server.accept()
            threading.Thread(target=_answer, args=(peer, folder, hashed), daemon=True).start()


def _answer(peer: socket.socket, folder: Path, hashed: bool) -> None:
    with peer:
        line = b""
        while not line.endswith(b"\n"):
            line += _exactly(peer, 1)
        verb, _, name = line.decode().strip().partition(" ")
        if verb == "get":
            send_file(peer, folder / name, hashed)
        else:
            receive_file(peer, folder / name, hashed)
            peer.sendall(b"+")


def main() -> None:
    words = sys.argv[1:]
    hashed = words[0] == "--blake3"
    verb, host, port, *rest = words[hashed:]
    if verb == "serve":
        serve(host, int(port), Path(rest[0]), hashed)
        return
    with socket.create_connection((host, int(port))) as peer:
        name = rest[0] if verb == "get" else rest[1]
        peer.sendall(f"{verb} {name}\n".encode())
        if verb == "get":
            receive_file(peer, Path(rest[1]), hashed)
        else:
            send_file(peer, Path(rest[0]), hashed)
            _exactly(peer, 1)


if __name__ == "__main__":
    main()
