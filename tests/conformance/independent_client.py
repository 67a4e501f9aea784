"""A blocking client written from docs/protocol.md alone.

It uses a socket, a JSON parser and BLAKE3, nothing of the package. Each part names the section it
follows. It shows that the document is enough; the tests beside it, that the server follows it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from blake3 import blake3


class Refused(Exception):
    """The server answered with an error frame."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class BrokenServer(Exception):
    """The server did not keep to the protocol."""


class Client:
    """One session. Closing is the caller's: use it as a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=10)
        self._input = self._socket.makefile("rb")
        self.hello = self._expect("H")  # section 4
        if self.hello["protocol"] != 1:
            raise BrokenServer("it speaks another version")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._input.close()
        self._socket.close()

    # Section 2: frames.

    def send(self, kind: str, payload: bytes) -> None:
        self._socket.sendall(kind.encode() + len(payload).to_bytes(4, "big") + payload)

    def _next(self) -> tuple[str, bytes]:
        while True:
            header = self._input.read(5)
            size = int.from_bytes(header[1:], "big")
            payload = self._input.read(size)
            if len(header) < 5 or len(payload) < size:
                raise BrokenServer("it closed the connection")
            # Section 10: unknown events are ignored, and there are no others yet
            if header[:1] != b"V":
                return header[:1].decode(), payload

    def _next_of(self, kinds: str) -> tuple[str, bytes]:
        kind, payload = self._next()
        if kind == "X":
            error = json.loads(payload)
            raise Refused(error["code"], error["message"])
        if kind not in kinds:
            raise BrokenServer(f"{kind} is out of turn")
        return kind, payload

    def _expect(self, kind: str) -> Any:
        return json.loads(self._next_of(kind)[1])

    # Section 3: lines.

    def say(self, line: bytes, arrives: bytes | None = None) -> None:
        """Send a line as it is; or as what a fault on the way makes of it."""
        self._line = line
        self._socket.sendall((arrives or line) + b"\n")

    def command(self, verb: str, name: str = "", **options: Any) -> None:
        """Send a line in structured form."""
        self.say(f"{verb} {json.dumps(name)} {json.dumps(options)}".encode())

    def reply(self) -> dict[str, Any]:
        values: dict[str, Any] = self._expect("R")
        return values

    # Section 5: hidden names.

    def introduce(self, name: str) -> tuple[str, ...]:
        """Send our name, and return the patterns of the names that the server hides."""
        self.command("as", name)
        patterns = self.reply()["hides"]
        if not all(isinstance(pattern, str) for pattern in patterns):
            raise BrokenServer("it hides what is no pattern")
        return tuple(patterns)

    def close(self) -> None:
        self.say(b"close")
        self.reply()
        if self.rest():
            raise BrokenServer("it goes on after close")

    def end_input(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def rest(self) -> bytes:
        """Return what arrives until the server closes."""
        return self._input.read()

    # Section 6: listing.

    def dir(self, path: str = "", **options: Any) -> Iterator[dict[str, Any]]:
        self.command("dir", path, **options)
        count = 0
        while True:
            kind, payload = self._next_of("LR")
            value = json.loads(payload)
            if kind == "R":
                if value["entries"] != count:
                    raise BrokenServer("it counts wrongly")
                return
            for entry in value:
                _check_name(entry["name"])
                count += 1
                yield entry

    # Section 7.1: get.

    def get(
        self, name: str, kept: bytes = b"", identity: str | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """Return meta and the whole content, of which `kept` was received before."""
        self.command("get", name, offset=len(kept), identity=identity)
        return self.receive(kept)

    def receive(self, kept: bytes = b"") -> tuple[dict[str, Any], bytes]:
        _, head = self._next_of("M")
        meta = json.loads(head)
        content = kept[: meta["offset"]]
        while True:
            kind, payload = self._next_of("DE")
            if kind == "E":
                break
            content += payload
        end = json.loads(payload)
        if end != {**end, "size": len(content), "digest": blake3(content).hexdigest()}:
            raise BrokenServer("the content does not match its digest")
        if end.get("head", digest := blake3(head).hexdigest()) != digest:
            raise BrokenServer("meta is not what was sent")
        if self.reply()["bytes"] != meta["length"]:
            raise BrokenServer("it counts wrongly")
        return meta, content

    # Section 7.2: put.

    def put(self, name: str, content: bytes, **options: Any) -> dict[str, Any]:
        """Send at once; return the receipt."""
        self.command("put", name, size=len(content), **options)
        return self.send_file(content, 0)

    def put_waiting(self, name: str, content: bytes, source: str, **options: Any) -> dict[str, Any]:
        """Send what the server does not have yet of this source; return the receipt."""
        self.command("put", name, size=len(content), source=source, wait=True, **options)
        return self.send_file(content, self.offset())

    def offset(self) -> int:
        """Wait for the server's word where to go on from."""
        return int(self._expect("M")["offset"])

    def send_file(self, content: bytes, offset: int = 0) -> dict[str, Any]:
        self.send_data(content[offset:])
        return self.end_file(content, offset)

    def end_file(self, content: bytes, offset: int = 0) -> dict[str, Any]:
        """Send the end of a file whose content was sent, and return the receipt."""
        digest = blake3(content).hexdigest()
        self._send_end(content)
        receipt = self.reply()
        if (receipt["size"], receipt["digest"], receipt["kept"]) != (len(content), digest, offset):
            raise BrokenServer("the receipt is for something else")
        return receipt

    def _send_end(self, content: bytes) -> None:
        digest = blake3(content).hexdigest()
        self.send(
            "E",
            json.dumps(
                {"size": len(content), "digest": digest, "head": blake3(self._line).hexdigest()}
            ).encode(),
        )

    def send_data(self, content: bytes) -> None:
        step = min(4194304, self.hello["limits"].get("max_chunk_bytes", 4194304))
        for start in range(0, len(content), step):
            self.send("D", content[start : start + step])

    def give_up(self, why: str) -> None:
        """Send an error in place of the end, and take the server's."""
        self.send("X", json.dumps({"code": "aborted", "message": why}).encode())
        self.reply()

    # Section 7.3: put in parts.

    def begin_parts(self, name: str, size: int, source: str) -> tuple[int, str]:
        """Return the offset from which parts are wanted, and their upload word; "" if refused."""
        self.command("put", name, size=size, source=source, wait=True, parts=True)
        meta = self._expect("M")
        return meta["offset"], meta.get("upload", "")

    def send_part(self, name: str, word: str, offset: int, content: bytes) -> None:
        self.command("part", name, upload=word, offset=offset, length=len(content))
        self.send_data(content)
        self._send_end(content)
        if self.reply()["bytes"] != len(content):
            raise BrokenServer("it counts wrongly")

    # Section 8: batches.

    def mput(
        self, files: dict[str, bytes], arrives: Callable[[bytes], bytes] = bytes
    ) -> dict[str, dict[str, Any]]:
        """Send small files in one pack; return the outcome of each by name.

        `arrives` is what a fault makes of the index.
        """
        self.say(b"mput")
        columns = {
            "name": list(files),
            "mtime_ns": [1_700_000_000_000_000_000] * len(files),
            "mode": [0o640] * len(files),
            "size": [len(content) for content in files.values()],
            "digest": [blake3(content).hexdigest() for content in files.values()],
        }
        index = json.dumps(columns).encode()
        self.send(
            "P",
            len(index).to_bytes(4, "big")
            + blake3(index).digest()
            + arrives(index)
            + b"".join(files.values()),
        )
        self.send("F", b"")
        outcomes: dict[str, dict[str, Any]] = {}
        while True:
            kind, payload = self._next_of("OR")
            if kind == "R":
                return outcomes
            for outcome in json.loads(payload):
                if "index" not in outcome:
                    outcomes[outcome["name"]] = outcome
                elif (outcome["index"], outcome["stored"]) == (
                    blake3(index).hexdigest(),
                    len(files),
                ):
                    outcomes.update({name: outcome for name in files})
                else:
                    raise BrokenServer("it acknowledges what was not sent")

    def mget(self, *names: str) -> dict[str, bytes]:
        """Return the content of each of those that arrive in a pack."""
        self.say(b"mget")
        self.send("L", json.dumps(names).encode())
        self.send("F", b"")
        contents: dict[str, bytes] = {}
        while True:
            kind, payload = self._next_of("POR")
            if kind == "R":
                return contents
            if kind == "P":
                contents.update(_unpack(payload))


def _unpack(payload: bytes) -> Iterator[tuple[str, bytes]]:
    """Section 8: a pack."""
    start = 36 + int.from_bytes(payload[:4], "big")
    if blake3(payload[36:start]).digest() != payload[4:36]:
        raise BrokenServer("the index of a pack does not match its digest")
    index = json.loads(payload[36:start])
    for name, size, digest in zip(index["name"], index["size"], index["digest"], strict=True):
        content = payload[start : start + size]
        if blake3(content).hexdigest() != digest:
            raise BrokenServer("the content does not match its digest")
        yield name, content
        start += size


def _check_name(name: str) -> None:
    """Section 5: a client does not trust a server."""
    raw = name.encode("utf-8", "surrogateescape")
    parts = raw.split(b"/")
    if (
        len(raw) > 4096
        or b"\0" in raw
        or any(part in (b"", b".", b"..") or len(part) > 255 for part in parts)
    ):
        raise BrokenServer(f"it lists the name {name!a}")
