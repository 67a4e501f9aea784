"""A real server over a store in memory, a client that sends anything, and a model.

Whatever came before: each command ends in one reply or error, the store equals the model, and the
server still serves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ftransfer.digest import digest_of
from ftransfer.gateways.native.listener import Server
from ftransfer.limits import Limits
from ftransfer.names import ROOT, parse_name
from ftransfer.service.service import ServiceOptions
from ftransfer.service.share import Share
from ftransfer.storage.base import FILE
from ftransfer.storage.memory import MemoryStore
from tests.support.service import RawPeer, end_frame, frame

T = TypeVar("T")

NAMES = st.sampled_from(["a", "b", "c", "c/a", "c/b", "c/d", "c/d/a"])
ODD_NAMES = st.sampled_from(
    [".", "..", "/", "a/", "a//b", "../a", "c/../a", "\0", ".ftransfer/x", "x" * 300]
)
ANY_NAME = NAMES | ODD_NAMES
CONTENT = st.binary(max_size=40)
ODD_LINES = (
    *(
        b"",
        b"get",
        b'get "a',
        b'get "a" []',
        b"\xff\xfe",
        b"nothing a",
        b'mv "a" {}',
        b'get "a" {"offset": -1}',
        b"GET a {",
    ),
    *(b"stat \x00", b'dir "" {"recursive": 1}', b'rm "c" {"recursive": "yes"}'),
)
JUNK = st.binary(max_size=60).map(lambda data: data.replace(b"\n", b" ")) | st.sampled_from(
    ODD_LINES
)
_LIMITS = Limits(idle_s=5, stall_s=5, close_s=0.2)
_WAIT_S = 30


def parent_of(name: str) -> str:
    return name.rpartition("/")[0]


class Sessions(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.folders = {""}
        self._runner = asyncio.Runner()
        self._store = MemoryStore()
        self._server = self._run(
            Server.start(Share(self._store), port=0, options=ServiceOptions(limits=_LIMITS))
        )
        self._peer: RawPeer | None = None

    def teardown(self) -> None:
        self._drop()
        self._run(self._server.stop(grace_s=0))
        self._runner.close()

    # What a client does.

    @rule(name=ANY_NAME, content=CONTENT, pieces=st.integers(1, 3))
    def put(self, name: str, content: bytes, pieces: int) -> None:
        size = max(1, -(-len(content) // pieces))
        chunks = [
            frame(b"D", content[start : start + size]) for start in range(0, len(content), size)
        ]
        kind, value = self._say(
            "put", name, body=b"".join(chunks) + end_frame(len(content), digest_of(content))
        )
        if kind == b"R":
            assert value["digest"] == digest_of(content) and value["size"] == len(content)
            self.files[name] = content
        may = name in POOL and parent_of(name) in self.folders and name not in self.folders
        assert (kind == b"R") is may, (name, value)

    @rule(
        name=NAMES,
        content=CONTENT,
        size=st.integers(0, 50),
        digest=st.sampled_from(["", "0" * 64, "x"]),
    )
    def put_that_does_not_verify(self, name: str, content: bytes, size: int, digest: str) -> None:
        kind, _ = self._say("put", name, body=frame(b"D", content) + end_frame(size, digest))
        assert kind == b"X"

    @rule(name=NAMES, content=CONTENT)
    def put_that_is_given_up(self, name: str, content: bytes) -> None:
        last = frame(b"X", b'{"code":"aborted","message":"no more"}')
        kind, _ = self._say("put", name, {"size": 99}, body=frame(b"D", content) + last)
        assert kind == b"X"

    @rule(name=NAMES, content=CONTENT)
    def put_that_is_cut(self, name: str, content: bytes) -> None:
        self._send("put", name, {"size": 99}, body=frame(b"D", content) + b"D\0")
        self._drop()

    @rule(items=st.lists(st.tuples(ANY_NAME, CONTENT, st.booleans()), max_size=5))
    def mput(self, items: list[tuple[str, bytes, bool]]) -> None:
        index = {
            "name": [name for name, _, _ in items],
            "mtime_ns": [1] * len(items),
            "mode": [420] * len(items),
            "size": [len(content) for _, content, _ in items],
            "digest": [
                digest_of(content) if is_right else "0" * 64 for _, content, is_right in items
            ],
        }
        head = json.dumps(index).encode()
        about = len(head).to_bytes(4) + bytes.fromhex(digest_of(head)) + head
        self._send(
            "mput",
            "",
            body=frame(b"P", about + b"".join(content for _, content, _ in items)) + frame(b"F"),
        )
        kind, value, outcomes = self._hear()
        assert kind == b"R" and value["stored"] + value["failed"] == len(items)
        if outcomes == [{"stored": len(items), "index": digest_of(head)}]:  # one for all
            assert value["failed"] == 0
            outcomes = [{"name": name} for name, _, _ in items]
        for (name, content, is_right), outcome in zip(items, outcomes, strict=True):
            assert outcome["name"] == name
            if "error" not in outcome:
                assert is_right and name in POOL
                self.files[name] = content
                self._note_folders(parent_of(name))
            elif name in POOL and is_right:
                assert name in self.folders or self._is_under_file(name)

    @rule(name=ANY_NAME, offset=st.integers(0, 50))
    def get(self, name: str, offset: int) -> None:
        content = self.files.get(name)
        self._send("get", name, {"offset": offset})
        kind, _, frames = self._hear_frames()
        assert (kind == b"R") is (content is not None and offset <= len(content))
        if content is not None and kind == b"R":
            assert b"".join(payload for sort, payload in frames if sort == b"D") == content[offset:]
            (end,) = [json.loads(payload) for sort, payload in frames if sort == b"E"]
            assert end["digest"] == digest_of(content)

    @rule(names=st.lists(NAMES, max_size=5))
    def mget(self, names: list[str]) -> None:
        self._send("mget", "", body=frame(b"L", json.dumps(names).encode()) + frame(b"F"))
        kind, value, _ = self._hear_frames()
        assert kind == b"R" and value["sent"] + value["failed"] == len(names)
        assert value["sent"] == sum(name in self.files or name in self.folders for name in names)

    @rule(name=ANY_NAME)
    def stat(self, name: str) -> None:
        kind, value = self._say("stat", name)
        if name in POOL:
            assert (kind == b"R") is (name in self.files or name in self.folders)
        if name in self.files:
            assert value["size"] == len(self.files[name])

    @rule(name=ANY_NAME, parents=st.booleans())
    def mkdir(self, name: str, parents: bool) -> None:
        kind, value = self._say("mkdir", name, {"parents": parents})
        if kind == b"R":
            self._note_folders(value["name"])

    @rule(name=ANY_NAME, recursive=st.booleans())
    def rm(self, name: str, recursive: bool) -> None:
        kind, value = self._say("rm", name, {"recursive": recursive})
        if kind == b"R":
            gone = [
                other
                for other in (*self.files, *self.folders)
                if other == name or other.startswith(f"{name}/")
            ]
            gone = [other.rstrip("/") for other in gone] or [name.rstrip("/")]
            for other in gone:
                self.files.pop(other, None)
                self.folders.discard(other)

    @rule(old=NAMES, new=NAMES, replace=st.booleans())
    def mv(self, old: str, new: str, replace: bool) -> None:
        kind, _ = self._say("mv", old, {"to": new, "replace": replace})
        if kind == b"R":
            moved = {
                name: new + name[len(old) :]
                for name in (*self.files, *self.folders)
                if name == old or name.startswith(f"{old}/")
            }
            files = {moved[name]: self.files.pop(name) for name in moved if name in self.files}
            folders = {moved[name] for name in moved if name in self.folders}
            self.folders -= set(moved)
            self.files.update(files)
            self.folders |= folders

    @rule(line=JUNK)
    def junk(self, line: bytes) -> None:
        if line.split(b" ")[0].strip(b"\r").lower() in (
            b"close",
            b"exit",
            b"quit",
            b"put",
            b"mput",
            b"mget",
        ):
            return
        self._talk(line + b"\n")
        kind, _, _ = self._hear_frames()
        assert kind in (b"R", b"X")

    @rule(data=st.binary(min_size=1, max_size=40))
    def junk_for_frames(self, data: bytes) -> None:
        self._send("put", "a", {"size": 1}, body=data)
        self._drop()

    # What holds whatever was said.

    @invariant()
    def store_is_what_the_model_says(self) -> None:
        files, folders = self._run(self._everything())
        assert files == self.files
        assert folders == self.folders

    @invariant()
    def server_lives(self) -> None:
        self._talk(b"help\n")
        assert self._hear_frames()[0] == b"R"

    async def _everything(self) -> tuple[dict[str, bytes], set[str]]:
        # A session that was dropped may still be on its way out, and what it says last must not be
        # waited for by the clock.
        others = [
            task
            for session, task in self._server.sessions.items()
            if session.session.number != self._server.service.session_count
        ]
        if self._peer is None:
            others = list(self._server.sessions.values())
        if others:
            await asyncio.wait(others, timeout=_WAIT_S)
        files, folders = {}, {""}
        async for batch in self._store.scan(ROOT, recursive=True):
            for entry in batch:
                if entry.kind != FILE:
                    folders.add(entry.name)
                    continue
                reader = await self._store.open_read(parse_name(entry.name))
                files[entry.name] = await reader.read(0, 1 << 16)
                await reader.close()
        return files, folders

    # The wire.

    def _say(
        self, verb: str, name: str, options: dict[str, Any] | None = None, body: bytes = b""
    ) -> tuple[bytes, dict[str, Any]]:
        self._send(verb, name, options, body)
        kind, value, _ = self._hear_frames()
        return kind, value

    def _send(
        self, verb: str, name: str, options: dict[str, Any] | None = None, body: bytes = b""
    ) -> None:
        self._talk(f"{verb} {json.dumps(name)} {json.dumps(options or {})}\n".encode() + body)

    def _talk(self, data: bytes) -> None:
        async def talk() -> None:
            if self._peer is None:
                self._peer = RawPeer(*await asyncio.open_connection(*self._server.addresses[0]))
                kind, _ = await self._peer.frame()
                assert kind == b"H"
            await self._peer.send(data)

        self._run(talk())

    def _hear(self) -> tuple[bytes, dict[str, Any], list[dict[str, Any]]]:
        kind, value, frames = self._hear_frames()
        return (
            kind,
            value,
            [item for sort, payload in frames if sort == b"O" for item in json.loads(payload)],
        )

    def _hear_frames(self) -> tuple[bytes, dict[str, Any], list[tuple[bytes, bytes]]]:
        async def hear() -> tuple[bytes, dict[str, Any], list[tuple[bytes, bytes]]]:
            assert self._peer is not None
            frames: list[tuple[bytes, bytes]] = []
            async with asyncio.timeout(_WAIT_S):
                while True:
                    kind, payload = await self._peer.frame()
                    assert kind, "the server hung up"
                    if kind in (b"R", b"X"):
                        return kind, json.loads(payload), frames
                    frames.append((kind, payload))

        return self._run(hear())

    def _drop(self) -> None:
        async def drop() -> None:
            assert self._peer is not None
            self._peer.writer.close()
            await asyncio.wait([asyncio.ensure_future(self._peer.writer.wait_closed())])

        if self._peer is not None:
            self._run(drop())
            self._peer = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def _note_folders(self, name: str) -> None:
        while name:
            self.folders.add(name)
            name = parent_of(name)

    def _is_under_file(self, name: str) -> bool:
        parts = name.split("/")
        return any("/".join(parts[:count]) in self.files for count in range(1, len(parts)))


POOL = frozenset(["a", "b", "c", "c/a", "c/b", "c/d", "c/d/a"])
TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
