"""Hold docs/protocol.md against the code: its tables, numbers and sample conversations."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import CLASS_OF_CODE, RemoteProtocolError
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.names import RESERVED_PREFIX, parse_name
from ftransfer.protocol.commands import ALIASES, VERBS, BadLine, Command, format_command, parse_line
from ftransfer.protocol.connection import Connection, Role
from ftransfer.protocol.framing import HEADER_SIZE, Kind, encode_header
from ftransfer.protocol.replies import (
    HEARTBEAT,
    End,
    Hello,
    JsonValue,
    Listing,
    Meta,
    Notice,
    Reply,
    decode_payload,
    encode_hello,
    encode_meta,
)
from ftransfer.protocol.state import TRANSITIONS, State, Step, advance
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry, line_of, lines_of
from ftransfer.transfer.records import entry_to_wire
from ftransfer.transfer.spans import MAX_ENTRIES, span_of, span_to_wire
from tests.support.pair import HELLO, Content, Heard, Pair, Side

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")

# Codes of classes that stand for a group, or for what only the client's own end can know: no server
# says them.
NEVER_SENT = set(
    "error share transfer auth channel request cannot_connect cannot_listen closed not_trusted"
    " bad_file left_out".split()
)


def section(title: str) -> str:
    """Return the text of one section, by its title without number."""
    found = re.search(
        rf"^###? [\d.]+ {re.escape(title)}\n(.*?)(?=^###? |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"no section {title}"
    return found[1]


def prose(title: str) -> str:
    """Return a section with its line breaks as spaces."""
    return " ".join(section(title).split())


def table(title: str, number: int = 0) -> list[list[str]]:
    """Return the cells of a table, without its head and rule."""
    blocks = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in blocks[number].splitlines()[2:]
    ]


def words(text: str) -> list[str]:
    """Return what stands in backquotes."""
    return re.findall(r"`([^`]+)`", text)


def first_words(title: str, number: int = 0) -> list[str]:
    """Return the words of the first column of a table."""
    return [word for row in table(title, number) for word in words(row[0])]


# Tables.


def test_kinds() -> None:
    senders = {(True, False): "client", (False, True): "server", (True, True): "both"}
    documented = {
        words(letter)[0]: (name, sent_by) for letter, name, sent_by, _ in table("Frames", 1)
    }
    assert documented == {
        kind.value.decode(): (
            kind.name.lower(),
            senders[is_sent_to(Role.SERVER, kind), is_sent_to(Role.CLIENT, kind)],
        )
        for kind in Kind
    }


def is_sent_to(role: Role, kind: Kind) -> bool:
    side = Side(role)
    side.connection.state = State.RECEIVING  # where both ends listen for frames
    try:
        side.hear(encode_header(kind, 0))
    except RemoteProtocolError as error:
        return "is not sent frames" not in str(error)
    return True


def test_verbs() -> None:
    documented = {
        words(verb)[0]: (argument, dict(re.findall(r"`(\w+)` (\w+)", options)))
        for verb, argument, options, _ in table("Lines")
    }
    assert documented == {
        verb.word: (verb.argument, {key: kind.__name__ for key, kind in verb.options.items()})
        for verb in VERBS.values()
    }


def test_aliases() -> None:
    text = re.sub(
        r"`(\w+)` and `(\w+)` are other words for `(\w+)`",
        r"`\1` for `\3`, `\2` for `\3`",
        prose("Lines"),
    )
    assert dict(re.findall(r"`(\w+)` for `(\w+)`", text)) == ALIASES


def test_states() -> None:
    documented = {
        (State(before), Step(step)): State(after) for before, step, after in table("States")
    }
    assert documented == {
        pair: after for pair, after in TRANSITIONS.items() if pair[1] is not Step.EVENT
    }


def test_events_may_come_in_all_states_but_two() -> None:
    assert "Events may come in all states but `greeting` and `closed`." in prose("States")
    assert {state for state, step in TRANSITIONS if step is Step.EVENT} == set(State) - {
        State.GREETING,
        State.CLOSED,
    }


def test_error_codes() -> None:
    documented = {words(code)[0]: when for code, when in table("Errors")}
    assert documented == {
        code: (cls.__doc__ or "").partition("\n")[0]
        for code, cls in CLASS_OF_CODE.items()
        if code not in NEVER_SENT
    }


def test_error_codes_in_the_text_are_in_the_table() -> None:
    named = set(re.findall(r"error `(\w+)`", " ".join(DOCUMENT.split())))
    assert named
    assert named <= set(first_words("Errors"))


def test_hello_keys() -> None:
    assert first_words("Hello") == list(json.loads(encode_hello(HELLO)[HEADER_SIZE:]))


def test_announced_limits_are_limits() -> None:
    announced = words(table("Hello")[-1][1])
    assert announced
    assert set(announced) <= set(Limits._fields)


def test_entry_keys() -> None:
    entries = (
        Entry("a", FILE, 1, 1, 1),
        Entry("a", LINK, 1, 1, 1, target="b"),
        Entry("a", FOLDER, 0, 1, 1, unreadable=True),
    )
    assert set(first_words("Listing")) == {key for entry in entries for key in entry_to_wire(entry)}


def test_span_keys() -> None:
    assert first_words("Spans") == list(span_to_wire(span_of(SAMPLE_LINES)))


def test_longest_span() -> None:
    assert f"1 to {MAX_ENTRIES};" in prose("Spans")


def test_attributes_in_lines() -> None:
    shown = {"SIZE": "5", "MTIME_NS": "-7", "MODE": "420", "TARGET": "b"}
    kinds = {"file": FILE, "folder": FOLDER, "link": LINK}
    for word, attributes in table("Spans", 1):
        expected = " ".join(
            [*words(attributes), *(shown[name] for name in re.findall("[A-Z_]+", attributes))]
        )
        line = line_of("n", kinds[word], 5, -7, 0o644, target="b")
        assert line == f"n\0{expected}\0"


def test_meta_keys() -> None:
    everything = json.loads(encode_meta(Meta("a", restarted=True))[HEADER_SIZE:])
    assert {*first_words("get"), "restarted"} == set(everything)
    assert "`restarted` is true in meta" in prose("put")


def test_events() -> None:
    assert HEARTBEAT in first_words("Events")


# Numbers.


def test_caps() -> None:
    limits = DEFAULT_LIMITS
    assert (
        f"at most {limits.max_chunk_bytes} bytes, of any other {limits.max_json_bytes};"
        in prose("Frames")
    )
    assert (
        f"longer than {limits.max_part_bytes} bytes; the whole is at most {limits.max_name_bytes}"
        " bytes" in prose("Names")
    )
    assert f"begin with `{RESERVED_PREFIX}`" in prose("Names")
    assert f"A frame is a header of {HEADER_SIZE} bytes" in prose("Frames")


def test_the_longest_name_fits_into_a_line_in_structured_form() -> None:
    line = format_command(
        Command(
            "get",
            "\udcff" * DEFAULT_LIMITS.max_name_bytes,
            {"offset": 2**63 - 1, "length": 2**63 - 1},
        )
    )
    assert len(line) < DEFAULT_LIMITS.max_line_bytes


# Sample conversations.

CONVERSATIONS = re.findall(
    r"^```\n(S H .*?)^```$", section("Sample conversations"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_sample_conversation(conversation: str) -> None:
    """Both ends accept each line and frame of the document, and would send the same."""
    pair = Pair(greet=False)
    for line in conversation.splitlines():
        if line.startswith("C: "):
            play_line(pair, line.removeprefix("C: "))
        else:
            sender, letter, payload = line.split(" ", 2)
            play_frame(pair, sender, Kind(letter.encode()), payload)
    assert pair.client.state is pair.server.state is State.READY


def play_line(pair: Pair, text: str) -> None:
    command = parse_line(text.encode())
    heard = pair.to_server(text.encode() + b"\n")
    if isinstance(command, BadLine):
        assert [type(bad) for bad in heard] == [BadLine]
        # A client of ours would not send it
        pair.client.state = advance(pair.client.state, Step.COMMAND)
    else:
        assert heard == [command]
        assert parse_line(pair.client.send_command(command).removesuffix(b"\n")) == command


def play_frame(pair: Pair, sender: str, kind: Kind, payload: str) -> None:
    connection = pair.server if sender == "S" else pair.client
    carry = pair.to_client if sender == "S" else pair.to_server
    expected: Heard
    if kind is Kind.DATA:
        content = json.loads(payload).encode()
        sent = connection.send_data_header(len(content)) + content
        expected = Content(Kind.DATA, content)
    else:
        expected = decode_payload(kind, payload.encode())
        sent = resend(connection, expected)
        assert sent[:1] == kind.value
        assert json.loads(sent[HEADER_SIZE:]) == json.loads(payload)
    heard = expected._replace(head="") if isinstance(expected, End) else expected
    assert carry(sent) == [heard]


def resend(connection: Connection, value: JsonValue) -> bytes:
    match value:
        case Hello():
            return connection.send_hello(value)
        case Meta():
            return connection.send_meta(value)
        case End():
            return connection.send_end(value)
        case Listing(items):
            return connection.send_list(items)
        case Reply(values):
            return connection.send_reply(dict(values))
        case Notice():
            return connection.send_notice(value)
        case _:
            return connection.send_error(value.to_exception())  # type: ignore[union-attr]  # the rest are errors


def test_samples_use_every_kind_but_those_of_batches() -> None:
    letters = set(re.findall(r"^[CS] (\w) ", "\n".join(CONVERSATIONS), re.MULTILINE))
    batches = {Kind.PACK, Kind.OUTCOMES, Kind.FINISH}
    assert letters == {kind.value.decode() for kind in Kind if kind not in batches}


def test_digests_in_the_samples_are_those_of_the_content() -> None:
    of_spans = {span_of(lines).digest for lines in (SAMPLE_LINES[:2], SAMPLE_LINES[2:])}
    assert set(re.findall(r'"digest":"(\w+)"', DOCUMENT)) == {
        *map(digest_of, (b"hello", b"he", b"llo")),
        *of_spans,
    }


# What is below www in the sample of a tree that is compared.
SAMPLE_LINES = lines_of(
    [
        Entry("www/a", FOLDER, 0, 1_700_000_000_000_000_000, 0o755),
        Entry("www/a/x", FILE, 5, 1_700_000_000_000_000_000, 0o644),
        Entry("www/b", FILE, 5, 1_700_000_000_000_000_000, 0o644),
    ],
    parse_name("www"),
)
