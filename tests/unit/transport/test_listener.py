"""The listener: it owns nothing that outlives it, and waits when descriptors run out."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.transport import Transport
from ftransfer.transport.listener import Listener
from tests.support.service import raw_peer, serve


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_a_connection_that_ends_leaves_nothing_to_the_garbage_collector(
    tmp_path: Path, no_collector: None
) -> None:
    async with serve(tmp_path) as service:
        async with raw_peer(*service.address) as peer:
            assert (await peer.json())[0] == b"H"
            (session,) = service.server.sessions
            task = service.server.sessions[session]
            left: list[weakref.ref[Any]] = [
                weakref.ref(session),
                weakref.ref(session.channel),
                weakref.ref(session.channel.transport),
            ]
            del session
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0)
        assert [ref() for ref in left] == [None, None, None]


needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize("host", ["", "::"])
async def test_all_addresses_of_both_families_are_on_one_port(tmp_path: Path, host: str) -> None:
    async with serve(tmp_path, host=host) as service:
        [(shown, number)] = service.server.addresses
        assert shown == "::"
        for address in ("127.0.0.1", "::1"):
            async with raw_peer(address, number) as peer:
                assert (await peer.json())[0] == b"H"
                assert [
                    session.channel.transport.peer_host for session in service.server.sessions
                ] == [address]
            await service.all_gone()


@needs_ipv6
@pytest.mark.parametrize(("host", "refused"), [("0.0.0.0", "::1"), ("::1", "127.0.0.1")])
async def test_one_family_alone(tmp_path: Path, host: str, refused: str) -> None:
    async with serve(tmp_path, host=host) as service:
        [(_, number)] = service.server.addresses
        with pytest.raises(OSError, match="refused|Connect call failed"):
            async with raw_peer(refused, number):
                pass


async def test_a_name_of_several_addresses_has_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def resolved(host: str, number: int, **_: object) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", number))
            for last in (1, 2, 2)
        ]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    port = await Listener.open("both", 0, lambda transport: transport.abort())
    (one, number), (two, same) = port.addresses
    assert (one, two) == ("127.0.0.1", "127.0.0.2") and number == same
    with pytest.raises(OSError, match="in use"):
        await Listener.open("both", number, lambda transport: transport.abort())
    await port.close()


async def test_a_name_of_addresses_that_this_machine_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()

    async def resolved(host: str, number: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, number)) for host in hosts]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    hosts = ["192.0.2.1", "127.0.0.1"]
    port = await Listener.open("some", 0, lambda transport: transport.abort())
    assert [host for host, _ in port.addresses] == ["127.0.0.1"]
    await port.close()
    hosts = ["192.0.2.1"]
    with pytest.raises(OSError, match="assign requested address"):
        await Listener.open("none", 0, lambda transport: transport.abort())


async def test_without_a_descriptor_connections_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.01)
    transports: list[Transport] = []
    came, refused = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda *_: refused.set())

    def taken(transport: Transport) -> None:
        transports.append(transport)
        came.set()

    port = await Listener.open("127.0.0.1", 0, taken)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as peer:
        lowest = peer.dup()  # one more descriptor could not be had
        limit = lowest.fileno()
        lowest.close()
        peer.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            await asyncio.get_running_loop().sock_connect(peer, port.addresses[0])
            await refused.wait()
            assert not transports
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await came.wait()
    transports[0].abort()
    await port.close()
    await port.close()
