"""What neither side of a Connection may do: the peer's mistakes, and our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftransfer.errors import (
    LocalProtocolError,
    NotFound,
    RemoteProtocolError,
)
from ftransfer.limits import Limits
from ftransfer.protocol.commands import BadLine, Command
from ftransfer.protocol.connection import Connection
from ftransfer.protocol.framing import HEADER_SIZE, Kind, encode_header
from ftransfer.protocol.replies import (
    End,
    Meta,
)
from ftransfer.protocol.state import State
from tests.support.pair import HELLO, Pair, only, ready_client, ready_server

DIR, PUT = Command("dir"), Command("put", "a")
END = End(3, "d")
REFUSED = NotFound("no such file", name="a")


# What a peer may not do.


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.META, Kind.OUTCOMES, Kind.REPLY, Kind.EVENT])
def test_kinds_of_the_server_are_not_for_the_server(kind: Kind) -> None:
    side = ready_server()
    side.hear(b"put a\n")
    with pytest.raises(
        RemoteProtocolError, match=f"a server is not sent frames of kind {kind.value.decode()}"
    ):
        side.hear(encode_header(kind, 2))


def test_finish_is_not_for_the_client() -> None:
    with pytest.raises(RemoteProtocolError, match="a client is not sent frames of kind F"):
        ready_client().hear(encode_header(Kind.FINISH, 0))


@pytest.mark.parametrize("kind", [Kind.LISTING, Kind.PACK, Kind.FINISH])
def test_frame_out_of_turn_is_refused_at_its_header(kind: Kind) -> None:
    side = ready_server()
    side.hear(b"put a\n")
    with pytest.raises(RemoteProtocolError, match="out of turn; the session is receiving"):
        side.hear(encode_header(kind, 50))


@pytest.mark.parametrize(
    "kind", [Kind.DATA, Kind.END, Kind.REPLY, Kind.META, Kind.HELLO, Kind.LISTING]
)
def test_client_that_asked_for_nothing_is_sent_nothing(kind: Kind) -> None:
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        ready_client().hear(encode_header(kind, 2))


def test_server_greets_once() -> None:
    pair = Pair(greet=False)
    hello = pair.server.send_hello(HELLO)
    with pytest.raises(RemoteProtocolError, match="hello is out of turn"):
        pair.to_client(hello, hello)


def test_frames_are_not_commands() -> None:
    side = ready_server()
    side.hear(b"help\n")
    side.connection.send_reply({})
    bad = only(side.hear(encode_header(Kind.DATA, 5) + b"abc\n"))
    assert isinstance(bad, BadLine)


@pytest.mark.parametrize("cap", [Kind.DATA, Kind.END])
def test_payload_is_capped_at_the_limit(cap: Kind) -> None:
    limits = Limits(max_chunk_bytes=100, max_json_bytes=100)
    side = ready_server(limits)
    side.hear(b"put a\n")
    assert side.hear(encode_header(cap, 100)) == []
    side = ready_server(limits)
    side.hear(b"put a\n")
    with pytest.raises(RemoteProtocolError, match="the cap is 100"):
        side.hear(encode_header(cap, 101))


def test_json_that_is_none_is_refused_and_the_cut_is_not() -> None:
    side = ready_server()
    side.hear(b"put a\n")
    assert side.hear(encode_header(Kind.END, 3) + b"{}") == []
    with pytest.raises(RemoteProtocolError):
        side.hear(b"x")


# What we may not do.


@pytest.mark.parametrize(
    "send",
    [
        lambda c: c.send_hello(HELLO),
        lambda c: c.send_meta(Meta("a")),
        lambda c: c.send_data_header(1),
        lambda c: c.send_end(END),
        lambda c: c.send_list([]),
        lambda c: c.send_pack({"size": []}, []),
        lambda c: c.send_outcomes([]),
        lambda c: c.send_reply({}),
    ],
)
def test_server_that_was_asked_nothing_sends_nothing(send: Callable[[Connection], Any]) -> None:
    connection = ready_server().connection
    with pytest.raises(LocalProtocolError, match="out of turn"):
        send(connection)
    assert connection.state is State.READY


@pytest.mark.parametrize(
    "send",
    [
        lambda c: c.send_data_header(1),
        lambda c: c.send_end(END),
        lambda c: c.send_finish(),
        lambda c: c.send_error(REFUSED),
    ],
)
def test_client_sends_no_frames_without_a_put(send: Callable[[Connection], Any]) -> None:
    connection = ready_client().connection
    connection.send_command(DIR)
    with pytest.raises(LocalProtocolError, match="out of turn"):
        send(connection)
    assert connection.state is State.ANSWERING


def test_chunk_sent_is_capped_at_the_limit() -> None:
    client = ready_client(Limits(max_chunk_bytes=100)).connection
    client.send_command(PUT)
    assert client.send_data_header(100) == encode_header(Kind.DATA, 100)
    with pytest.raises(LocalProtocolError, match="above the cap of 100"):
        client.send_data_header(101)


def test_json_sent_is_capped_at_the_limit() -> None:
    side = ready_server(Limits(max_json_bytes=100))
    side.hear(b"dir\n")
    assert len(side.connection.send_list(["x" * 96])) == HEADER_SIZE + 100
    with pytest.raises(LocalProtocolError, match="101 bytes is above the cap of 100"):
        side.connection.send_list(["x" * 97])
    with pytest.raises(LocalProtocolError, match="above the cap"):
        side.connection.send_reply({"a": "x" * 100})
    assert side.connection.state is State.ANSWERING
    side.connection.send_reply({})
