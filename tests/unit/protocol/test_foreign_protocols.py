"""The first line reveals another protocol before anything behind it counts.

No line of ours is taken for one.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.errors import UnknownVerb
from ftransfer.limits import Limits
from ftransfer.protocol.commands import ALIASES, VERBS, BadLine, Command, format_command
from ftransfer.protocol.connection import Connection, Role
from ftransfer.protocol.foreign_protocols import ForeignProtocol, foreign_in
from ftransfer.protocol.state import State

FOREIGN = [
    (b"GET / HTTP/1.1\r\n", "HTTP"),
    (b"GET /small HTTP/1.0\r\n", "HTTP"),
    (b"GET /small\r\n", "HTTP"),
    (b"PUT /x HTTP/1.1\r\n", "HTTP"),
    (b"put /x HTTP/1.1\r\n", "HTTP"),
    (b"help / HTTP/1.1\r\n", "HTTP"),
    (b"stat x HTTP/1.1\r\n", "HTTP"),
    (b"GET http://elsewhere/ HTTP/1.1\r\n", "HTTP"),
    (b"POST / HTTP/1.1\r\n", "HTTP"),
    (b"DELETE /a\r\n", "HTTP"),
    (b"M-SEARCH * HTTP/1.1\r\n", "HTTP"),
    (b"PRI * HTTP/2.0\r\n", "HTTP"),
    (b"OPTIONS rtsp://a/ RTSP/1.0\r\n", "RTSP"),
    (b"REGISTER sip:a SIP/2.0\r\n", "SIP"),
    (b"Host: 127.0.0.1\r\n", ""),
    (b"Origin: https://evil.example\r\n", ""),
    (b"Content-Type: text/plain\r\n", ""),
    (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
    (b"@RSYNCD: 31.0 sha512\n", "rsync"),
    (b"\x16\x03\x01\x02\x00\x01", "TLS"),
    (b"USER anonymous\r\n", "FTP"),
    (b"user anonymous\r\n", "FTP"),
    (b"EHLO host\r\n", "SMTP"),
    (b"ehlo host\r\n", "SMTP"),
    (b"a001 CAPABILITY\r\n", "IMAP"),
    (b"*1\r\n$4\r\nPING\r\n", "Redis"),
    (b"PING\r\n", "Redis"),
    (b"set key 0 0 5\r\nput x\r\n", "memcached"),
    (b"\x00\x00\x00\x85\xffSMB", ""),
    (b"\x03\x00\x00\x13\x0e\xe0", ""),
    (b"\x05\x01\x00", ""),
    (b"0032git-upload-pack /x\0host=a\0", ""),
    (b"<?xml version='1.0'?>\n", ""),
    (b'{"jsonrpc":"2.0"}\n', ""),
    (b"Fetch x\n", ""),
    (b"fe\0tch x\n", ""),
    (b"\xff\xfe\n", ""),
]
OURS = [
    *(b"", b"\n", b"\r\n", b"g", b"GET /unfinished", b"POST", b"h\0"),
    *(
        b"nope\n",
        b"fetch x\n",
        b"help\r\n",
        b"STAT .\n",
        b"HELP\r\n",
        b"LS\n",
        b"get /etc/passwd\n",
        b"GET a {\n",
    ),
    *(
        b"get caf\xe9\n",
        b"stat a\0b\n",
        b"put\n",
        b'get "x HTTP/1.1"\n',
        b"get my dir/1\n",
        b"say 50/1\n",
    ),
]


@pytest.mark.parametrize(("said", "protocol"), FOREIGN)
def test_first_line_of_another_protocol_is_known(said: bytes, protocol: str) -> None:
    found = foreign_in(said)
    assert found is not None and found.protocol == protocol


@pytest.mark.parametrize("said", OURS)
def test_line_of_ours_or_what_may_become_one_is_none(said: bytes) -> None:
    assert foreign_in(said) is None


@pytest.mark.parametrize(("said", "protocol"), FOREIGN)
def test_nothing_behind_it_is_carried_out(said: bytes, protocol: str) -> None:
    server = Connection(Role.SERVER, Limits())
    server.state = State.READY
    server.receive_bytes(b"\n" + said + b"\r\n\r\nrm small\nmkdir planted\n")
    assert isinstance(server.next_event(), BadLine)  # the empty line
    server.send_error(UnknownVerb("no"))
    with pytest.raises(ForeignProtocol):
        server.next_event()


@pytest.mark.parametrize(("said", "protocol"), FOREIGN)
def test_it_is_known_before_hello(said: bytes, protocol: str) -> None:
    server = Connection(Role.SERVER, Limits())
    server.receive_bytes(said)
    with pytest.raises(ForeignProtocol):
        server.check_opening()


def test_headers_behind_a_line_that_is_not_understood_are_known() -> None:
    server = Connection(Role.SERVER, Limits())
    server.state = State.READY
    server.receive_bytes(b"nope\nHost: a\r\n\r\nrm small\n")
    assert isinstance(server.next_event(), BadLine)
    server.send_error(UnknownVerb("no"))
    with pytest.raises(ForeignProtocol):
        server.next_event()


def test_after_a_command_every_line_is_ours() -> None:
    server = Connection(Role.SERVER, Limits())
    server.state = State.READY
    server.receive_bytes(b"help\nPOST / HTTP/1.1\n")
    assert isinstance(server.next_event(), Command)
    server.send_reply({})
    assert isinstance(server.next_event(), BadLine)


@given(
    st.sampled_from(sorted(VERBS)),
    st.text(max_size=30),
    st.sampled_from(["", " HTTP/1.1", " SIP/2.0", "HTTP/1.1"]),
)
def test_no_line_that_our_client_writes_is_taken_for_another(
    verb: str, argument: str, end: str
) -> None:
    assert foreign_in(format_command(Command(verb, argument + end))) is None


@given(
    st.sampled_from(sorted({*VERBS, *ALIASES})),
    st.binary(max_size=20).filter(lambda text: b"\n" not in text and b" " not in text),
)
def test_any_argument_may_follow_a_verb(verb: str, argument: bytes) -> None:
    assert foreign_in(verb.encode() + b" " + argument + b"\n") is None


@given(st.binary(max_size=60))
def test_any_bytes_are_looked_at_and_answered(data: bytes) -> None:
    found = foreign_in(data)
    if found is not None:
        assert found.answer and isinstance(str(found), str)


def test_answers_end_what_the_peer_has_asked() -> None:
    http = foreign_in(b"GET / HTTP/1.1\r\n")
    assert http is not None
    head, _, body = http.answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"Connection: close" in head
    assert f"Content-Length: {len(body)}".encode() in head and b"ftransfer connect" in body
    head_only = foreign_in(b"HEAD / HTTP/1.1\r\n")
    assert head_only is not None and head_only.answer.endswith(b"\r\n\r\n")


def test_packet_for_ssh_is_whole() -> None:
    ssh = foreign_in(b"SSH-2.0-x\r\n")
    assert ssh is not None
    identification, _, packet = ssh.answer.partition(b"\r\n")
    assert (
        identification.startswith(b"SSH-2.0-")
        and len(packet) == 4 + int.from_bytes(packet[:4], "big")
        and len(packet) % 8 == 0
    )
    assert packet[4] >= 4
