"""No session gets more than a turn of the event loop, however much input it has sent.

And every deadline holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.auth.admission import Admission
from ftransfer.digest import digest_of
from ftransfer.gateways.native.listener import Server
from ftransfer.limits import Limits
from ftransfer.protocol.commands import VERBS, Body
from ftransfer.service.audit import Audit
from ftransfer.service.share import Share
from ftransfer.storage.memory import MemoryStore
from tests.support.certificates import own_tls
from tests.support.meter import Meter, metered
from tests.support.service import RawPeer, Service, frame, raw_peer, serve

# A turn is a millisecond; a single command, a collection of garbage or a cold cache may add to it.
# Without turns it would be the whole flood, of at least this many bytes.
LONGEST_S = 0.1
FLOOD_BYTES = 400_000

ABORT = frame(b"X", b'{"code":"aborted","message":""}')
_ENDS = {
    Body.NONE: b"",
    Body.FILE: frame(b"D") + ABORT,
    Body.NAMES: frame(b"L", b"[]") + frame(b"F"),
    Body.PACKS: frame(b"F"),
}
_OPTIONS = {"upload": "x", "offset": 0, "length": 1, "to": "y", "secret": "s"}
# A refusal on the loop, for each verb, is the fastest that it can be answered; `say` and `tell` are
# slowed, and `close` is the end.
_REFUSED = "../x"


def once(word: str) -> bytes:
    """Return one command, with what follows it."""
    verb = VERBS[word]
    argument = _REFUSED if verb.takes_argument else ""
    options = {key: _OPTIONS[key] for key in verb.needs}
    line = f"{word} {json.dumps(argument)} {json.dumps(options)}\n" if argument else f"{word}\n"
    return line.encode() + _ENDS[verb.body]


_PIPELINED = {word: (b"", once(word)) for word in VERBS if word not in ("close", "login")}
FLOODS = _PIPELINED | {
    "empty lines": (b"", b"\n"),
    "unknown verbs": (b"", b"nope\n"),
    "lines that are not understood": (b"", b'stat "\n'),
    "listings": (b"", b"dir\n"),
    "lines after listen": (b"listen\n", b"\n"),
    "heartbeats in a put": (b"put flooded\n", frame(b"D")),
    "frames of one byte in a put": (b"put flooded\n", frame(b"D", b"x")),
    "heartbeats after a refusal": (b"put ../x\n", frame(b"D")),
    "frames of one byte after a refusal": (b"put ../x\n", frame(b"D", b"x")),
    "names": (b"mget\n", frame(b"L", b"[]")),
    "names that are not there": (b"mget\n", frame(b"L", b'["a"]')),
    "packs": (b"mput\n", frame(b"P", b"x")),
}
_FEW = [
    FLOODS[name]
    for name in (
        "help",
        "empty lines",
        "heartbeats in a put",
        "heartbeats after a refusal",
        "names",
    )
]


@contextlib.asynccontextmanager
async def flooded(service: Service, begin: bytes, unit: bytes) -> AsyncIterator[None]:
    """Have a peer say the same without end, and read what it is told, while the block runs."""
    async with service.peer() as peer, flooding(peer, begin, unit):
        yield


@contextlib.asynccontextmanager
async def flooding(peer: RawPeer, begin: bytes, unit: bytes) -> AsyncIterator[None]:
    await peer.send(begin)
    tasks = [asyncio.create_task(_say(peer, unit)), asyncio.create_task(_read(peer))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        peer.writer.transport.abort()


async def _say(peer: RawPeer, unit: bytes) -> None:
    data = unit * (FLOOD_BYTES // len(unit))
    with contextlib.suppress(ConnectionError):
        while not peer.writer.is_closing():
            await peer.send(data)
            await asyncio.sleep(0)


async def _read(peer: RawPeer) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            if not await peer.reader.read(1 << 20):
                return
            await asyncio.sleep(0)


@contextlib.contextmanager
def fair_turns(meter: Meter) -> Iterator[None]:
    """Fail if the server has too long a turn in the block.

    Garbage of earlier tests is collected first, since that would be such a turn.
    """
    gc.collect()
    gc.freeze()
    meter.reset()
    try:
        yield
    finally:
        gc.unfreeze()
    assert meter.longest_s < LONGEST_S, f"{meter.longest_s:.3f} s in {meter.longest}"
    assert meter.turns > 20


async def answered(peer: RawPeer, times: int) -> None:
    for _ in range(times):
        await peer.send(b"stat .\n")
        assert (await peer.json())[0] == b"R"


@pytest.mark.parametrize(("begin", "unit"), FLOODS.values(), ids=FLOODS)
async def test_others_are_answered_while_one_peer_says_without_end(
    tmp_path: Path, begin: bytes, unit: bytes
) -> None:
    async with metered(tmp_path) as (service, meter), service.peer() as honest:
        with fair_turns(meter):
            async with flooded(service, begin, unit):
                await answered(honest, 20)


@pytest.mark.parametrize(("begin", "unit"), _FEW)
async def test_others_are_answered_through_streams_as_well(
    tmp_path: Path, begin: bytes, unit: bytes
) -> None:
    async with metered(tmp_path, direct=False) as (service, meter), service.peer() as honest:
        with fair_turns(meter):
            async with flooded(service, begin, unit):
                await answered(honest, 20)


@pytest.mark.parametrize("direct", [True, False], ids=["sockets", "streams"])
@pytest.mark.parametrize(("begin", "unit"), _FEW)
async def test_others_are_answered_over_tls_as_well(
    tmp_path: Path, begin: bytes, unit: bytes, direct: bool
) -> None:
    async with metered(tmp_path, direct=direct, tls=own_tls(tmp_path)) as (service, meter):
        async with tls_peer(service) as honest, tls_peer(service) as peer:
            with fair_turns(meter):
                async with flooding(peer, begin, unit):
                    await answered(honest, 20)


@contextlib.asynccontextmanager
async def tls_peer(service: Service) -> AsyncIterator[RawPeer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    peer = RawPeer(*await asyncio.open_connection(*service.address, ssl=context))
    assert (await peer.frame())[0] == b"H"
    try:
        yield peer
    finally:
        peer.writer.transport.abort()


@pytest.mark.parametrize("direct", [True, False], ids=["sockets", "streams"])
@pytest.mark.parametrize(("begin", "unit"), _FEW)
async def test_server_stops_while_a_peer_says_without_end(
    tmp_path: Path, begin: bytes, unit: bytes, direct: bool
) -> None:
    async with serve(tmp_path, direct=direct) as service:
        async with flooded(service, begin, unit):
            async with asyncio.timeout(30):
                await service.server.stop(grace_s=0.1)
            assert not service.server.sessions


async def test_store_that_never_suspends_holds_up_nobody() -> None:
    server = await Server.start(Share(MemoryStore()), port=0)
    try:
        async with raw_peer(*server.addresses[0]) as honest, raw_peer(*server.addresses[0]) as peer:
            assert (await honest.frame())[0] == b"H"
            await peer.send(
                b"".join(b"mkdir d%d\n" % number for number in range(3000)) + b"dir\n" * 3000
            )
            count = 0

            async def read() -> None:
                nonlocal count
                while (await peer.frame())[0]:
                    count += 1

            reading = asyncio.create_task(read())
            await answered(honest, 20)
            assert count < 6000, "all of it was carried out first"
            reading.cancel()
    finally:
        await server.stop(grace_s=0)


# Deadlines, against a peer that always has something to say.

DIRECT = pytest.mark.parametrize("direct", [True, False], ids=["sockets", "streams"])


async def last_error(peer: RawPeer) -> str:
    """Return the code of the error after which the connection ends."""
    code = ""
    while (heard := await peer.frame()) != (b"", b""):
        if heard[0] == b"X":
            code = json.loads(heard[1])["code"]
    return code


@DIRECT
@pytest.mark.parametrize(
    ("begin", "unit", "limits"),
    [
        (b"", b"\n", Limits(idle_s=0.3, close_s=0.2)),
        (b"", b"nope\n", Limits(idle_s=0.3, close_s=0.2)),
        (b"put x\n", frame(b"D"), Limits(stall_s=0.1, quiet_s=0.3, close_s=0.2)),
        (b"put ../x\n", frame(b"D"), Limits(stall_s=0.1, quiet_s=0.3, close_s=0.2)),
        (b"mget\n", frame(b"L", b"[]"), Limits(stall_s=0.1, quiet_s=0.3, close_s=0.2)),
    ],
    ids=[
        "empty lines",
        "unknown verbs",
        "heartbeats",
        "heartbeats after a refusal",
        "lists of no names",
    ],
)
async def test_peer_that_says_nothing_of_use_is_ended_in_time(
    tmp_path: Path, begin: bytes, unit: bytes, limits: Limits, direct: bool
) -> None:
    async with serve(tmp_path, limits=limits, direct=direct) as service, service.peer() as peer:
        await peer.send(begin)
        saying = asyncio.create_task(_say(peer, unit))
        async with asyncio.timeout(60):
            assert await last_error(peer) == "timed_out"
        saying.cancel()
        await asyncio.wait([saying])


async def test_empty_frames_cost_whoever_sends_them_no_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = 0
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def counting(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
        nonlocal timers
        timers += 1
        return call_at(*arguments, **options)

    async with serve(tmp_path) as service, service.peer() as peer:
        line = b"put name"
        end = {"size": 2, "digest": digest_of(b"hi"), "head": digest_of(line)}
        content = frame(b"D") * 1000 + frame(b"D", b"hi") + frame(b"D") * 1000
        monkeypatch.setattr(loop, "call_at", counting)
        await peer.send(line + b"\n" + content + frame(b"E", json.dumps(end).encode()))
        while (kind := (await peer.frame())[0]) == b"V":
            pass
    assert kind == b"R"
    assert timers < 500  # one for each of them if it had to pause


@DIRECT
async def test_names_that_trickle_are_too_little(tmp_path: Path, direct: bool) -> None:
    limits = Limits(stall_s=0.3, min_progress_bytes=1000, close_s=0.2)
    async with serve(tmp_path, limits=limits, direct=direct) as service, service.peer() as peer:
        await peer.send(b"mget\n" + frame(b"L", bytes(1000))[:6])

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await peer.send(b" ")
                    await asyncio.sleep(0.02)  # what is tried is the passing of time itself

        trickling = asyncio.create_task(trickle())
        async with asyncio.timeout(60):
            assert await last_error(peer) == "timed_out"
        trickling.cancel()
        await asyncio.wait([trickling])


@DIRECT
@pytest.mark.parametrize("line", [b"help\n", b"\n", b"dir\n"])
async def test_before_a_login_that_must_be_few_lines_may_be_said(
    tmp_path: Path, line: bytes, direct: bool
) -> None:
    async with (
        serve(tmp_path, admission=Admission(token="right"), direct=direct) as service,
        service.peer() as peer,
    ):
        await peer.send(line * 17)
        said = [(await peer.json())[0] for _ in range(16)]
        assert said == [b"R" if line == b"help\n" else b"X"] * 16
        assert await peer.error() == "protocol"
        assert await peer.is_at_end()


async def test_lines_before_a_login_do_not_count_after_it(tmp_path: Path) -> None:
    async with (
        serve(tmp_path, admission=Admission(token="right")) as service,
        service.peer() as peer,
    ):
        await peer.send(b"help\n" * 15 + b'login "" {"secret":"right"}\n' + b"help\n" * 30)
        for _ in range(46):
            assert (await peer.json())[0] == b"R"


async def test_bad_lines_before_a_login_are_held_against_the_peer_from_the_third_on(
    tmp_path: Path,
) -> None:
    async with (
        serve(tmp_path, admission=Admission(token="right")) as service,
        service.peer() as peer,
    ):
        penalties = service.server.service.limiter.penalties
        await peer.send(b"\n\n")
        assert [await peer.error() for _ in range(2)] == ["unknown_verb"] * 2
        assert len(penalties) == 0
        await peer.send(b"\n")
        assert await peer.error() == "unknown_verb"
        assert len(penalties) == 1


# What it costs the owner's disk.


@pytest.mark.parametrize("line", [b"\n", b"nope\n", b"help\n", b'stat "\n', b"mkdir ../x\n"])
async def test_lines_of_one_session_are_counted_and_not_each_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "audit"
    audit = Audit.open(str(path), lambda: 0.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with serve(tmp_path, audit=audit) as service, service.peer() as peer:
        await peer.send(line * 3000)
        for _ in range(3000):
            await peer.frame()
    seconds = loop.time() - began
    audit.close()
    records = [json.loads(record) for record in path.read_text().splitlines()]
    for written in (len(caplog.records), len(records)):
        assert written <= 12 * (seconds + 2) + 10
    if line != b"help\n":
        assert sum(record.get("records", 1) for record in records) == 3000
    assert "more lines" in caplog.text


async def test_connections_of_one_source_are_counted_and_not_each_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with serve(tmp_path) as service:
        for _ in range(300):
            async with service.peer() as peer:
                await peer.send(b"nope\n")
                await peer.error()
        await service.all_gone()
    # Ten sessions in a second have lines of their own
    assert len(caplog.records) <= 12 * (loop.time() - began + 2) + 100 + 10
    assert "127.0.0.1: " in caplog.text
