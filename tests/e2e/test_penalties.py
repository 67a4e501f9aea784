"""Repeated failures are refused for a while, and audited: real sessions, other addresses."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ftransfer.auth.admission import Admission
from ftransfer.gateways.native.listener import Server
from ftransfer.service.audit import Audit
from ftransfer.transport import Transport
from tests.support.certificates import own_tls
from tests.support.service import RawPeer, raw_peer, serve

LOGIN = b'login "" {"secret": "wrong"}\n'
NO_HANDSHAKE = b"\x16\x03\x01\x00\x05hello"


@pytest.fixture
def come_from(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the server see new connections as from another address."""
    accept = Server._accept
    host = ["127.0.0.1"]

    def accept_from(server: Server, link: Transport) -> None:
        link.peer_host, link.peer = host[0], f"[{host[0]}]:1"
        accept(server, link)

    monkeypatch.setattr(Server, "_accept", accept_from)

    def choose(other: str) -> None:
        host[0] = other

    return choose


async def greeting(peer: RawPeer) -> str:
    """Return "hello", or the code of the error that comes instead."""
    kind, value = await peer.json()
    return "hello" if kind == b"H" else str(value["code"])


def records(path: Path) -> list[tuple[str, str, str]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [(record["event"], record["peer"], record["result"]) for record in found]


async def test_failed_logins_of_one_network_are_held_against_all_of_it(
    tmp_path: Path, come_from: Callable[[str], None]
) -> None:
    audit = Audit.open(str(tmp_path / "audit.log"), lambda: 0.0)
    async with serve(tmp_path, admission=Admission(token="right"), audit=audit) as service:
        for number in range(1, 4):
            come_from(f"2001:db8::{number}")
            async with raw_peer(*service.address) as peer:
                assert await greeting(peer) == "hello"
                await peer.send(LOGIN)
                assert await peer.error() == "not_authorised"
        come_from("2001:db8::4")  # the same /64
        async with raw_peer(*service.address) as peer:
            assert await greeting(peer) == "busy"
        come_from("2001:db8:0:1::1")
        async with raw_peer(*service.address) as peer:
            assert await greeting(peer) == "hello"
            await peer.send(b'login "" {"secret": "right"}\n')
            assert (await peer.json())[0] == b"R"
    assert audit.flush(5)
    audit.close()
    assert records(tmp_path / "audit.log") == [
        *(("login", f"[2001:db8::{number}]:1", "not_authorised") for number in range(1, 4)),
        ("connect", "[2001:db8::4]:1", "busy"),
        ("login", "[2001:db8:0:1::1]:1", "ok"),
    ]


async def test_broken_handshakes_are_held_against_their_source(
    tmp_path: Path, come_from: Callable[[str], None]
) -> None:
    audit = Audit.open(str(tmp_path / "audit.log"), lambda: 0.0)
    async with serve(tmp_path, tls=own_tls(tmp_path), audit=audit) as service:
        penalties = service.server.service.limiter.penalties
        # TLS that is none, and a plain client
        for said in (
            NO_HANDSHAKE,
            b"dir\n",
            NO_HANDSHAKE,
            b"dir\n",
        ):
            come_from("192.0.2.7")
            assert not penalties.left_s("192.0.2.7")
            async with raw_peer(*service.address) as peer:
                await peer.send(said)
                while await peer.reader.read(1000):
                    pass
            await service.all_gone()
        assert penalties.left_s("192.0.2.7") > 0 and not penalties.left_s("192.0.2.8")
        async with raw_peer(*service.address) as peer:
            await peer.send(b"dir\n")
            assert await peer.is_at_end()  # not a word, nor a session
        assert service.server.service.session_count == 4
    assert audit.flush(5)
    audit.close()
    assert records(tmp_path / "audit.log") == [
        ("handshake", "[192.0.2.7]:1", "closed"),
        ("handshake", "[192.0.2.7]:1", "tls_required"),
        ("handshake", "[192.0.2.7]:1", "closed"),
        ("handshake", "[192.0.2.7]:1", "tls_required"),
        ("connect", "[192.0.2.7]:1", "busy"),
    ]


@pytest.mark.parametrize(
    "line", [b'login "" {"secret": "\\ud800"}\n', b'login "\\udcff" {"secret": "x\\udc80"}\n']
)
async def test_login_with_what_is_no_text_is_a_failed_one(tmp_path: Path, line: bytes) -> None:
    async with (
        serve(tmp_path, admission=Admission(token="right")) as service,
        raw_peer(*service.address) as peer,
    ):
        assert await greeting(peer) == "hello"
        await peer.send(line)
        assert await peer.error() == "not_authorised"
        assert len(service.server.service.limiter.penalties) == 1


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_connection_that_says_nothing_is_no_offence(
    tmp_path: Path, come_from: Callable[[str], None], reset: bool
) -> None:
    audit = Audit.open(str(tmp_path / "audit.log"), lambda: 0.0)
    async with serve(tmp_path, tls=own_tls(tmp_path), audit=audit) as service:
        come_from("192.0.2.8")
        for _ in range(12):
            with socket.create_connection(service.address) as sock:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with raw_peer(*service.address) as peer:
            await peer.send(NO_HANDSHAKE)
            while await peer.reader.read(1000):
                pass
        await service.all_gone()
        assert service.server.service.session_count == 13
        assert len(service.server.service.limiter.penalties) == 1  # of the last one
    assert audit.flush(5)
    audit.close()
    assert records(tmp_path / "audit.log") == [("handshake", "[192.0.2.8]:1", "closed")]
