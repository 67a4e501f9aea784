"""Frames: a header of five bytes (kind, length), then the payload.

The innermost part of the protocol. It decides on headers only; payloads of data and pack frames are moved past it by the channel.
"""

from __future__ import annotations

import json
import struct
from enum import Enum
from typing import Any, NamedTuple

from ftransfer.errors import LocalProtocolError, RemoteProtocolError
from ftransfer.limits import Limits

HEADER_SIZE = 5
_HEADER = struct.Struct(">cI")


class Kind(Enum):
    """What a frame is. The value is its first byte on the wire."""

    HELLO = b"H"
    META = b"M"
    DATA = b"D"
    END = b"E"
    LISTING = b"L"
    PACK = b"P"
    OUTCOMES = b"O"
    FINISH = b"F"
    REPLY = b"R"
    ERROR = b"X"
    EVENT = b"V"

    # Enum hashes by name, in Python; identity is enough, and this is on the path of every frame.
    __hash__ = object.__hash__


BULK = frozenset((Kind.DATA, Kind.PACK))
_KINDS = {kind.value: kind for kind in Kind}


class Header(NamedTuple):
    """A frame's kind, and the length of its payload in bytes."""

    kind: Kind
    length: int


def encode_header(kind: Kind, length: int) -> bytes:
    """Give the five bytes before a payload of `length` bytes."""
    return _HEADER.pack(kind.value, length)


def decode_header(data: bytes | bytearray | memoryview, limits: Limits) -> Header:
    """Read a frame header.

    Args:
        data: Exactly HEADER_SIZE bytes; the length is unsigned, big-endian, in bytes.

    Raises:
        RemoteProtocolError: The kind is unknown, or the length is above the cap for its kind.

    Source: docs/protocol.md section 2.
    """
    letter, length = _HEADER.unpack(data)
    kind = _KINDS.get(letter)
    if kind is None:
        raise RemoteProtocolError(f"a frame of unknown kind 0x{letter[0]:02x}")
    cap = limits.max_chunk_bytes if kind in BULK else limits.max_json_bytes
    if length > cap:
        raise RemoteProtocolError(f"a frame of kind {letter.decode()} says {length} bytes; the cap is {cap}")
    return Header(kind, length)


def encode_json(kind: Kind, value: Any, limits: Limits | None = None) -> bytes:
    """Give a whole frame that carries JSON.

    Raises:
        LocalProtocolError: The payload is above limits.max_json_bytes; a list can be sent in halves.
    """
    payload = dump_json(value)
    if limits is not None and len(payload) > limits.max_json_bytes:
        raise LocalProtocolError(f"JSON of {len(payload)} bytes is above the cap of {limits.max_json_bytes}")
    return _HEADER.pack(kind.value, len(payload)) + payload


def dump_json(value: Any) -> bytes:
    """Give compact UTF-8 JSON; bytes of names that are not UTF-8 stay `\\udcXX` escapes, which every JSON parser reads."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def load_json(payload: bytes | bytearray | memoryview, what: str) -> Any:
    """Read JSON from a peer.

    Raises:
        RemoteProtocolError: It is not UTF-8, not JSON, or nested too deeply.
    """
    try:
        # Decoded here: json.loads would guess at UTF-16 and let surrogates through.
        return json.loads(bytes(payload).decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"{what} is not JSON") from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")  # Python would take NaN and Infinity


PACK_INDEX = struct.Struct(">I")


def encode_pack(index: list[dict[str, Any]], contents: list[bytes | memoryview], limits: Limits) -> list[bytes | memoryview]:
    """Give the buffers of one pack frame: many small files in one payload.

    Args:
        index: One object for each item, in order; those of kind "file" have "size" and their bytes in `contents`.
        contents: The bytes of the files, in the order of the index.

    Raises:
        LocalProtocolError: The payload would be above limits.max_chunk_bytes.

    Source: docs/protocol.md section 8.
    """
    head = dump_json(index)
    length = PACK_INDEX.size + len(head) + sum(map(len, contents))
    if length > limits.max_chunk_bytes:
        raise LocalProtocolError(f"a pack of {length} bytes is above the cap of {limits.max_chunk_bytes}")
    return [_HEADER.pack(Kind.PACK.value, length) + PACK_INDEX.pack(len(head)) + head, *contents]


def decode_pack(payload: bytes | bytearray | memoryview) -> list[tuple[dict[str, Any], memoryview]]:
    """Take a pack apart into (index object, content) pairs; contents are views of the payload.

    Raises:
        RemoteProtocolError: The index is not a list of objects, or its sizes do not add up to the payload.
    """
    view = memoryview(payload)
    if len(view) < PACK_INDEX.size:
        raise RemoteProtocolError("a pack is shorter than its index length")
    (head_size,) = PACK_INDEX.unpack(view[: PACK_INDEX.size])
    start = PACK_INDEX.size + head_size
    if start > len(view):
        raise RemoteProtocolError("the index of a pack is longer than the pack")
    index = load_json(view[PACK_INDEX.size : start], "the index of a pack")
    if not isinstance(index, list):
        raise RemoteProtocolError("the index of a pack is not a list")
    items = []
    for item in index:
        size = item.get("size", 0) if isinstance(item, dict) else None
        if type(size) is not int or not 0 <= size <= len(view) - start:
            raise RemoteProtocolError("an item of a pack has no size, or one that does not fit")
        items.append((item, view[start : start + size]))
        start += size
    if start != len(view):
        raise RemoteProtocolError("a pack is longer than its items")
    return items
