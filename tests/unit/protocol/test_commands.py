from __future__ import annotations

from typing import Any

import pytest

from ftransfer.errors import BadArgument, FtransferError, LocalProtocolError, UnknownVerb
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

LARGEST = 2**63 - 1


def bad(line: bytes) -> BadLine:
    parsed = parse_line(line)
    assert isinstance(parsed, BadLine), parsed
    return parsed


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"dir", Command("dir")),
        (b"dir ", Command("dir")),
        (b"dir\r", Command("dir")),
        (b"DIR", Command("dir")),
        (b"ls", Command("dir")),
        (b"exit", Command("close")),
        (b"quit", Command("close")),
        (b"dir lab/2024", Command("dir", "lab/2024")),
        (b"get my holiday photo.jpg", Command("get", "my holiday photo.jpg")),
        (b"get my holiday photo.jpg\r", Command("get", "my holiday photo.jpg")),
        (b"get  two spaces ", Command("get", " two spaces ")),
        (b"get -rf", Command("get", "-rf")),
        (b"get {}", Command("get", "{}")),
        (b"get it's", Command("get", "it's")),
        (b'get a "quoted" name', Command("get", 'a "quoted" name')),
        ("get 射频仿真.pptx".encode(), Command("get", "射频仿真.pptx")),
        ("get 😀".encode(), Command("get", "😀")),
        (b"get a\rb", Command("get", "a\rb")),
        # Parses; the name is refused later, with its own words
        (
            b"get a\x00b",
            Command("get", "a\x00b"),
        ),
        (b"get ../../etc/passwd", Command("get", "../../etc/passwd")),
        (b'get "a b.txt"', Command("get", "a b.txt")),
        (b'get "a b.txt"\r', Command("get", "a b.txt")),
        (b'get "a b.txt"  \t ', Command("get", "a b.txt")),
        (b'get "a b.txt" {"offset": 1048576}', Command("get", "a b.txt", {"offset": 1048576})),
        (b'get "a" {}', Command("get", "a")),
        (b'get "\\u5c04"', Command("get", "射")),
        (b'get "line\\nfeed \\"q\\""', Command("get", 'line\nfeed "q"')),
        (b'get "\\udcff\\udc80"', Command("get", "\udcff\udc80")),
        (b'dir ""', Command("dir")),
        (b'dir "" {"recursive": true}', Command("dir", "", {"recursive": True})),
        (b'get "a" {"offset": null}', Command("get", "a")),
        (b'get "a" {"colour": "red", "offset": 2}', Command("get", "a", {"offset": 2})),
        (b'get "a" {"offset": 0}', Command("get", "a", {"offset": 0})),
        (f'get "a" {{"offset": {LARGEST}}}'.encode(), Command("get", "a", {"offset": LARGEST})),
        (b'put "a" {"size": 3, "wait": true}', Command("put", "a", {"size": 3, "wait": True})),
        (b"put a", Command("put", "a")),
        (b"help", Command("help")),
        (b"close", Command("close")),
    ],
)
def test_line_is_understood(line: bytes, command: Command) -> None:
    assert parse_line(line) == command


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        (b"", UnknownVerb, "an empty line"),
        (b"\r", UnknownVerb, "an empty line"),
        (b" dir", UnknownVerb, "an empty line"),
        (b"fetch a", UnknownVerb, "unknown verb fetch"),
        (b"get\ta", UnknownVerb, r"unknown verb get\\ta"),
        (b"GET/ HTTP/1.1", UnknownVerb, "unknown verb get/"),
        (b"\x1b[31mred", UnknownVerb, r"\\x1b\[31mred"),
        (b"get", BadArgument, "get needs an argument: get NAME"),
        (b"get ", BadArgument, "get needs an argument"),
        (b'get ""', BadArgument, "get needs an argument"),
        (b"put", BadArgument, "put needs an argument"),
        (b"help me", BadArgument, "help takes no argument"),
        (b"close now", BadArgument, "close takes no argument"),
        (b"get \xff", BadArgument, "not UTF-8"),
        (b"get \xed\xb2\x80", BadArgument, "not UTF-8"),
        (b"\xff", BadArgument, "not UTF-8"),
        (b'get "', BadArgument, "not a JSON string"),
        (b'get "a', BadArgument, "not a JSON string"),
        (b'get "a" x', BadArgument, "not a JSON string"),
        (b'get "a" {', BadArgument, "not a JSON string"),
        (b'get "a" {} {}', BadArgument, "not a JSON string"),
        (b'get "a" "b"', BadArgument, "not a JSON object"),
        (b'get "a" []', BadArgument, "not a JSON object"),
        (b'get "a" null', BadArgument, "not a JSON object"),
        (b'get "a" {"offset": ' + b"[" * 50_000, BadArgument, "not a JSON string"),
        (b'get "a" {"offset": ' + b"1" * 5000 + b"}", BadArgument, "not a JSON string"),
        (b'get "a\tb"', BadArgument, "not a JSON string"),
        (b'get "a" {"offset": -1}', BadArgument, 'the option "offset" of get is out of range'),
        (f'get "a" {{"offset": {LARGEST + 1}}}'.encode(), BadArgument, "out of range"),
        (b'get "a" {"offset": 1.0}', BadArgument, "not of type int"),
        (b'get "a" {"offset": true}', BadArgument, "not of type int"),
        (b'get "a" {"offset": "1"}', BadArgument, "not of type int"),
        (b'get "a" {"offset": NaN}', BadArgument, "not a JSON string"),
        (b'get "a" {"x": NaN}', BadArgument, "not a JSON string"),
        (b'get "a" {"x": [-Infinity]}', BadArgument, "not a JSON string"),
        (b'get "a"{"offset": 1}', BadArgument, "not a JSON string"),
        (b'get "a"\t{"offset": 1}', BadArgument, "not a JSON string"),
        (b'put "a" {"source": "' + b"s" * 257 + b'"}', BadArgument, "longer than 256 bytes"),
        (
            b'put "a" {"source": "' + "é".encode() * 129 + b'"}',
            BadArgument,
            "longer than 256 bytes",
        ),
        (b'as "a" {"token": "' + b"s" * 257 + b'"}', BadArgument, "longer than 256 bytes"),
        (b'setstat "a" {"mtime_ns": -9223372036854775809}', BadArgument, "out of range"),
        (b'get "a" {"identity": 1}', BadArgument, "not of type str"),
        (b'dir "a" {"recursive": 1}', BadArgument, "not of type bool"),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else None,
)
def test_line_is_refused(line: bytes, kind: type[FtransferError], says: str) -> None:
    with pytest.raises(kind, match=says):
        raise bad(line).error


def test_unknown_verb_in_an_answer_is_cut_short() -> None:
    assert len(str(bad(b"x" * 10_000).error)) < 100


@pytest.mark.parametrize("line", [b"fetch a", b"", b"get", b"get \xff", b'dir "', b"close now"])
def test_bad_line_without_frames_leaves_the_session_in_step(line: bytes) -> None:
    assert bad(line).in_step


@pytest.mark.parametrize("line", [b"put", b"PUT", b"put \xff", b'put "', b'put "a" {"size": -1}'])
def test_bad_put_is_out_of_step_since_its_frames_may_follow(line: bytes) -> None:
    assert not bad(line).in_step


# Formatting.


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Command("dir"), b"dir\n"),
        (Command("dir", "lab/2024"), b"dir lab/2024\n"),
        (Command("get", "my holiday photo.jpg"), b"get my holiday photo.jpg\n"),
        (Command("get", "射频仿真.pptx"), "get 射频仿真.pptx\n".encode()),
        (Command("get", 'say "hi"'), b'get say "hi"\n'),
        (Command("get", '"'), b'get "\\""\n'),
        (Command("get", " a"), b'get " a"\n'),
        (Command("get", "a "), b'get "a "\n'),
        (Command("get", "a\nb"), b'get "a\\nb"\n'),
        (Command("get", "a\rb"), b'get "a\\rb"\n'),
        (Command("get", "a\0b"), b'get "a\\u0000b"\n'),
        (Command("get", "\udcff"), b'get "\\udcff"\n'),
        (Command("get", "a", {"offset": 5}), b'get "a" {"offset":5}\n'),
        (Command("dir", "", {"recursive": True}), b'dir "" {"recursive":true}\n'),
        (Command("get", "a", {"offset": None}), b"get a\n"),
    ],
)
def test_command_is_formatted(command: Command, line: bytes) -> None:
    assert format_command(command) == line


@pytest.mark.parametrize(
    "argument",
    ["a\nclose", "a\r\nclose", "\n", "a\r", "a\0", "a\u2028b", "\x85", "\u202eexe.txt", "\x1b[2J"],
)
def test_no_argument_can_end_its_line_or_reach_the_wire_raw(argument: str) -> None:
    line = format_command(Command("get", argument))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line[:-1].decode().isprintable()
    assert parse_line(line[:-1]) == Command("get", argument)


def test_option_text_cannot_end_the_line() -> None:
    command = Command("get", "a", {"identity": "x\ny\udcff"})
    line = format_command(command)
    assert line.count(b"\n") == 1
    assert parse_line(line[:-1]) == command


@pytest.mark.parametrize("verb", ["", "fetch", "exit", "GET", "get a\nclose"])
def test_unknown_verb_is_not_sent(verb: str) -> None:
    with pytest.raises(LocalProtocolError):
        format_command(Command(verb))


# The table.


@pytest.mark.parametrize("verb", VERBS.values(), ids=str)
def test_verb_row_is_consistent(verb: Verb) -> None:
    assert VERBS[verb.word] is verb
    assert verb.word == verb.word.lower()
    assert " " not in verb.word
    assert verb.summary
    assert set(verb.needs) <= set(verb.options)
    assert set(verb.options.values()) <= {int, str, bool}


def test_aliases_stand_for_verbs_and_hide_none() -> None:
    assert set(ALIASES.values()) <= set(VERBS)
    assert not set(ALIASES) & set(VERBS)


@pytest.mark.parametrize("options", [{}, {"wait": False}, {"size": 1}])
def test_put_does_not_wait_unless_asked(options: dict[str, Any]) -> None:
    assert not Command("put", "a", options).waits
    assert Command("put", "a", {**options, "wait": True}).waits


def test_only_a_file_waits() -> None:
    assert Command("put", "a").body is Body.FILE
    assert not Command("get", "a", {"wait": True}).waits
