"""The grammar of the client's lines: one table row for each verb; line bytes <-> Command.

`verb [argument] LF`. Plain form: the rest of the line is the literal argument. Structured form: the
argument is a JSON string, optionally followed by one JSON object of options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from ftransfer.errors import BadArgument, FtransferError, LocalProtocolError, UnknownVerb
from ftransfer.limits import clamp_time
from ftransfer.names import escape


class Body(Enum):
    """What the client sends after the line."""

    NONE = "nothing"
    FILE = "the frames of one file"
    NAMES = "listing frames with names"
    PACKS = "pack frames"


class Verb(NamedTuple):
    """One row of the grammar.

    `argument` is "" for none, "[X]" for an optional one, "X" for a required one. An option's type
    is int (0 to 2**63 - 1), str or bool; `needs` are the required options.
    """

    word: str
    argument: str
    summary: str
    options: Mapping[str, type] = MappingProxyType({})
    needs: tuple[str, ...] = ()
    body: Body = Body.NONE

    @property
    def takes_argument(self) -> bool:
        return bool(self.argument)

    @property
    def needs_argument(self) -> bool:
        return bool(self.argument) and not self.argument.startswith("[")


_PUT_OPTIONS: Mapping[str, type] = {
    "size": int,
    "mtime_ns": int,
    "mode": int,
    "source": str,
    "wait": bool,
    "if_absent": bool,
    "if_match": str,
    "durable": bool,
    "parts": bool,
}
_PART_OPTIONS: Mapping[str, type] = {"upload": str, "offset": int, "length": int}


_DIR_OPTIONS: Mapping[str, type] = {
    "recursive": bool,
    "links": bool,
    "others": bool,
    "spans": bool,
    "after": str,
    "until": str,
}

VERBS: Mapping[str, Verb] = {
    verb.word: verb
    for verb in (
        Verb("dir", "[PATH]", "list a folder", _DIR_OPTIONS),
        Verb("get", "NAME", "receive a file", {"offset": int, "length": int, "identity": str}),
        Verb("put", "NAME", "send a file; its frames follow", _PUT_OPTIONS, body=Body.FILE),
        Verb(
            "part",
            "NAME",
            "send a part of a file",
            _PART_OPTIONS,
            needs=tuple(_PART_OPTIONS),
            body=Body.FILE,
        ),
        Verb(
            "mget",
            "[PATH]",
            "receive many small files; their names follow",
            {"recursive": bool, "others": bool},
            body=Body.NAMES,
        ),
        Verb("mput", "", "send many small files; packs follow", body=Body.PACKS),
        Verb("stat", "NAME", "describe a file or folder"),
        Verb("checksum", "NAME", "give the digest of a file"),
        Verb("mkdir", "NAME", "make a folder", {"parents": bool}),
        Verb(
            "mv",
            "NAME",
            "move or rename a file or folder",
            {"to": str, "replace": bool, "over": bool},
            needs=("to",),
        ),
        Verb("rm", "NAME", "remove a file or folder", {"recursive": bool}),
        Verb(
            "setstat",
            "NAME",
            "set the time or mode of a file or folder",
            {"mtime_ns": int, "mode": int},
        ),
        Verb(
            "partials",
            "[PATH]",
            "list uploads that were cut off, or remove them",
            {"clear": bool, "older_s": int, "source": str},
        ),
        Verb(
            "as",
            "[NAME]",
            "say what this session is called",
            {"user": str, "host": str, "token": str, "of": int},
        ),
        Verb("who", "", "list who is connected"),
        Verb("say", "TEXT", "say something to all who listen"),
        Verb("tell", "NAME", "say something to one: tell NAME TEXT", {"text": str}),
        Verb("listen", "", "be told what others say, and who comes and goes"),
        Verb("unlisten", "", "be told no more"),
        Verb("watch", "[PATH]", "be told what changes below a folder"),
        Verb("unwatch", "[PATH]", "be told no more; without PATH of nothing"),
        Verb("login", "[USER]", "say who you are", {"secret": str}, needs=("secret",)),
        Verb("help", "", "list the verbs"),
        Verb("close", "", "end the session (also: exit, quit)"),
    )
}
ALIASES: Mapping[str, str] = {"exit": "close", "quit": "close", "ls": "dir"}

_MAX_INTEGER = 2**63 - 1
_TIMES = frozenset(("mtime_ns",))  # some files are older than 1970
_MAX_WORD_BYTES = 256
# One side chooses these, and the other stores them
_WORDS = frozenset(("source", "upload", "identity", "token"))


class Command(NamedTuple):
    """A parsed line. `argument` may hold surrogate escapes; it is not checked as a name yet."""

    verb: str
    argument: str = ""
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def body(self) -> Body:
        return VERBS[self.verb].body

    @property
    def waits(self) -> bool:
        """Return whether the client waits for the server's answer before it sends a file."""
        return self.body is Body.FILE and self.options.get("wait") is True


class BadLine(NamedTuple):
    """A line that could not be parsed; `error` is the answer to it.

    `in_step` is false if frames that cannot be distinguished from lines may follow, so the session
    must end.
    """

    error: FtransferError
    in_step: bool = True


def parse_line(line: bytes) -> Command | BadLine:
    """Parse one line, without its LF; a CR at the end is ignored.

    Source: docs/protocol.md section 3.
    """
    word = ""
    try:
        try:
            text = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            word = line.split(b" ", 1)[0].decode("utf-8", "replace").lower()
            raise BadArgument(
                'the line is not UTF-8; write other bytes as \\udcXX in the form: verb "name"'
            ) from error
        word, _, rest = text.partition(" ")
        word = word.lower()
        verb = VERBS.get(ALIASES.get(word, word))
        if verb is None:
            raise UnknownVerb(
                f"unknown verb {escape(word[:40])!s}; try help"
                if word
                else "an empty line; try help"
            )
        argument, options = _parse_structured(rest) if rest.startswith('"') else (rest, {})
        _check(verb, argument, options)
        return Command(
            verb.word, argument, {key: options[key] for key in verb.options if key in options}
        )
    except (BadArgument, UnknownVerb) as error:
        verb = VERBS.get(ALIASES.get(word, word))
        return BadLine(error, in_step=verb is None or verb.body is Body.NONE)


def _parse_structured(text: str) -> tuple[str, dict[str, Any]]:
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    try:
        argument, end = decoder.raw_decode(text)
        rest = text[end:].rstrip(" \t")
        if rest and not rest.startswith(" "):
            raise ValueError("no space before the options")
        options = decoder.decode(rest) if rest else {}
    except (ValueError, RecursionError) as error:
        raise BadArgument(
            'the argument is not a JSON string with options: verb "name" {"key": value}'
        ) from error
    if not isinstance(argument, str) or not isinstance(options, dict):
        raise BadArgument("what follows the name is not a JSON object")
    return argument, options


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")  # Python would accept NaN and Infinity


def _check(verb: Verb, argument: str, options: dict[str, Any]) -> None:
    if verb.needs_argument and not argument:
        raise BadArgument(f"{verb.word} needs an argument: {verb.word} {verb.argument}")
    if argument and not verb.takes_argument:
        raise BadArgument(f"{verb.word} takes no argument")
    for key in verb.needs:
        if key not in options:
            raise BadArgument(f'{verb.word} needs the option "{key}"')
    for key, wanted in verb.options.items():
        value = options.get(key)
        if value is None:
            options.pop(key, None)  # null means not given
        elif type(value) is not wanted:
            raise BadArgument(f'the option "{key}" of {verb.word} is not of type {wanted.__name__}')
        elif key in _TIMES and verb.body is Body.FILE and isinstance(value, int):
            # An odd date is no reason to refuse the file
            options[key] = clamp_time(value)
        elif (
            isinstance(value, int)
            and not (-_MAX_INTEGER if key in _TIMES else 0) <= value <= _MAX_INTEGER
        ):
            raise BadArgument(f'the option "{key}" of {verb.word} is out of range')
        elif key in _WORDS and len(str(value).encode("utf-8", "surrogatepass")) > _MAX_WORD_BYTES:
            raise BadArgument(
                f'the option "{key}" of {verb.word} is longer than {_MAX_WORD_BYTES} bytes'
            )


def format_command(command: Command) -> bytes:
    """Return the line with its LF, in the plain form if it can hold the argument, else structured.

    Raises:
        LocalProtocolError: The verb is unknown.
    """
    if command.verb not in VERBS:
        raise LocalProtocolError(f"no verb {command.verb}")
    options = {key: value for key, value in command.options.items() if value is not None}
    argument = command.argument
    if not options and not argument:
        return f"{command.verb}\n".encode()
    if not options and _is_plain(argument):
        return f"{command.verb} {argument}\n".encode()
    tail = f" {json.dumps(options, separators=(',', ':'))}" if options else ""
    return f"{command.verb} {json.dumps(argument)}{tail}\n".encode()


def _is_plain(argument: str) -> bool:
    return (
        argument.isprintable()
        and not argument.startswith(('"', " "))
        and not argument.endswith(" ")
        # foreign_protocols takes such a line for another protocol's
        and not argument.rpartition(" ")[2].startswith(("HTTP/", "RTSP/", "SIP/", "ICAP/"))
    )
