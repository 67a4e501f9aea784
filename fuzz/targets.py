"""One function for each place where bytes from outside arrive.

Each accepts any bytes and returns, or a fault has been found. The rule: any bytes cause a
documented error or a valid result; never another exception, a hang, or memory beyond the limits.
The functions need no fuzzer, so the test suite runs them too, with earlier findings
(tests/property/findings).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer
from blake3 import blake3

from ftransfer.auth.users import parse_users
from ftransfer.cli.config import read_config
from ftransfer.cli.serve import serve
from ftransfer.errors import (
    BadFile,
    FtransferError,
    LocalProtocolError,
    NameRefused,
    ProtocolError,
    RemoteProtocolError,
    from_wire,
)
from ftransfer.limits import Limits
from ftransfer.names import ROOT, NameReader, SafeName, escape, parse_name, parse_path
from ftransfer.protocol.commands import BadLine, Body, Command, format_command, parse_line
from ftransfer.protocol.connection import Connection, InputEnded, Payload, Role
from ftransfer.protocol.framing import decode_header
from ftransfer.protocol.replies import ErrorReply, Hello, Listing, Meta, Outcomes, decode_payload
from ftransfer.protocol.state import State
from ftransfer.tls.known_hosts import KnownHosts
from ftransfer.transfer.packs import refusal_from_wire, unpack
from ftransfer.transfer.records import entry_from_wire
from fuzz.sessions import session

# Small caps, so that a short input reaches them; an error that names what is wrong still fits.
_LIMITS = Limits(max_line_bytes=200, max_chunk_bytes=300, max_json_bytes=1500)
_HELLO = Hello(protocol=1, server="ftransfer", session=1)
_COMMANDS = (
    Command("dir"),
    Command("get", "a"),
    Command("put", "a"),
    Command("put", "a", {"wait": True}),
    Command("mget", "a"),
    Command("mput"),
    Command("stat", "a"),
)


def server_bytes(data: bytes) -> None:
    """Send the bytes of a client to a server; the first byte sets piece size and answers."""
    choice, data = data[:1], data[1:]
    connection = Connection(Role.SERVER, _LIMITS)
    connection.send_hello(_HELLO)
    _hear(connection, data, choice[0] if choice else 0)


def client_bytes(data: bytes) -> None:
    """What a server says to a client that has asked for something."""
    choice, data = data[:1], data[1:]
    number = choice[0] if choice else 0
    connection = Connection(Role.CLIENT, _LIMITS)
    connection.send_command(_COMMANDS[number % len(_COMMANDS)])
    _hear(connection, data, number // len(_COMMANDS))


def _hear(connection: Connection, data: bytes, number: int) -> None:
    size = number % 16 or len(data) or 1
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    try:
        for piece in (*pieces, b""):
            connection.receive_bytes(piece)
            _take_events(connection, number, len(data))
    except RemoteProtocolError as error:
        str(error).encode()  # it is said to the peer


def _take_events(connection: Connection, number: int, most: int) -> None:
    for _ in range(2 * most + 8):
        connection.take_payload(connection.payload_left)
        if connection.payload_left:
            if connection.has_ended:
                return
            break
        event = connection.next_event()
        if event is None or isinstance(event, InputEnded):
            break
        if isinstance(event, Payload):
            assert event.length <= _LIMITS.max_chunk_bytes
        elif isinstance(event, ErrorReply):
            str(from_wire(event.code, event.message, event.name))
        _answer(connection, event, refuses=bool(number & 16))
    else:
        raise AssertionError("there are more events than bytes")
    held = len(connection._buffer)
    waits = connection.role is Role.SERVER and connection.state in (
        State.ANSWERING,
        State.OFFERED,
        State.SENDING,
    )
    assert waits or held <= max(_LIMITS.max_line_bytes, _LIMITS.max_json_bytes) + most, (
        "more is held than a frame"
    )


def _answer(connection: Connection, event: object, *, refuses: bool) -> None:
    """Send what a server sends in its turn."""
    if connection.role is Role.CLIENT:
        return
    if isinstance(event, BadLine):
        connection.send_error(event.error)
    elif connection.state is State.OFFERED and not refuses:
        connection.send_meta(Meta())
    elif connection.state is State.ANSWERING and not (
        isinstance(event, Command) and event.body is not Body.NONE
    ):
        if refuses:
            connection.send_error(LocalProtocolError("no"))
        else:
            connection.send_reply({})
    elif refuses and connection.state in (
        State.RECEIVING,
        State.PULLING,
        State.PUSHING,
        State.OFFERED,
    ):
        connection.send_error(LocalProtocolError("no"))


def line(data: bytes) -> None:
    """One line of a client."""
    command = parse_line(data)
    if isinstance(command, BadLine):
        assert isinstance(command.error, FtransferError)
        str(command.error).encode("utf-8", "surrogateescape")
        return
    again = parse_line(format_command(command).removesuffix(b"\n"))
    assert again == command


def payload(data: bytes) -> None:
    """A frame, header and payload, with what is made of its content."""
    try:
        header = decode_header(data[:5].ljust(5, b"\0"), _LIMITS)
        value = decode_payload(header.kind, data[5:])
        if isinstance(value, Listing):
            for item in value.items:
                entry_from_wire(item, ROOT)
        elif isinstance(value, Outcomes):
            for item in value.items:
                refusal_from_wire(item)
    except (ProtocolError, NameRefused):
        pass


def pack(data: bytes) -> None:
    """The payload of a pack; and the names in it."""
    try:
        files, _ = unpack(_with_digest(data))
    except RemoteProtocolError:
        return
    assert sum(len(file.data) for file in files) <= len(data)
    for file in files:
        names(file.name.encode("utf-8", "surrogatepass"))


def _with_digest(data: bytes) -> bytes:
    """Insert the digest of the index, which no fuzzer guesses.

    The length of the index is in its first four bytes.
    """
    length, rest = data[:4], data[4:]
    return length + blake3(rest[: int.from_bytes(length, "big")]).digest() + rest


def names(data: bytes) -> None:
    """A name from the wire. It climbs nowhere, is one spelling, and can be printed."""
    text = _text(data)
    shown = escape(text)
    assert "\n" not in shown and "\x1b" not in shown
    shown.encode()
    found: list[SafeName] = []
    for parse in (parse_path, parse_name, NameReader().parse):
        try:
            found.append(parse(text))
        except NameRefused as error:
            str(error).encode()
    for name in found:
        assert not {"", ".", ".."} & set(name.parts)
        raw = os.fsencode(str(name))
        assert (
            b"\0" not in raw
            and not raw.startswith(b"/")
            and os.path.normpath(raw or b".") == (raw or b".")
        )
        assert name.is_root or parse_name(str(name)) == name


def _text(data: bytes) -> str:
    """Return text with all that JSON can contain: also surrogates that stand for no byte."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def known_hosts(data: bytes) -> None:
    """The file of known servers, which a person may have edited."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "known_hosts"
        path.write_bytes(data)
        try:
            KnownHosts(path).find("localhost:9021")
        except FtransferError as error:
            assert "\n" not in str(error)


def users(data: bytes) -> None:
    """The file of users, which a person writes."""
    try:
        parse_users(data.decode("utf-8", "replace"), "users.toml")
    except BadFile as error:
        assert "\n" not in str(error)


def config(data: bytes) -> None:
    """The configuration file of `serve`, which a person writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "serve.toml"
        path.write_bytes(data)
        try:
            read_config(str(path), _serve_context())
        except FtransferError as error:
            assert "\n" not in str(error)


@cache
def _serve_context() -> Any:
    app = typer.Typer()
    app.command()(serve)
    return typer.Context(typer.main.get_command(app))


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        server_bytes,
        client_bytes,
        session,
        line,
        payload,
        pack,
        names,
        known_hosts,
        users,
        config,
    )
}
