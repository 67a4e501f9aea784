"""The worst requests for each verb: the suite counts their cost, `make soak` who notices.

An attack is what one session sends without end. It is prepared for a number of sessions on disk, at
a size: 1 for the suite, more for the soak.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from ftransfer.auth.admission import Admission
from ftransfer.auth.permissions import Allowance, Grant, Principal, parse_rights
from ftransfer.names import ROOT
from ftransfer.service.memory_budget import ContentMemory
from ftransfer.service.quota_limits import QuotaLimits
from tests.support.service import RawPeer, frame

Said = Callable[[], None]  # called when the server has taken, or answered, what costs it something
# (peer, which of the sessions, size, said)
Say = Callable[[RawPeer, int, int, Said], Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """`sessions` is for the suite; the soak has twenty, or `crowd` of them."""

    say: Say
    # (root, sessions, size)
    prepare: Callable[[Path, int, int], None] = lambda root, sessions, size: None
    options: Callable[[], dict[str, Any]] = dict  # for the server
    sessions: int = 4
    crowd: int = 20
    # Before a test of it says anything: so many answers, over all sessions, and what is true of the
    # server's memory.
    least: int = 4
    reached: Callable[[ContentMemory], bool] = lambda memory: True


def command(verb: str, argument: str = "", **options: Any) -> bytes:
    line = f"{verb} {json.dumps(argument)} {json.dumps(options)}" if argument or options else verb
    return f"{line}\n".encode()


def pack(names: list[str], kind: str = "dir", content: bytes = b"") -> bytes:
    """A pack frame by hand."""
    count = len(names)
    digest = blake3(content).hexdigest() if kind == "file" else ""
    columns = {
        "name": names,
        "kind": [kind] * count,
        "target": [""] * count,
        "size": [len(content)] * count,
    }
    columns |= {"digest": [digest] * count, "mtime_ns": [0] * count, "mode": [0o755] * count}
    index = json.dumps(columns).encode()
    return frame(b"P", len(index).to_bytes(4) + blake3(index).digest() + index + content * count)


async def hear(peer: RawPeer, said: Said) -> None:
    """Read to the end of the connection; what is not just a sign of life counts."""
    while True:
        kind, _ = await peer.frame()
        if not kind:
            return
        if kind != b"V":
            said()


async def replies(peer: RawPeer, count: int) -> None:
    """Read until so many commands are answered."""
    while count:
        kind, _ = await peer.frame()
        if not kind:
            raise ConnectionError
        count -= kind in (b"R", b"X")


# What is said; an @ in bytes stands for the number of the session, as a function may
Part = bytes | Callable[[int], bytes]


def filled(part: Part, number: int) -> bytes:
    return part(number) if callable(part) else part.replace(b"@", str(number).encode())


def saying(*parts: Part, begin: bytes = b"", ahead: int = 8) -> Say:
    """Send the same bytes repeatedly, `ahead` of the answers."""

    async def say(peer: RawPeer, number: int, size: int, said: Said) -> None:
        data = b"".join(filled(part, number) * ahead for part in parts)
        reading = asyncio.create_task(hear(peer, said))
        try:
            await peer.send(filled(begin, number))
            while not reading.done():
                await peer.send(data)
                await asyncio.sleep(0)
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    return say


def asking(*lines: bytes, ahead: int = 1) -> Say:
    """Ask the same again and again, and wait for the answers."""

    async def say(peer: RawPeer, number: int, size: int, said: Said) -> None:
        while True:
            for line in lines:
                await peer.send(filled(line, number) * ahead)
                await replies(peer, ahead)
                said()

    return say


def once(begin: bytes) -> Say:
    """Send once, read nothing, and stay."""

    async def say(peer: RawPeer, number: int, size: int, said: Said) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a ReadTransport in truth
        peer.writer.write(filled(begin, number))
        said()
        await asyncio.Event().wait()

    return say


# What lies on the disk.


def large_files(root: Path, sessions: int, size: int) -> None:
    for number in range(sessions):
        with (root / f"large{number}").open("wb") as file:
            file.truncate(size << 25)


def flat_tree(root: Path, sessions: int, size: int) -> None:
    (root / "flat").mkdir()
    for number in range(1000 * size):
        (root / "flat" / f"{number:06}").touch()


def deep_tree(root: Path, sessions: int, size: int) -> None:
    """Deeper than the interpreter recurses, made from the inside out since no path is so long."""
    make_deep(root, "deep", 1200 * size)


def make_deep(root: Path, name: str, depth: int) -> None:
    here = os.open(root, os.O_RDONLY)
    for level in range(depth):
        last = name if not level else "d"
        os.mkdir(last, dir_fd=here)
        below = os.open(last, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def trees_to_remove(root: Path, sessions: int, size: int) -> None:
    for number in range(sessions):
        make_deep(root, f"deep{number}", 300 * size)
        (root / f"wide{number}").mkdir()
        for each in range(300 * size):
            (root / f"wide{number}" / f"{each}").mkdir()


def tree_of_content(root: Path, sessions: int, size: int) -> None:
    (root / "content").mkdir()
    for number in range(40):
        (root / "content" / f"{number}").write_bytes(os.urandom(1 << 20))
    (root / "one").write_bytes(bytes(64 << 20))


# What the server is started with.


def may_only_read() -> dict[str, Any]:
    return {
        "admission": Admission(
            anonymous=Principal("", (Grant(ROOT, parse_rights("read")),), is_anonymous=True)
        )
    }


def quota_of_bytes() -> dict[str, Any]:
    return {"quota_limits": QuotaLimits(all=Allowance(quota_bytes=1 << 30))}


def quota_of_files() -> dict[str, Any]:
    return {"quota_limits": QuotaLimits(all=Allowance(quota_files=500))}


def guarded() -> dict[str, Any]:
    from ftransfer.auth.passwords import hash_password
    from ftransfer.auth.users import User

    user = User("ann", hash_password("word"), (Grant(ROOT, parse_rights("all")),))
    anybody = Principal("", (Grant(ROOT, parse_rights("read")),), is_anonymous=True)
    return {"admission": Admission(users={"ann": user}, anonymous=anybody)}


def many(number: int) -> list[str]:
    return [f"many{number}/{each}" for each in range(2000)]


_WATCHES = b"listen\n" + b"".join(command("watch", f"watched/{number}") for number in range(16))


async def watch_while_folders_go(peer: RawPeer, number: int, size: int, said: Said) -> None:
    if number:
        await peer.send(_WATCHES)
        await hear(peer, lambda: None)
        return
    while True:
        names = [f"watched/{each % 16}/{each}" for each in range(500 * size)]
        await peer.send(b"mput\n")
        for start in range(0, len(names), 500):
            await peer.send(pack(names[start : start + 500]))
        await peer.send(frame(b"F"))
        await replies(peer, 1)
        for each in range(16):
            await peer.send(command("rm", f"watched/{each}", recursive=True))
        await replies(peer, 16)
        said()


ATTACKS: dict[str, Attack] = {
    "packs of many items": Attack(
        saying(lambda number: pack(many(number)), begin=b"mput\n", ahead=1), least=1
    ),
    "packs of many items, with a quota": Attack(
        saying(lambda number: pack(many(number)), begin=b"mput\n", ahead=1),
        options=quota_of_bytes,
        least=1,
    ),
    "packs of many items, without the right": Attack(
        saying(lambda number: pack(many(number)), begin=b"mput\n", ahead=1),
        options=may_only_read,
        least=4,
    ),
    "many files, with a quota of files": Attack(
        saying(lambda number: pack(many(number), "file"), begin=b"mput\n", ahead=1),
        options=quota_of_files,
        least=1,
    ),
    "lists of names": Attack(
        saying(
            lambda number: frame(b"L", json.dumps(many(number)).encode()), begin=b"mget\n", ahead=1
        )
    ),
    "half a pack": Attack(
        once(b"mput\n" + frame(b"P", bytes(4 << 20))[: 2 << 20]),
        sessions=30,
        crowd=250,
        reached=lambda memory: memory.packs.most >= 4 << 20,
    ),
    "half a list of names": Attack(
        once(b"mget\n" + frame(b"L", b'["' + bytes(1_000_000))[: 1 << 19]),
        sessions=30,
        crowd=250,
        reached=lambda memory: memory.names.most >= 900_000,
    ),
    "readers that do not read": Attack(
        once(command("mget", "content", recursive=True) + frame(b"F")),
        tree_of_content,
        sessions=30,
        crowd=250,
        reached=lambda memory: memory.packs.most >= 4 << 20,
    ),
    "gets that are not read": Attack(
        once(command("get", "one")),
        tree_of_content,
        sessions=30,
        crowd=250,
        reached=lambda memory: memory.blocks.most >= 4 << 20,
    ),
    "put if_match on a large file": Attack(
        asking(command("put", "large@", size=1, if_match="0" * 64, wait=True), ahead=1), large_files
    ),
    "rm of deep and wide trees": Attack(
        asking(command("rm", "deep@", recursive=True), command("rm", "wide@", recursive=True)),
        trees_to_remove,
    ),
    "checksum of large files": Attack(asking(command("checksum", "large@")), large_files),
    "folders that go under many watches": Attack(watch_while_folders_go, sessions=5, least=1),
    "a tree too deep to recurse": Attack(
        asking(
            command("dir", "deep", recursive=True),
            command("dir", "deep", recursive=True, spans=True),
            command("watch", "deep"),
            command("mget", "deep", recursive=True) + frame(b"F"),
        ),
        deep_tree,
    ),
    "announced sizes": Attack(
        once(command("put", "announced@", size=1 << 40, wait=True)), sessions=8
    ),
    "logins": Attack(asking(command("login", "ann", secret="guess")), options=guarded),
    "listings": Attack(
        asking(command("dir", "flat"), command("dir", "flat", recursive=True)), flat_tree
    ),
    "spans": Attack(asking(command("dir", "flat", recursive=True, spans=True)), flat_tree),
    "empty lines": Attack(saying(b"\n" * 1000)),
    "heartbeats of a put": Attack(saying(frame(b"D") * 1000, begin=b"put beats@\n"), least=0),
    "help": Attack(saying(b"help\n" * 100)),
}


@contextlib.asynccontextmanager
async def under(
    attack: Attack,
    connect: Callable[[], contextlib.AbstractAsyncContextManager[RawPeer]],
    count: int,
    size: int,
) -> AsyncIterator[Callable[[], int]]:
    """Have `count` sessions attack while the block runs; a session that was ended comes again.

    Yields a function that returns how often they have sent what costs the server something.
    """
    times = 0

    def said() -> None:
        nonlocal times
        times += 1

    async def go_on(number: int) -> None:
        while True:
            with contextlib.suppress(ConnectionError, AssertionError):
                async with connect() as peer:
                    try:
                        await attack.say(peer, number, size, said)
                    finally:
                        peer.writer.transport.abort()
            await asyncio.sleep(0.05)  # penalties, and places that are taken

    tasks = [asyncio.create_task(go_on(number)) for number in range(count)]
    try:
        yield lambda: times
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
