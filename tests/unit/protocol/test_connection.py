"""Whole sessions of a Connection: lines, commands sent ahead, refusals, payloads, and ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftransfer.errors import (
    Aborted,
    BadArgument,
    Busy,
    LineTooLong,
    LocalProtocolError,
    NotFound,
    ReadOnly,
    RemoteProtocolError,
    ServerStopping,
    UnknownVerb,
)
from ftransfer.limits import Limits
from ftransfer.protocol.commands import BadLine, Command
from ftransfer.protocol.connection import Connection, InputEnded, Payload, Role
from ftransfer.protocol.framing import HEADER_SIZE, Kind, encode_header, encode_json
from ftransfer.protocol.replies import (
    HEARTBEAT,
    End,
    ErrorReply,
    Listing,
    Meta,
    Notice,
    Reply,
    encode_error,
)
from ftransfer.protocol.state import State
from tests.support.pair import (
    HELLO,
    Content,
    Pair,
    Side,
    byte_by_byte,
    only,
    ready_client,
    ready_server,
)

DIR, GET, PUT, OFFER = (
    Command("dir"),
    Command("get", "a"),
    Command("put", "a"),
    Command("put", "a", {"wait": True}),
)
CLOSE = Command("close")
END = End(3, "d")
REFUSED = NotFound("no such file", name="a")
REFUSAL = ErrorReply("not_found", "no such file", "a")


def data(connection: Connection, content: bytes) -> bytes:
    return connection.send_data_header(len(content)) + content


# Whole conversations, whole and byte by byte.


def test_listing() -> None:
    pair = Pair()
    assert pair.to_server(pair.client.send_command(DIR)) == [DIR]
    assert pair.to_client(
        pair.server.send_list([{"name": "a"}]),
        pair.server.send_list([]),
        pair.server.send_reply({}),
    ) == [
        Listing([{"name": "a"}]),
        Listing([]),
        Reply({}),
    ]
    assert pair.client.state is pair.server.state is State.READY


def test_get() -> None:
    pair = Pair()
    assert pair.to_server(pair.client.send_command(GET)) == [GET]
    server = pair.server
    sent = [
        server.send_meta(Meta("a", 3, length=3)),
        data(server, b"ab"),
        data(server, b""),
        data(server, b"c"),
    ]
    sent += [server.send_end(END), server.send_reply({"name": "a"})]
    expected = [
        Meta("a", 3, length=3),
        Content(Kind.DATA, b"ab"),
        Content(Kind.DATA, b""),
        Content(Kind.DATA, b"c"),
        END,
        Reply({"name": "a"}),
    ]
    assert pair.to_client(*sent) == expected
    assert pair.client.state is pair.server.state is State.READY


def test_put() -> None:
    pair = Pair()
    sent = [pair.client.send_command(PUT), data(pair.client, b"abc"), pair.client.send_end(END)]
    assert pair.to_server(*sent) == [PUT, Content(Kind.DATA, b"abc"), END]
    assert pair.to_client(pair.server.send_reply({"name": "a"})) == [Reply({"name": "a"})]
    assert pair.client.state is pair.server.state is State.READY


def test_put_that_waits() -> None:
    pair = Pair()
    assert pair.to_server(pair.client.send_command(OFFER)) == [OFFER]
    with pytest.raises(LocalProtocolError, match="out of turn"):
        pair.client.send_data_header(1)
    assert pair.to_client(pair.server.send_meta(Meta(offset=2))) == [Meta(offset=2)]
    assert pair.to_server(data(pair.client, b"c"), pair.client.send_end(END)) == [
        Content(Kind.DATA, b"c"),
        END,
    ]
    assert pair.to_client(pair.server.send_reply({})) == [Reply({})]


def test_a_server_hears_the_same_byte_by_byte() -> None:
    conversation = (
        b"put a\n"
        + encode_header(Kind.DATA, 3)
        + b"abc"
        + encode_json(Kind.END, {"size": 3, "digest": "d"})
    )
    whole, split = ready_server(), ready_server()
    expected = [PUT, Content(Kind.DATA, b"abc"), END]
    assert whole.hear(conversation) == expected
    assert split.hear_pieces(byte_by_byte(conversation)) == expected


def test_a_client_hears_the_same_byte_by_byte() -> None:
    pair, split = Pair(), ready_client()
    server = pair.server
    pair.to_server(pair.client.send_command(GET))
    split.connection.send_command(GET)
    sent = (
        server.send_meta(Meta("a"))
        + data(server, b"abc")
        + server.send_notice(Notice(HEARTBEAT, {}))
    )
    sent += server.send_end(END) + server.send_reply({})
    assert split.hear_pieces(byte_by_byte(sent)) == pair.to_client(sent)


def test_bytes_after_a_message_belong_to_the_next() -> None:
    side = ready_server()
    assert side.hear(b"put a\nD\0\0\0\1") == [PUT]
    assert side.hear(b"xE\0\0") == [Content(Kind.DATA, b"x")]
    payload = b'{"size":1,"digest":"d"}'
    assert side.hear(b"\0" + bytes([len(payload)]) + payload + b"di") == [End(1, "d")]
    side.connection.send_reply({})
    assert side.hear(b"r\n") == [DIR]


def test_events_stand_between_any_two_frames() -> None:
    pair = Pair()
    notice = Notice("joined", {"event": "joined", "session": 2})
    assert pair.to_client(pair.server.send_notice(notice)) == [notice]
    pair.to_server(pair.client.send_command(GET))
    assert pair.to_client(pair.server.send_notice(notice), pair.server.send_meta(Meta("a"))) == [
        notice,
        Meta("a"),
    ]
    assert pair.to_client(data(pair.server, b"x"), pair.server.send_notice(notice)) == [
        Content(Kind.DATA, b"x"),
        notice,
    ]


# Lines and their cap.


@pytest.mark.parametrize(
    "pieces", [lambda line: [line], byte_by_byte], ids=["whole", "byte by byte"]
)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_line_is_capped_at_the_limit(pieces: Callable[[bytes], list[bytes]], ending: bytes) -> None:
    line = b"dir " + b"x" * (16 - len(ending))
    assert ready_server(Limits(max_line_bytes=19)).hear_pieces(pieces(line + ending)) == [
        Command("dir", line[4:].decode())
    ]
    heard = ready_server(Limits(max_line_bytes=18)).hear_pieces(pieces(line + ending))
    assert isinstance(heard[0], BadLine)
    assert isinstance(heard[0].error, LineTooLong)
    assert not heard[0].in_step


def test_line_without_end_is_refused_as_soon_as_it_is_too_long() -> None:
    side = ready_server(Limits(max_line_bytes=8))
    assert side.hear(b"x" * 8) == []
    assert isinstance(only(side.hear(b"x")), BadLine)


def test_line_cap_holds_for_what_is_sent() -> None:
    client = ready_client(Limits(max_line_bytes=8)).connection
    with pytest.raises(LineTooLong):
        client.send_command(Command("get", "12345"))
    assert client.state is State.READY
    assert client.send_command(Command("get", "1234")) == b"get 1234\n"


def test_empty_and_unknown_lines_are_answered_and_the_session_goes_on() -> None:
    side = ready_server()
    for line, kind in ((b"\n", UnknownVerb), (b"fetch a\n", UnknownVerb), (b"get\n", BadArgument)):
        bad = only(side.hear(line))
        assert isinstance(bad, BadLine)
        assert isinstance(bad.error, kind)
        assert bad.in_step
        side.connection.send_error(bad.error)
        assert side.connection.state is State.READY
    assert side.hear(b"dir\n") == [DIR]


def test_line_is_mid_way_from_its_first_byte_to_its_end() -> None:
    side = ready_server()
    assert not side.connection.is_mid_line
    side.hear(b"di")
    assert side.connection.is_mid_line
    side.hear(b"r\n")
    assert not side.connection.is_mid_line


# Commands sent ahead.


def test_commands_sent_ahead_wait_until_the_one_before_is_answered() -> None:
    pair = Pair()
    lines = (
        pair.client.send_command(DIR)
        + pair.client.send_command(GET)
        + pair.client.send_command(CLOSE)
    )
    assert pair.to_server(lines) == [DIR]
    assert pair.server_side.listen() == []
    assert pair.to_client(pair.server.send_reply({})) == [Reply({})]
    assert pair.server_side.listen() == [GET]
    assert pair.to_client(pair.server.send_error(REFUSED)) == [REFUSAL]
    assert pair.server_side.listen() == [CLOSE]
    assert pair.to_client(pair.server.send_reply({})) == [Reply({})]
    assert pair.client.state is pair.server.state is State.READY


def test_commands_may_be_sent_before_the_hello() -> None:
    pair = Pair(greet=False)
    line = pair.client.send_command(DIR)
    pair.to_client(pair.server.send_hello(HELLO))
    assert pair.client.state is State.ANSWERING
    assert pair.to_server(line) == [DIR]


def test_input_that_ends_behind_commands_sent_ahead_loses_none() -> None:
    side = ready_server()
    side.connection.receive_bytes(b"dir\nclose\n")
    assert side.hear(b"") == [DIR]
    side.connection.send_reply({})
    assert side.listen() == [CLOSE]
    side.connection.send_reply({})
    assert side.listen() == [InputEnded(clean=True)]


def test_no_command_is_sent_in_the_middle_of_a_file() -> None:
    pair = Pair()
    pair.to_server(pair.client.send_command(PUT), data(pair.client, b"abc"))
    with pytest.raises(LocalProtocolError):
        pair.client.send_command(DIR)
    pair.to_server(pair.client.send_end(END))
    pair.client.send_command(DIR)


def test_frames_may_be_sent_with_a_command_whose_turn_has_not_come() -> None:
    pair = Pair()
    sent = pair.client.send_command(DIR) + pair.client.send_command(PUT) + data(pair.client, b"abc")
    sent += pair.client.send_end(END) + pair.client.send_command(CLOSE)
    assert pair.to_server(sent) == [DIR]
    assert pair.to_client(pair.server.send_reply({})) == [Reply({})]
    assert pair.client.state is State.ANSWERING  # the file is complete
    assert pair.server_side.listen() == [PUT, Content(Kind.DATA, b"abc"), END]
    assert pair.to_client(pair.server.send_reply({})) == [Reply({})]
    assert pair.server_side.listen() == [CLOSE]
    with pytest.raises(LocalProtocolError):
        data(pair.client, b"d")


def test_an_error_while_frames_are_sent_ahead_leaves_the_session_in_step() -> None:
    pair = Pair()
    pair.to_server(
        pair.client.send_command(DIR), pair.client.send_command(PUT), data(pair.client, b"abc")
    )
    pair.to_client(pair.server.send_error(REFUSED))
    assert pair.client.state is pair.client.said is State.RECEIVING
    assert pair.server_side.listen() == [PUT, Content(Kind.DATA, b"abc")]
    assert pair.to_client(pair.server.send_error(REFUSED)) == [REFUSAL]
    pair.to_server(pair.client.send_end(END))
    assert pair.client.state is pair.server.state is State.READY


def test_no_command_is_sent_behind_a_put_whose_turn_has_not_come() -> None:
    client = ready_client().connection
    client.send_command(DIR)
    client.send_command(PUT)
    with pytest.raises(LocalProtocolError):
        client.send_command(DIR)


def test_no_command_is_sent_behind_an_offer() -> None:
    client = ready_client().connection
    client.send_command(OFFER)
    with pytest.raises(LocalProtocolError):
        client.send_command(DIR)


def test_get_may_be_sent_behind_a_file() -> None:
    pair = Pair()
    sent = [pair.client.send_command(PUT), pair.client.send_end(END), pair.client.send_command(GET)]
    assert pair.to_server(*sent) == [PUT, END]
    pair.to_client(pair.server.send_reply({}))
    assert pair.server_side.listen() == [GET]
    assert pair.client.state is State.ANSWERING


# Refusals in the middle.


def test_put_refused_in_the_middle_is_drained() -> None:
    pair = Pair()
    pair.to_server(pair.client.send_command(PUT), data(pair.client, b"ab"))
    error = pair.server.send_error(ReadOnly("takes no files"))
    assert pair.to_server(data(pair.client, b"c")) == [Content(Kind.DATA, b"c")]
    assert pair.to_client(error) == [ErrorReply("read_only", "takes no files")]
    assert pair.to_server(pair.client.send_error(Aborted("refused"))) == [
        ErrorReply("aborted", "refused")
    ]
    assert pair.client.state is pair.server.state is State.READY


def test_refusal_and_end_of_a_put_cross_on_the_way() -> None:
    pair = Pair()
    pair.to_server(pair.client.send_command(PUT))
    error = pair.server.send_error(REFUSED)
    rest = data(pair.client, b"abc") + pair.client.send_end(END) + pair.client.send_command(DIR)
    assert pair.to_client(error) == [REFUSAL]
    assert pair.client.state is State.ANSWERING
    assert pair.to_server(rest) == [Content(Kind.DATA, b"abc"), END, DIR]
    assert pair.server.state is State.ANSWERING


def test_client_gives_up_in_the_middle_of_a_put() -> None:
    pair = Pair()
    pair.to_server(pair.client.send_command(PUT), data(pair.client, b"ab"))
    assert pair.to_server(pair.client.send_error(Aborted("stopped"))) == [
        ErrorReply("aborted", "stopped")
    ]
    assert pair.to_client(pair.server.send_error(Aborted("stopped"))) == [
        ErrorReply("aborted", "stopped")
    ]
    assert pair.client.state is pair.server.state is State.READY


def test_get_fails_in_the_middle() -> None:
    pair = Pair()
    pair.to_server(pair.client.send_command(GET))
    pair.to_client(pair.server.send_meta(Meta("a", 3, length=3)), data(pair.server, b"a"))
    assert pair.to_client(pair.server.send_error(REFUSED)) == [REFUSAL]
    assert pair.client.state is pair.server.state is State.READY


def test_offer_refused() -> None:
    pair = Pair()
    pair.to_server(pair.client.send_command(OFFER))
    assert pair.to_client(pair.server.send_error(REFUSED)) == [REFUSAL]
    assert pair.client.state is pair.server.state is State.READY


def test_server_without_room_answers_with_an_error_for_a_hello() -> None:
    pair = Pair(greet=False)
    assert pair.to_client(pair.server.send_error(Busy("full"))) == [ErrorReply("busy", "full")]
    assert pair.client.state is pair.server.state is State.CLOSED


def test_server_that_stops_says_so_between_commands() -> None:
    pair = Pair()
    assert pair.to_client(pair.server.send_error(ServerStopping("bye"))) == [
        ErrorReply("stopping", "bye")
    ]
    assert pair.client.state is pair.server.state is State.CLOSED
    assert pair.to_server(b"dir\n") == []


@pytest.mark.parametrize("state", State)
def test_last_error_ends_the_session_in_any_state(state: State) -> None:
    side = ready_server()
    side.connection.state = state
    assert side.connection.send_last_error(REFUSED) == encode_error(REFUSED)
    assert side.connection.state is State.CLOSED
    assert side.hear(b"dir\n" + encode_header(Kind.DATA, 1)) == []


# Payloads.


def receiving(length: int) -> Connection:
    connection = ready_server().connection
    connection.receive_bytes(b"put a\n" + encode_header(Kind.DATA, length))
    assert connection.next_event() == PUT
    assert connection.next_event() == Payload(Kind.DATA, length)
    return connection


def test_payload_is_taken_in_pieces_and_not_beyond_its_end() -> None:
    connection = receiving(5)
    assert connection.take_payload(10) == b""
    connection.receive_bytes(b"abcdeE\0")
    assert connection.take_payload(2) == b"ab"
    assert connection.payload_left == 3
    assert connection.take_payload(10) == b"cde"
    assert connection.payload_left == 0
    assert connection.take_payload(10) == b""
    assert connection.next_event() is None
    assert connection.wanted == HEADER_SIZE - 2


def test_payload_may_go_past_the_connection() -> None:
    connection = receiving(1000)
    connection.payload_moved(999)
    assert connection.payload_left == 1
    connection.payload_moved(1)
    assert connection.next_event() is None


def test_no_more_goes_past_than_the_payload_holds() -> None:
    connection = receiving(5)
    with pytest.raises(LocalProtocolError):
        connection.payload_moved(6)
    assert connection.payload_left == 5


def test_nothing_goes_past_what_came_in_before_it() -> None:
    connection = receiving(5)
    connection.receive_bytes(b"a")
    with pytest.raises(LocalProtocolError):
        connection.payload_moved(1)
    assert connection.take_payload(5) == b"a"
    connection.payload_moved(4)


def test_payload_must_be_taken_before_the_next_event() -> None:
    connection = receiving(1)
    with pytest.raises(LocalProtocolError, match="has not been taken"):
        connection.next_event()


def test_wanted_is_exactly_what_the_next_event_needs() -> None:
    connection = ready_server().connection
    connection.receive_bytes(b"put a\n")
    connection.next_event()
    frame = encode_json(Kind.END, {"size": 1, "digest": "d"})
    assert connection.wanted == HEADER_SIZE
    connection.receive_bytes(frame[:2])
    assert connection.wanted == HEADER_SIZE - 2
    connection.receive_bytes(frame[2:HEADER_SIZE])
    assert connection.next_event() is None
    assert connection.wanted == len(frame) - HEADER_SIZE
    connection.receive_bytes(frame[HEADER_SIZE:])
    assert connection.next_event() == End(1, "d")
    assert connection.wanted == HEADER_SIZE


# The end of input, and other greetings.


@pytest.mark.parametrize(
    ("sent", "clean"), [(b"", True), (b"dir", False), (b"put a\n", False), (b"put a\nD\0", False)]
)
def test_end_of_input_of_a_client(sent: bytes, clean: bool) -> None:
    side = ready_server()
    side.hear_pieces([sent])
    assert only(side.hear(b"")) == InputEnded(clean)
    assert side.connection.has_ended


def test_end_of_input_of_a_server() -> None:
    assert ready_client().hear(b"") == [InputEnded(clean=True)]
    assert Side(Role.CLIENT).hear(b"") == [InputEnded(clean=False)]
    side = ready_client()
    side.connection.send_command(DIR)
    assert side.hear(b"") == [InputEnded(clean=False)]


def test_end_of_input_within_a_payload_is_for_the_channel_to_see() -> None:
    side = ready_server()
    side.hear(b"put a\nD\0\0\0\x05abc")
    assert side.hear(b"") == []
    assert side.connection.payload_left == 2


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"220 ready\r\n"]
)
def test_other_services_break_the_rules_at_their_first_bytes(greeting: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Side(Role.CLIENT).hear(greeting[:HEADER_SIZE])


def test_end_of_no_file_says_no_digest_of_what_began_it() -> None:
    pair = Pair()
    pair.to_server(pair.client.send_command(Command("put", "a")), pair.client.send_end(End(0, "d")))
    pair.to_client(pair.server.send_reply({}))
    pair.to_server(pair.client.send_command(Command("mput")))
    pair.to_client(pair.server.send_error(BadArgument("no")))
    # Side.hear compares the digest
    assert pair.to_server(pair.client.send_end(End(0, "d"))) == [End(0, "d")]
    assert pair.client.state is pair.server.state is State.READY
