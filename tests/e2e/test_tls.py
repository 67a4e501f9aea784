"""Encrypted sessions over both transports: bytes arrive, and only the right peer is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ftransfer.client.client import connect
from ftransfer.client.retry import RetryRules
from ftransfer.client.security import Security
from ftransfer.digest import digest_of
from ftransfer.errors import (
    Busy,
    CannotConnect,
    Closed,
    NotAuthorised,
    NotTrusted,
    SourceChanged,
    TlsRequired,
)
from ftransfer.limits import Limits
from ftransfer.protocol.framing import Kind, encode_header
from ftransfer.tls.contexts import ServerTls
from ftransfer.tls.fingerprint import fingerprint_of
from ftransfer.tls.identity import make_identity
from ftransfer.tls.known_hosts import KnownHosts, KnownKey
from ftransfer.transport.channel import Channel
from ftransfer.transport.sockets import SocketTransport
from tests.support.certificates import Authority, own_tls
from tests.support.service import Service, fake_server, frame, raw_peer, serve

SIZES = [0, 1, 16_384, 16_385, 256 * 1024 + 1, 13 << 20]
OTHER = fingerprint_of(b"another certificate")


@pytest.fixture
def tls(tmp_path: Path) -> ServerTls:
    return own_tls(tmp_path)


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(
    request: pytest.FixtureRequest, tmp_path: Path, tls: ServerTls
) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param, tls=tls) as service:
        yield service


def secure(tmp_path: Path, **options: Any) -> Security:
    return Security(**{"tls": "on", "state": tmp_path / "state", **options})


@pytest.mark.parametrize("size", SIZES)
async def test_any_size_goes_both_ways(service: Service, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (service.root / "a").write_bytes(data)
    async with service.client(security=secure(tmp_path)) as client:
        got = await client.get("a", service.local / "b")
        assert (service.local / "b").read_bytes() == data
        put = await client.put(service.local / "b", "c")
        assert (service.root / "c").read_bytes() == data
    assert got.digest == put.digest == digest_of(data)


async def test_the_two_kinds_of_link_understand_each_other(
    service: Service, tmp_path: Path
) -> None:
    data = random.Random(1).randbytes(9 << 20)
    (service.root / "a").write_bytes(data)
    async with service.client(security=secure(tmp_path), direct=not service.direct) as client:
        await client.get("a", service.local / "b")
        await client.put(service.local / "b", "c")
    assert (service.root / "c").read_bytes() == data


async def test_a_get_and_a_put_that_are_cut_go_on(
    service: Service, tmp_path: Path, tls: ServerTls
) -> None:
    data = random.Random(2).randbytes(12 << 20)
    (service.root / "a").write_bytes(data)
    for direction in ("get", "put"):
        async with cut_once(service.address, after_bytes=5 << 20) as address:
            security = secure(tmp_path, fingerprint=tls.fingerprint)
            async with connect(
                *address, security=security, direct=service.direct, retry=RetryRules(first_s=0.01)
            ) as client:
                if direction == "get":
                    receipt = await client.get("a", service.local / "a")
                else:
                    receipt = await client.put(service.local / "a", "b")
        assert 0 < receipt.kept < 6 << 20
    assert (service.root / "b").read_bytes() == data


@contextlib.asynccontextmanager
async def cut_once(target: tuple[str, int], after_bytes: int) -> AsyncIterator[tuple[str, int]]:
    """A way to a server that breaks once, after so many bytes in one direction."""
    left = after_bytes
    passing: list[asyncio.Task[None]] = []

    async def carry(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, both: list[asyncio.StreamWriter]
    ) -> None:
        nonlocal left
        count = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                count += len(data)
                if left and count > left:
                    left = 0
                    for end in both:
                        end.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing.append(asyncio.create_task(carry_both(reader, writer)))

    async def carry_both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*target)
        both = [writer, far_writer]
        await asyncio.gather(carry(reader, far_writer, both), carry(far_reader, writer, both))
        for end in both:
            end.transport.abort()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as proxy:
        yield proxy.sockets[0].getsockname()[:2]
        await asyncio.gather(*passing)
        await asyncio.sleep(0)


async def test_many_clients_at_once(service: Service, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(1 << 20)
    (service.root / "a").write_bytes(data)

    async def one(number: int) -> None:
        async with service.client(security=secure(tmp_path)) as client:
            await client.get("a", service.local / f"{number}")
            await client.put(service.local / f"{number}", f"back-{number}")

    await asyncio.gather(*(one(number) for number in range(25)))
    assert all((service.root / f"back-{number}").read_bytes() == data for number in range(25))


async def test_a_python_whose_new_connections_read_though_they_are_paused(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_reader(
        transport: Any, fd: int, callback: Callable[..., None], *arguments: object
    ) -> None:
        if not transport.is_closing():
            transport._loop._add_reader(fd, callback, *arguments)

    # As up to 3.11.3
    monkeypatch.setattr("asyncio.selector_events._SelectorTransport._add_reader", add_reader)
    (service.root / "a").write_bytes(b"a")
    async with service.client(security=secure(tmp_path)) as client:
        await client.get("a", service.local / "a")
    assert (service.local / "a").read_bytes() == b"a"


async def test_a_file_that_shrinks_is_reported_and_the_session_goes_on(
    service: Service, tmp_path: Path
) -> None:
    (service.root / "a").write_bytes(bytes(30 << 20))
    (service.root / "b").write_bytes(b"b")

    def progress(step: Any) -> None:
        (service.root / "a").write_bytes(b"")

    async with service.client(security=secure(tmp_path)) as client:
        with pytest.raises(SourceChanged):
            await client.get("a", service.local / "a", progress=progress)
        hello = client.hello
        await client.get("b", service.local / "b")
        assert client.hello is hello
    assert not (service.local / "a").exists()


# Whom the client trusts.


async def test_first_sight_is_told_and_pinned(service: Service, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []
    security = secure(
        tmp_path, on_new_server=lambda address, fingerprint: seen.append((address, fingerprint))
    )
    for _ in range(2):
        async with service.client(security=security):
            pass
    host, port = service.address
    known = KnownHosts(tmp_path / "state" / "known_hosts").find(f"{host}:{port}")
    assert known is not None and not known.is_confirmed
    assert seen == [(f"{host}:{port}", known.fingerprint)]


async def test_changed_key_is_refused_before_anything_is_said(
    service: Service, tmp_path: Path
) -> None:
    host, port = service.address
    KnownHosts(tmp_path / "state" / "known_hosts").remember(f"{host}:{port}", OTHER)
    with pytest.raises(
        NotTrusted, match=f"shows another key than before: SHA256:.*, not {OTHER}.*--fingerprint"
    ):
        async with service.client(security=secure(tmp_path)):
            pass
    assert KnownHosts(tmp_path / "state" / "known_hosts").find(f"{host}:{port}") == KnownKey(OTHER)


async def test_fingerprint_decides_and_is_remembered(service: Service, tmp_path: Path) -> None:
    async with service.client(security=secure(tmp_path)):
        pass
    hosts = KnownHosts(tmp_path / "state" / "known_hosts")
    address = "{}:{}".format(*service.address)
    seen = hosts.find(address)
    assert seen is not None
    right = seen.fingerprint
    with pytest.raises(NotTrusted, match=f"not {OTHER}; ask its owner"):
        async with service.client(security=secure(tmp_path, fingerprint=OTHER)):
            pass
    hosts.remember(address, OTHER)
    async with service.client(security=secure(tmp_path, fingerprint=right)):
        pass
    assert hosts.find(address) == KnownKey(right)


async def test_fingerprint_needs_no_state(service: Service, tmp_path: Path) -> None:
    async with service.client(security=secure(tmp_path)):
        pass
    known = KnownHosts(tmp_path / "state" / "known_hosts").find("{}:{}".format(*service.address))
    assert known is not None
    right = known.fingerprint
    (tmp_path / "file").write_text("not a folder")
    async with service.client(
        security=secure(tmp_path, fingerprint=right, state=tmp_path / "file")
    ):
        pass
    with pytest.raises(NotTrusted, match="cannot be compared with an earlier visit"):
        async with service.client(security=secure(tmp_path, state=tmp_path / "file")):
            pass


async def test_fingerprint_that_is_none(service: Service, tmp_path: Path) -> None:
    with pytest.raises(NotTrusted, match="64 hexadecimal digits"):
        async with service.client(security=secure(tmp_path, fingerprint="SHA256:oops")):
            pass


async def test_certificate_of_an_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serve(tmp_path, tls=ServerTls(authority.issue("server"))) as service:
        async with service.client(security=secure(tmp_path, ca=authority.file)) as client:
            assert await client.dir() == []
        assert not (
            tmp_path / "state"
        ).exists()  # nothing is pinned: the certificate may be renewed


@pytest.mark.parametrize(
    ("host", "days", "says"),
    [("127.0.0.1", -1, "certificate has expired"), ("10.1.2.3", 30, "IP address mismatch")],
)
@pytest.mark.parametrize("direct", [True, False])
async def test_certificate_that_is_not_valid(
    tmp_path: Path, host: str, days: int, says: str, direct: bool
) -> None:
    authority = Authority(tmp_path)
    tls = ServerTls(authority.issue("server", host=host, days=days))
    async with serve(tmp_path, tls=tls, direct=direct) as service:
        with pytest.raises(
            NotTrusted, match=f"the certificate of 127.0.0.1:.* is not valid: .*{says}"
        ):
            async with service.client(security=secure(tmp_path, ca=authority.file)):
                pass


async def test_certificate_of_nobody_with_the_authorities_of_the_system(
    service: Service, tmp_path: Path
) -> None:
    with pytest.raises(NotTrusted, match="self-signed certificate"):
        async with service.client(security=secure(tmp_path, ca="system")):
            pass


@pytest.mark.parametrize("direct", [True, False])
async def test_clients_must_show_a_certificate(tmp_path: Path, direct: bool) -> None:
    (tmp_path / "friends").mkdir()
    friends = Authority(tmp_path / "friends")
    own_tls(tmp_path)
    async with serve(
        tmp_path, tls=ServerTls(str(tmp_path / "own.pem"), client_ca=friends.file), direct=direct
    ) as service:
        async with service.client(
            security=secure(tmp_path, certificate=friends.issue("ann"))
        ) as client:
            assert await client.dir() == []
        # Under asyncio's own TLS the server cannot say why it leaves.
        refused, says = (
            (NotAuthorised, "asks for a") if direct else (CannotConnect, "perhaps it wants a")
        )
        with pytest.raises(refused, match=f"{says} client certificate"):
            async with service.client(security=secure(tmp_path)):
                pass
        refused, says = (
            (NotAuthorised, "does not accept the")
            if direct
            else (CannotConnect, "perhaps it wants a")
        )
        for bad in (friends.issue("late", days=-1), Authority(tmp_path).issue("stranger")):
            with pytest.raises(refused, match=f"{says} client certificate"):
                async with service.client(security=secure(tmp_path, certificate=bad)):
                    pass


async def test_renewed_certificate_is_shown_to_the_next_connection(tmp_path: Path) -> None:
    tls = own_tls(tmp_path)
    async with serve(tmp_path, tls=tls) as service:
        async with service.client(security=secure(tmp_path)) as client:
            (tmp_path / "own.pem").write_text(make_identity())
            tls.reload()
            assert await client.dir() == []  # a session that is there goes on
        async with service.client(security=secure(tmp_path, fingerprint=tls.fingerprint)):
            pass


# One side speaks TLS, the other does not.


async def test_on_loopback_the_client_goes_up_by_itself(service: Service, tmp_path: Path) -> None:
    async with service.client(security=Security(state=tmp_path / "state")) as client:
        assert await client.dir() == []
        assert client._session is not None and client._session.channel.transport.encrypted


async def test_on_loopback_a_changed_key_is_refused_too(service: Service, tmp_path: Path) -> None:
    KnownHosts(tmp_path / "state" / "known_hosts").remember("{}:{}".format(*service.address), OTHER)
    with pytest.raises(NotTrusted, match="another key"):
        async with service.client(security=Security(state=tmp_path / "state")):
            pass


async def test_a_plain_server_that_is_slow_is_waited_for(tmp_path: Path) -> None:
    hello = frame(b"H", b'{"protocol":1}')
    count = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        first = count == 1
        if first:
            await second_came.wait()
        else:
            second_came.set()
        writer.write(hello)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    second_came = asyncio.Event()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        async with connect(
            *server.sockets[0].getsockname()[:2], limits=Limits(close_s=0.1)
        ) as client:
            assert client.hello.protocol == 1
    assert count == 2


async def test_plain_client_on_a_tls_port(service: Service, tmp_path: Path) -> None:
    host, port = service.address
    with pytest.raises(TlsRequired, match=f"{host}:{port} speaks TLS only; leave out --plain"):
        async with service.client(security=secure(tmp_path, tls="off")):
            pass


async def test_plain_line_on_a_tls_port_is_answered_in_plain(service: Service) -> None:
    async with raw_peer(*service.address) as peer:
        await peer.send(b"dir\n")
        assert await peer.error() == "tls_required"
        assert await peer.is_at_end()


async def test_silence_on_a_tls_port_is_answered_in_plain(tmp_path: Path) -> None:
    async with (
        serve(tmp_path, tls=own_tls(tmp_path), limits=Limits(handshake_s=0.1)) as service,
        raw_peer(*service.address) as peer,
    ):
        assert await peer.error() == "tls_required"
        assert await peer.is_at_end()


@pytest.mark.parametrize("direct", [True, False])
async def test_tls_client_on_a_plain_port(tmp_path: Path, direct: bool) -> None:
    async with serve(tmp_path) as service:
        with pytest.raises(
            NotTrusted,
            match="does not answer in TLS; have it started with --tls on, or use --plain",
        ):
            async with service.client(security=secure(tmp_path), direct=direct):
                pass
        # Never down to plain when a key is asked for
        with pytest.raises(NotTrusted, match="does not answer in TLS"):
            async with service.client(
                security=Security(fingerprint=OTHER, state=tmp_path / "state"), direct=direct
            ):
                pass


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
async def test_tls_client_with_something_else(tmp_path: Path, said: bytes) -> None:
    async with fake_server(said) as address:
        with pytest.raises((NotTrusted, CannotConnect)):
            async with connect(*address, security=secure(tmp_path), limits=Limits(connect_s=1)):
                pass


# Handshakes that go wrong.

CLIENT_HELLO_BEGINS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize(
    "junk", [b"\x16", CLIENT_HELLO_BEGINS, b"\x16" + b"\xff" * 600, b"\x16\x03\x01\x00\x05hello"]
)
@pytest.mark.parametrize("direct", [True, False])
async def test_broken_handshake_ends_that_connection_alone(
    tmp_path: Path, junk: bytes, direct: bool
) -> None:
    hasty = Limits(handshake_s=0.3, close_s=0.3)
    async with serve(tmp_path, tls=own_tls(tmp_path), limits=hasty, direct=direct) as service:
        async with raw_peer(*service.address) as peer:
            await peer.send(junk)
            with contextlib.suppress(ConnectionError):
                await peer.reader.read()  # until the server has had enough
        service.server.service.set_limits(Limits())
        async with service.client(security=secure(tmp_path)) as client:
            assert await client.dir() == []
        await service.all_gone()


async def test_stalled_handshakes_delay_nobody(service: Service, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(50):
            peer = await stack.enter_async_context(raw_peer(*service.address))
            await peer.send(CLIENT_HELLO_BEGINS)
        async with service.client(security=secure(tmp_path)) as client:
            assert await client.dir() == []


async def test_old_tls_is_refused(service: Service) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*service.address, ssl=context)


async def test_refusal_of_a_full_server_is_encrypted_as_well(tmp_path: Path) -> None:
    async with serve(tmp_path, tls=own_tls(tmp_path), limits=Limits(max_sessions=1)) as service:
        async with service.client(security=secure(tmp_path)):
            with pytest.raises(Busy):
                async with service.client(security=secure(tmp_path)):
                    pass


async def test_a_message_that_was_cut_is_not_glued_to_the_next(tmp_path: Path) -> None:
    """OpenSSL keeps what it could not send, and would send it in place of the next message."""
    (tmp_path / "share").mkdir()
    async with (
        serve(tmp_path, tls=own_tls(tmp_path)) as service,
        service.client(security=secure(tmp_path)) as client,
    ):
        assert client._session is not None
        channel: Channel = client._session.channel
        session = next(iter(service.server.sessions))
        session.channel.transport.read = _never  # type: ignore[method-assign]  # a server that takes nothing
        assert isinstance(channel.transport, SocketTransport)
        blocked = asyncio.Event()
        wait_writable = channel.transport.wait_writable

        async def wait_and_note(timeout_s: float) -> None:
            blocked.set()
            await wait_writable(timeout_s)

        channel.transport.wait_writable = wait_and_note  # type: ignore[method-assign]  # an event
        full = asyncio.create_task(channel.transport.write([much()] * 2, 10))
        await blocked.wait()  # in the middle of a message
        assert not full.done()
        full.cancel()
        await asyncio.wait([full])
        with pytest.raises(Closed, match="in the middle of a message"):
            await channel.send(b"dir\n")
        channel.abort()


def much() -> bytes:
    return encode_header(Kind.DATA, 32 << 20) + bytes(32 << 20)


async def _never(timeout_s: float) -> bytes:
    await asyncio.Event().wait()
    return b""
