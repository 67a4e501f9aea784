"""A connection cancelled while it opens or closes is closed, at whichever step."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest

from ftransfer.client.address import Address
from ftransfer.client.connector import open_session
from ftransfer.limits import Limits
from tests.support.service import serve

both_links = pytest.mark.parametrize("direct", [True, False], ids=["sockets", "streams"])


@contextlib.contextmanager
def nothing_left_open() -> Iterator[None]:
    """Fail if something is found unclosed by the garbage collector."""
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


async def step(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@both_links
@pytest.mark.parametrize("ticks", range(8))
async def test_server_that_stops_while_a_connection_arrives(
    tmp_path: Path, ticks: int, direct: bool
) -> None:
    with nothing_left_open():
        async with serve(tmp_path, direct=direct) as service:
            with socket.create_connection(service.address) as peer:
                await step(ticks)
                await service.server.stop(0)
                peer.settimeout(30)
                await asyncio.to_thread(_hear_to_the_end, peer)
        del service


def _hear_to_the_end(peer: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        while peer.recv(65536):
            pass


@both_links
async def test_client_that_is_cancelled_while_it_connects(tmp_path: Path, direct: bool) -> None:
    with nothing_left_open():
        async with serve(tmp_path, direct=direct) as service:
            for ticks in range(0, 60, 2):
                client = service.client()
                task = asyncio.create_task(client.__aenter__())
                await step(ticks)
                task.cancel()
                await asyncio.wait([task])
                await client.__aexit__(None, None, None)
                del client, task
        del service


@both_links
async def test_client_that_is_cancelled_while_it_closes(tmp_path: Path, direct: bool) -> None:
    with nothing_left_open():
        async with serve(tmp_path, direct=direct) as service:
            for ticks in range(1, 30):
                client = await service.client().__aenter__()
                await _cancel_in_the_middle(client.close(), ticks)
                del client
        del service


async def _cancel_in_the_middle(closing: Coroutine[None, None, None], ticks: int) -> None:
    task = asyncio.create_task(closing)
    await step(ticks)
    task.cancel()
    await asyncio.wait([task])


@both_links
async def test_session_that_is_cancelled_while_it_closes(tmp_path: Path, direct: bool) -> None:
    with nothing_left_open():
        async with serve(tmp_path, direct=direct) as service:
            for ticks in range(1, 20):
                session = await open_session(Address(*service.address), Limits(), direct=direct)
                await _cancel_in_the_middle(session.close(), ticks)
                del session
        del service
