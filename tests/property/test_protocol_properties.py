from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ftransfer.errors import (
    CLASS_OF_CODE,
    BadArgument,
    DigestMismatch,
    LocalProtocolError,
    RemoteProtocolError,
    UnknownVerb,
)
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.protocol.commands import (
    ALIASES,
    VERBS,
    BadLine,
    Body,
    Command,
    Verb,
    format_command,
    parse_line,
)
from ftransfer.protocol.connection import Connection, InputEnded, Role
from ftransfer.protocol.framing import (
    BULK,
    HEADER_SIZE,
    Kind,
    decode_header,
    decode_pack,
    dump_json,
    encode_header,
    encode_json,
    encode_pack,
    load_json,
)
from ftransfer.protocol.replies import (
    End,
    ErrorReply,
    Finish,
    Hello,
    Listing,
    Meta,
    Notice,
    Outcomes,
    Reply,
    decode_payload,
    encode_end,
    encode_error,
    encode_hello,
    encode_meta,
)
from ftransfer.protocol.state import TRANSITIONS, State, Step
from tests.support.pair import HELLO, Content, Heard, Side

# Text as it comes from file names: anything, and bytes that are not UTF-8 as U+DC80 to U+DCFF.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    max_size=20,
)
COUNT = st.integers(0, 2**63 - 1)
TIME = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
OPTION_VALUES: dict[type, st.SearchStrategy[Any]] = {int: COUNT, str: TEXT, bool: st.booleans()}


def commands_of(verb: Verb) -> st.SearchStrategy[Command]:
    argument = (
        (TEXT.filter(bool) if verb.needs_argument else TEXT) if verb.takes_argument else st.just("")
    )
    values = {key: OPTION_VALUES[kind] for key, kind in verb.options.items()}
    needed = {key: values.pop(key) for key in verb.needs}
    return st.builds(
        Command, st.just(verb.word), argument, st.fixed_dictionaries(needed, optional=values)
    )


COMMANDS = st.sampled_from(sorted(VERBS)).flatmap(lambda word: commands_of(VERBS[word]))
METAS = st.builds(Meta, TEXT.filter(bool), COUNT, TIME, COUNT, TEXT, COUNT, COUNT, st.booleans())
HELLOS = st.builds(
    Hello,
    st.integers(0, 9),
    TEXT,
    COUNT,
    TEXT,
    st.booleans(),
    TEXT,
    st.lists(TEXT, max_size=2).map(tuple),
    st.lists(TEXT, max_size=3).map(tuple),
    st.dictionaries(TEXT, COUNT | st.floats(0, 2.0**62), max_size=3),
)


def decoded(frame: bytes) -> object:
    header = decode_header(frame[:HEADER_SIZE], DEFAULT_LIMITS)
    assert header.length == len(frame) - HEADER_SIZE
    return decode_payload(header.kind, frame[HEADER_SIZE:])


# ChangeBatch trips.


@given(COMMANDS)
def test_command_comes_back(command: Command) -> None:
    line = format_command(command)
    assert line.count(b"\n") == 1
    assert parse_line(line.removesuffix(b"\n")) == command
    assert parse_line(line.removesuffix(b"\n") + b"\r") == command


@given(st.sampled_from([*VERBS, *ALIASES]), st.text(max_size=20))
def test_plain_argument_is_taken_as_it_is(word: str, argument: str) -> None:
    verb = VERBS[ALIASES.get(word, word)]
    parsed = parse_line(f"{word} {argument}".encode())
    if (
        argument.startswith('"')
        or not verb.takes_argument
        or verb.needs
        or argument.endswith("\r")
        or not argument
    ):
        return
    assert parsed == Command(verb.word, argument)


@given(JSON)
def test_json_comes_back(value: object) -> None:
    assert load_json(dump_json(value), "it") == value


@given(METAS)
def test_meta_comes_back(meta: Meta) -> None:
    assert decoded(encode_meta(meta)) == meta


@given(HELLOS)
def test_hello_comes_back(hello: Hello) -> None:
    assert decoded(encode_hello(hello)) == hello


@given(COUNT, TEXT)
def test_end_comes_back(size: int, digest: str) -> None:
    assert decoded(encode_end(End(size, digest))) == End(size, digest)


@given(st.sampled_from(sorted(CLASS_OF_CODE)), TEXT, TEXT)
def test_error_comes_back(code: str, message: str, name: str) -> None:
    reply = decoded(encode_error(CLASS_OF_CODE[code](message, name=name)))
    assert reply == ErrorReply(code, message, name)
    assert isinstance(reply, ErrorReply)
    error = reply.to_exception()
    assert (type(error), str(error), error.name) == (CLASS_OF_CODE[code], message, name)


@given(st.sampled_from(Kind), st.integers(0, 2**32 - 1))
def test_header_comes_back_or_is_above_the_cap(kind: Kind, length: int) -> None:
    header = encode_header(kind, length)
    assert len(header) == HEADER_SIZE
    if length > (DEFAULT_LIMITS.max_chunk_bytes if kind in BULK else DEFAULT_LIMITS.max_json_bytes):
        with pytest.raises(RemoteProtocolError):
            decode_header(header, DEFAULT_LIMITS)
    else:
        assert (
            decode_header(header, DEFAULT_LIMITS).kind,
            decode_header(header, DEFAULT_LIMITS).length,
        ) == (kind, length)


@given(st.lists(st.tuples(TEXT, st.binary(max_size=30)), max_size=6))
def test_pack_comes_back(files: list[tuple[str, bytes]]) -> None:
    columns: dict[str, list[Any]] = {
        "name": [name for name, _ in files],
        "size": [len(data) for _, data in files],
    }
    buffers, digest = encode_pack(columns, [data for _, data in files], DEFAULT_LIMITS)
    pack = decode_pack(b"".join(map(bytes, buffers))[HEADER_SIZE:])
    assert (pack.columns, list(map(bytes, pack.contents)), pack.digest) == (
        columns,
        [data for _, data in files],
        digest,
    )


# Junk.


@given(
    st.binary(max_size=60)
    | st.tuples(st.sampled_from(sorted(VERBS)), st.binary(max_size=40)).map(
        lambda t: t[0].encode() + b" " + t[1]
    )
)
def test_any_line_is_a_command_or_a_documented_error(line: bytes) -> None:
    parsed = parse_line(line)
    if isinstance(parsed, BadLine):
        assert isinstance(parsed.error, BadArgument | UnknownVerb)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(parsed.error))
    else:
        assert parsed.verb in VERBS


@given(st.sampled_from(sorted(VERBS)), JSON, JSON)
def test_any_structured_line_is_a_command_or_a_documented_error(
    word: str, argument: object, options: object
) -> None:
    parsed = parse_line(f"{word} ".encode() + dump_json(argument) + b" " + dump_json(options))
    if isinstance(parsed, Command):
        assert all(
            type(parsed.options[key]) is VERBS[parsed.verb].options[key] for key in parsed.options
        )
    else:
        assert isinstance(parsed.error, BadArgument)


KNOWN_KEYS = (
    "name size mtime_ns mode identity offset length restarted digest code message event protocol"
    " server features limits".split()
)


@given(
    st.sampled_from([kind for kind in Kind if kind not in BULK]),
    st.binary(max_size=40)
    | JSON.map(dump_json)
    | st.dictionaries(st.sampled_from(KNOWN_KEYS), JSON).map(dump_json),
)
def test_any_payload_is_a_value_or_the_peers_error(kind: Kind, payload: bytes) -> None:
    try:
        value = decode_payload(kind, payload)
    except RemoteProtocolError:
        return
    if isinstance(value, ErrorReply):
        assert value.to_exception().code == value.code


@given(
    st.binary(max_size=60)
    | JSON.map(dump_json).map(lambda index: len(index).to_bytes(4) + blake3(index).digest() + index)
)
def test_any_pack_is_taken_apart_or_the_peers_error(payload: bytes) -> None:
    try:
        pack = decode_pack(payload)
    except (RemoteProtocolError, DigestMismatch):
        return
    assert sum(map(len, pack.contents)) <= len(payload)


SMALL = Limits(max_line_bytes=200, max_chunk_bytes=300, max_json_bytes=2_000)
STARTS: list[tuple[Role, State]] = [(role, state) for role in Role for state in State]


@given(
    st.sampled_from(STARTS),
    st.lists(
        st.binary(min_size=1, max_size=30)
        | st.sampled_from(list(Kind)).map(lambda kind: encode_header(kind, 9))
    ),
)
def test_any_input_gives_events_or_the_peers_error_in_every_state(
    start: tuple[Role, State], pieces: list[bytes]
) -> None:
    role, state = start
    side = Side(role, SMALL)
    side.connection.state = state
    try:
        side.hear_pieces(pieces)
        side.hear(b"")
    except RemoteProtocolError:
        pass


# Any split of the input equals one piece.


def client_stream(commands: list[Command], chunks: list[bytes]) -> bytes:
    """Return what a client sends for some commands, each file in the same chunks."""
    stream = b""
    for command in commands:
        stream += format_command(command)
        match command.body:
            case Body.FILE:
                stream += b"".join(
                    encode_header(Kind.DATA, len(chunk)) + chunk for chunk in chunks
                ) + encode_end(End(1, "d"))
            case Body.NAMES | Body.PACKS:
                stream += encode_header(Kind.FINISH, 0)
    return stream


def heard_by_server(pieces: Iterable[bytes]) -> list[Heard]:
    """Return what a server receives that answers each command with a reply."""
    side = Side(Role.SERVER)
    side.connection.send_hello(HELLO)
    heard: list[Heard] = []
    for piece in [*pieces, b""]:
        new = side.hear(piece)
        while new:
            heard += new
            if isinstance(new[-1], InputEnded):
                break
            if side.connection.state is State.OFFERED:
                side.connection.send_meta(Meta())
            elif side.connection.state is State.ANSWERING:
                side.connection.send_reply({})
            new = side.listen()
    return heard


def heard_by_client(pieces: Iterable[bytes], questions: int) -> list[Heard]:
    side = Side(Role.CLIENT)
    for _ in range(questions):
        side.connection.send_command(Command("get", "a"))
    return side.hear_pieces(pieces) + side.hear(b"")


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in cuts)})
    return [stream[start:end] for start, end in zip(places, places[1:], strict=False)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)
CHUNKS = st.lists(st.binary(max_size=30), max_size=3)


@given(st.lists(COMMANDS, max_size=4), CHUNKS, CUTS)
def test_a_server_hears_the_same_however_the_input_is_cut(
    commands: list[Command], chunks: list[bytes], cuts: list[int]
) -> None:
    stream = client_stream(commands, chunks)
    whole = heard_by_server([stream] if stream else [])
    assert [heard for heard in whole if isinstance(heard, Command)] == commands
    assert heard_by_server(cut(stream, cuts)) == whole
    assert heard_by_server(bytes([byte]) for byte in stream) == whole


@given(st.lists(st.tuples(METAS, CHUNKS, st.booleans()), max_size=3), CUTS)
def test_a_client_hears_the_same_however_the_input_is_cut(
    answers: list[tuple[Meta, list[bytes], bool]], cuts: list[int]
) -> None:
    stream = encode_hello(HELLO)
    for meta, chunks, is_good in answers:
        stream += encode_meta(meta) + b"".join(
            encode_header(Kind.DATA, len(chunk)) + chunk for chunk in chunks
        )
        stream += (
            encode_end(End(1, "d")) + encode_json(Kind.REPLY, {})
            if is_good
            else encode_error(BadArgument("x"))
        )
    whole = heard_by_client([stream], len(answers))
    assert sum(isinstance(heard, Reply | ErrorReply) for heard in whole) == len(answers)
    assert heard_by_client(cut(stream, cuts), len(answers)) == whole
    assert heard_by_client((bytes([byte]) for byte in stream), len(answers)) == whole


# Two connections that talk to each other.

SERVER_STEPS = {
    Step.META,
    Step.DATA_DOWN,
    Step.END_DOWN,
    Step.LISTING,
    Step.PACK_DOWN,
    Step.OUTCOMES,
    Step.REPLY,
    Step.ERROR,
    Step.EVENT,
}
CLIENT_STEPS = {Step.DATA_UP, Step.END_UP, Step.NAMES, Step.PACK_UP, Step.FINISH, Step.ABORT}


class ClientSession(RuleBasedStateMachine):
    """Two honest ends never refuse each other, and each receives what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Side(Role.CLIENT)
        self.server = Side(Role.SERVER)
        self.up = bytearray()  # on the way to the server
        self.down = bytearray()
        self.said_up: list[Heard] = []
        self.said_down: list[Heard] = []
        self.heard_up: list[Heard] = []
        self.heard_down: list[Heard] = []

    @initialize()
    def greet(self) -> None:
        self.down += self.server.connection.send_hello(HELLO)
        self.said_down.append(HELLO)

    @rule(command=COMMANDS)
    def client_commands(self, command: Command) -> None:
        owes_frames = (
            bool(self._steps(self.client, CLIENT_STEPS))
            or self.client.connection.state is State.OFFERED
        )
        last = next((said for said in reversed(self.said_up) if isinstance(said, Command)), None)
        waits_for_turn = (
            last is not None and last.body is not Body.NONE and self.said_up[-1] is last
        )
        try:
            self.up += self.client.connection.send_command(command)
        except LocalProtocolError:
            assert owes_frames or waits_for_turn
            return
        assert not owes_frames
        self.said_up.append(command)

    @precondition(lambda self: self._steps(self.client, CLIENT_STEPS))
    @rule(choice=st.integers(0, 99), content=st.binary(max_size=20))
    def client_goes_on(self, choice: int, content: bytes) -> None:
        steps = self._steps(self.client, CLIENT_STEPS)
        self._client_says(steps[choice % len(steps)], content)

    @precondition(lambda self: self._steps(self.server, SERVER_STEPS))
    @rule(choice=st.integers(0, 99), content=st.binary(max_size=20))
    def server_goes_on(self, choice: int, content: bytes) -> None:
        steps = self._steps(self.server, SERVER_STEPS)
        self._server_says(steps[choice % len(steps)], content)

    @rule(count=st.integers(1, 200))
    def bytes_reach_the_server(self, count: int) -> None:
        if self.up:
            piece = bytes(self.up[:count])
            del self.up[:count]
            self.heard_up += self.server.hear(piece)

    @rule(count=st.integers(1, 200))
    def bytes_reach_the_client(self, count: int) -> None:
        if self.down:
            piece = bytes(self.down[:count])
            del self.down[:count]
            self.heard_down += self.client.hear(piece)

    @invariant()
    def each_hears_what_was_said(self) -> None:
        assert self.heard_up == self.said_up[: len(self.heard_up)]
        assert self.heard_down == self.said_down[: len(self.heard_down)]

    def teardown(self) -> None:
        """Bring everything that was begun to its end; then both are ready, and nothing was lost."""
        if not self.said_down:  # never greeted
            return
        ends_up = {
            State.RECEIVING: Step.END_UP,
            State.PULLING: Step.FINISH,
            State.PUSHING: Step.FINISH,
            State.DISCARDING: Step.ABORT,
        }
        ends_down = {
            State.ANSWERING: Step.REPLY,
            State.SENDING: Step.ERROR,
            State.OFFERED: Step.META,
        }
        while True:
            self.bytes_reach_the_client(1_000_000)
            self.bytes_reach_the_server(1_000_000)
            if (last := ends_up.get(self.client.connection.state)) is not None:
                self._client_says(last, b"")
            elif (last := ends_down.get(self.server.connection.state)) is not None:
                self._server_says(last, b"")
            elif not self.up and not self.down:
                break
        assert self.heard_up == self.said_up
        assert self.heard_down == self.said_down
        assert self.client.connection.state is self.server.connection.state is State.READY

    @staticmethod
    def _steps(side: Side, own: set[Step]) -> list[Step]:
        """Return what a side may send now.

        An error of the server between commands would end the session, so it is left out.
        """
        state = side.connection.state
        return [
            step
            for before, step in TRANSITIONS
            if before is state and step in own and (state, step) != (State.READY, Step.ERROR)
        ]

    def _client_says(self, step: Step, content: bytes) -> None:
        said, buffers = say(self.client.connection, step, content)
        self.said_up.append(said)
        self.up += b"".join(map(bytes, buffers))

    def _server_says(self, step: Step, content: bytes) -> None:
        said, buffers = say(self.server.connection, step, content)
        self.said_down.append(said)
        self.down += b"".join(map(bytes, buffers))
        self.heard_up += self.server.listen()


def say(
    connection: Connection, step: Step, content: bytes
) -> tuple[Heard, list[bytes | memoryview]]:
    """Take one step; return what the peer should receive, and the bytes."""
    match step:
        case Step.META:
            return Meta("a", len(content)), [connection.send_meta(Meta("a", len(content)))]
        case Step.DATA_DOWN | Step.DATA_UP:
            return Content(Kind.DATA, content), [connection.send_data_header(len(content)), content]
        case Step.END_DOWN | Step.END_UP:
            return End(len(content), "d"), [connection.send_end(End(len(content), "d"))]
        case Step.LISTING | Step.NAMES:
            return Listing([content.hex()]), [connection.send_list([content.hex()])]
        case Step.PACK_DOWN | Step.PACK_UP:
            buffers, _ = connection.send_pack({"size": [len(content)]}, [content])
            return Content(Kind.PACK, b"".join(map(bytes, buffers))[HEADER_SIZE:]), buffers
        case Step.OUTCOMES:
            return Outcomes([{"name": content.hex()}]), [
                connection.send_outcomes([{"name": content.hex()}])
            ]
        case Step.FINISH:
            return Finish(), [connection.send_finish()]
        case Step.REPLY:
            return Reply({"name": content.hex()}), [connection.send_reply({"name": content.hex()})]
        case Step.ERROR | Step.ABORT:
            return ErrorReply("bad_argument", content.hex()), [
                connection.send_error(BadArgument(content.hex()))
            ]
        case Step.EVENT:
            notice = Notice("ping", {"event": "ping", "n": len(content)})
            return notice, [connection.send_notice(notice)]
        case _:
            raise AssertionError(step)


TestConversation = ClientSession.TestCase
