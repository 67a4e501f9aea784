"""What a server must not do to a client: it reads one clear error, and nothing is written."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ftransfer.client.client import Client, connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.digest import digest_of
from ftransfer.errors import (
    CannotConnect,
    Closed,
    DigestMismatch,
    FtransferError,
    NameRefused,
    RemoteProtocolError,
    TimedOut,
    Truncated,
)
from ftransfer.limits import Limits
from tests.support.service import end_frame, fake_server, frame, free_port

HELLO = frame(b"H", b'{"protocol":1}')
META = frame(
    b"M", b'{"name":"x","size":5,"mtime_ns":1,"mode":420,"identity":"i","offset":0,"length":5}'
)
DIGEST = digest_of(b"hello")
SENT = frame(b"R", b'{"bytes":5}')
PATIENT = Limits(close_s=0.1)


def once(host: str, port: int, *, limits: Limits = PATIENT, direct: bool = True) -> Client:
    return connect(host, port, retry=NO_RETRY, limits=limits, direct=direct)


async def meet(
    said: bytes,
    do: Callable[[Client], Awaitable[object]],
    *,
    then_close: bool = False,
    direct: bool = True,
    limits: Limits = PATIENT,
) -> FtransferError:
    """Return the error that a client meets with a server that sends these bytes."""
    async with fake_server(said, then_close=then_close) as address:
        with pytest.raises(FtransferError) as caught:
            async with once(*address, direct=direct, limits=limits) as client:
                await do(client)
    assert "\n" not in str(caught.value) and str(caught.value)
    return caught.value


async def test_nobody_listens() -> None:
    with pytest.raises(CannotConnect, match="refuses connections"):
        async with once("127.0.0.1", free_port()):
            pass


async def test_unknown_host() -> None:
    with pytest.raises(CannotConnect, match=r"no host is named|cannot connect"):
        async with once("no-such-host.invalid", 9021):
            pass


async def test_port_out_of_range() -> None:
    with pytest.raises(CannotConnect, match="not a port"):
        async with once("127.0.0.1", 70000):
            pass


@pytest.mark.parametrize(
    ("said", "match"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "not an ftransfer server; it says: SSH-2.0"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not an ftransfer server|did not greet"),
        (b"220 ftp ready\r\n", "not an ftransfer server; it says: 220 ftp"),
        (b"\x1b[31mboo\r\n", r"it says: \\x1b\[31mboo"),
        (frame(b"H", b'{"protocol":2}'), "speaks protocol 2"),
        (frame(b"H", b"{}"), "not an ftransfer server"),
        (frame(b"R", b"{}"), "not an ftransfer server"),
        (
            frame(b"H", b'{"protocol":1,"limits":{"max_chunk_bytes":100}}'),
            "announces max_chunk_bytes 100; every",
        ),
        (
            frame(b"H", b'{"protocol":1,"limits":{"max_line_bytes":0}}'),
            "announces max_line_bytes 0; every server must take 256",
        ),
        (
            frame(b"H", b'{"protocol":1,"limits":{"max_json_bytes":4095}}'),
            "announces max_json_bytes 4095",
        ),
        (b"", "does not greet"),
    ],
)
async def test_server_that_speaks_something_else(said: bytes, match: str) -> None:
    async with fake_server(said) as address:
        with pytest.raises(CannotConnect, match=match):
            async with once(*address, limits=PATIENT if said else Limits(connect_s=1.5)):
                pass


async def test_server_that_closes_before_its_greeting() -> None:
    async with fake_server(then_close=True) as address:
        with pytest.raises(CannotConnect, match="before its greeting"):
            async with once(*address):
                pass


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (META + frame(b"D", b"hellO") + end_frame(5, DIGEST, META) + SENT, DigestMismatch),
        (META + frame(b"D", b"hello") + end_frame(5, DIGEST, HELLO) + SENT, DigestMismatch),
        (META + frame(b"D", b"hello") + end_frame(5, DIGEST) + SENT, RemoteProtocolError),
        (META + frame(b"D", b"hello") + end_frame(6, DIGEST, META) + SENT, RemoteProtocolError),
        (
            META + frame(b"D", b"hello") + end_frame(5, DIGEST, META) + frame(b"R", b"{}"),
            RemoteProtocolError,
        ),
        (
            META
            + frame(b"D", b"hello")
            + end_frame(5, DIGEST, META)
            + frame(b"R", b'{"bytes":99}'),
            RemoteProtocolError,
        ),
        (
            META
            + frame(b"D", b"hello")
            + end_frame(5, DIGEST, META).replace(b'"head"', b'"hfad"')
            + SENT,
            RemoteProtocolError,
        ),
        (META + frame(b"D", b"hel") + end_frame(3, digest_of(b"hel"), META) + SENT, Truncated),
        (
            META + frame(b"D", b"hello!") + end_frame(6, digest_of(b"hello!"), META) + SENT,
            Truncated,
        ),
        (META + frame(b"D", b"hel"), TimedOut),
        (META, TimedOut),
        (META + b"D\x00\x00\x00\x05he", TimedOut),
        (frame(b"D", b"hello"), RemoteProtocolError),
        (
            META.replace(b'"x"', b'"y"')
            + frame(b"D", b"hello")
            + end_frame(5, DIGEST, META)
            + SENT,
            RemoteProtocolError,
        ),
        (frame(b"M", b'{"name":"x","size":5,"offset":3,"length":2}'), RemoteProtocolError),
        (frame(b"M", b'{"name":"x","size":5,"offset":0,"length":6}'), RemoteProtocolError),
        (frame(b"M", b'{"name":"x","size":-5}'), RemoteProtocolError),
        (META + b"D\xff\xff\xff\xff", RemoteProtocolError),
        (META + frame(b"L", b"[]"), RemoteProtocolError),
        (frame(b"R", b"{}"), RemoteProtocolError),
        (frame(b"X", b'{"code":"some_new_code","message":"no"}'), FtransferError),
    ],
)
@pytest.mark.parametrize("direct", [True, False])
async def test_get_from_a_server_that_lies_writes_nothing(
    tmp_path: Path, said: bytes, error: type[FtransferError], direct: bool
) -> None:
    limits = Limits(stall_s=0.3, close_s=0.1) if error is TimedOut else PATIENT
    met = await meet(
        HELLO + said, lambda client: client.get("x", tmp_path), direct=direct, limits=limits
    )
    assert isinstance(met, error)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("direct", [True, False])
async def test_server_that_goes_away_at_any_byte_of_a_get(tmp_path: Path, direct: bool) -> None:
    answer = META + frame(b"D", b"hello") + end_frame(5, DIGEST, META)
    for length in range(len(answer)):
        met = await meet(
            HELLO + answer[:length],
            lambda client: client.get("x", tmp_path),
            then_close=True,
            direct=direct,
        )
        assert isinstance(met, Closed)
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"name": "../x", "kind": "file"}, NameRefused),
        ({"name": "/etc/passwd", "kind": "file"}, NameRefused),
        ({"name": "a/../../x", "kind": "file"}, NameRefused),
        ({"name": "", "kind": "file"}, NameRefused),
        ({"name": "other/x", "kind": "file"}, RemoteProtocolError),
        ({"name": "in", "kind": "dir"}, RemoteProtocolError),
        ({"name": "in/x", "kind": "socket"}, RemoteProtocolError),
        ({"name": "in/x", "kind": "file", "size": -1}, RemoteProtocolError),
        ({"name": 5, "kind": "file"}, RemoteProtocolError),
        ("in/x", RemoteProtocolError),
    ],
)
async def test_listing_of_a_server_that_lies(entry: object, error: type[FtransferError]) -> None:
    said = HELLO + frame(b"L", json.dumps([entry]).encode()) + frame(b"R", b"{}")
    assert isinstance(await meet(said, lambda client: client.dir("in")), error)


@pytest.mark.parametrize(
    ("name", "size", "digest"), [("x", 5, digest_of(b"other")), ("x", 6, DIGEST), ("y", 5, DIGEST)]
)
async def test_put_acknowledged_for_another_file_is_not_believed(
    tmp_path: Path, name: str, size: int, digest: str
) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    receipt = {"name": name, "size": size, "digest": digest, "mtime_ns": 1, "durable": True}
    met = await meet(
        HELLO + frame(b"R", json.dumps(receipt).encode()), lambda client: client.put(tmp_path / "x")
    )
    assert isinstance(met, RemoteProtocolError)


async def test_cancelled_get_leaves_nothing_behind(tmp_path: Path) -> None:
    async with fake_server(HELLO + META + frame(b"D", b"hel")) as address:
        async with connect(*address) as client:
            moving = asyncio.Event()
            task = asyncio.create_task(
                client.get("x", tmp_path, progress=lambda p: moving.set() if p.done else None)
            )
            await moving.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert client.is_closed
    assert list(tmp_path.iterdir()) == []


BEAT = frame(b"V", b'{"event":"heartbeat"}')
IMPATIENT = Limits(connect_s=10, stall_s=5, quiet_s=0.5, work_s=0.5, close_s=0.1)


@contextlib.asynccontextmanager
async def endless_server(first: bytes, again: bytes) -> AsyncIterator[tuple[str, int]]:
    """A server that answers with `first`, then sends `again` as often as the client reads it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(HELLO + first)
            while not reader.at_eof():
                writer.write(again)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await reader.read(1000)
        writer.transport.abort()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[:2]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    ("first", "again", "verb"),
    [
        (b"", BEAT, "get"),
        (META, BEAT, "get"),
        (META, frame(b"D"), "get"),
        (META + frame(b"D", b"hel"), frame(b"D"), "get"),
        (META + frame(b"D", b"hel"), frame(b"V", b'{"event":"of the future"}'), "get"),
        (META + frame(b"D", b"hello") + end_frame(5, DIGEST, META), BEAT, "get"),
        (b"", frame(b"L", b"[]"), "dir"),
        (b"", BEAT, "dir"),
        (b"", BEAT, "stat"),
        (b"", BEAT, "checksum"),
        (b"", BEAT, "put"),
    ],
)
async def test_signs_of_life_alone_are_not_waited_for_without_end(
    tmp_path: Path, first: bytes, again: bytes, verb: str, direct: bool
) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    do: dict[str, Callable[[Client], Awaitable[object]]] = {
        "get": lambda client: client.get("x", tmp_path / "y"),
        "put": lambda client: client.put(tmp_path / "x"),
        "dir": lambda client: client.dir(),
        "stat": lambda client: client.stat("x"),
        "checksum": lambda client: client.checksum("x"),
    }
    async with endless_server(first, again) as address:
        with pytest.raises(TimedOut, match="signs of life|heartbeats"):
            async with connect(*address, retry=NO_RETRY, limits=IMPATIENT, direct=direct) as client:
                await do[verb](client)
    assert not (tmp_path / "y").exists()
