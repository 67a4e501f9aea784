"""Frames: a header of five bytes (kind, length), then the payload.

The innermost part of the protocol. It looks only at headers; the channel moves payloads of data and
pack frames past it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from ftransfer.digest import Digest, digest_of
from ftransfer.errors import DigestMismatch, LocalProtocolError, RemoteProtocolError
from ftransfer.limits import DEFAULT_LIMITS, Limits

HEADER_SIZE = 5
_HEADER = struct.Struct(">cI")


class Kind(Enum):
    """The kind of a frame. The value is its first byte on the wire."""

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

    # Enum hashes by name, in Python; identity is enough, and every frame is hashed.
    __hash__ = object.__hash__


BULK = frozenset((Kind.DATA, Kind.PACK))
_KINDS = {kind.value: kind for kind in Kind}


class Header(NamedTuple):
    """A frame's kind, and the length of its payload in bytes."""

    kind: Kind
    length: int


def encode_header(kind: Kind, length: int) -> bytes:
    """Return the five bytes before a payload of `length` bytes."""
    return _HEADER.pack(kind.value, length)


def decode_header(data: bytes | bytearray | memoryview, limits: Limits) -> Header:
    """Read a frame header.

    Args:
        data: Exactly HEADER_SIZE bytes; the length is unsigned, big-endian, in bytes.

    Raises:
        RemoteProtocolError: The kind is unknown, or the length exceeds the cap for its kind.

    Source: docs/protocol.md section 2.
    """
    letter, length = _HEADER.unpack(data)
    kind = _KINDS.get(letter)
    if kind is None:
        raise RemoteProtocolError(f"a frame of unknown kind 0x{letter[0]:02x}")
    cap = limits.max_chunk_bytes if kind in BULK else limits.max_json_bytes
    if length > cap:
        raise RemoteProtocolError(
            f"a frame of kind {letter.decode()} says {length} bytes; the cap is {cap}"
        )
    return Header(kind, length)


def encode_json(kind: Kind, value: Any, limits: Limits | None = None) -> bytes:
    """Return a whole frame that carries JSON.

    Raises:
        LocalProtocolError: The payload exceeds limits.max_json_bytes; a list can be sent in halves.
    """
    payload = dump_json(value)
    if limits is not None and len(payload) > limits.max_json_bytes:
        raise LocalProtocolError(
            f"JSON of {len(payload)} bytes is above the cap of {limits.max_json_bytes}"
        )
    return _HEADER.pack(kind.value, len(payload)) + payload


def dump_json(value: Any) -> bytes:
    """Return compact UTF-8 JSON.

    Bytes of names that are not UTF-8 stay `\\udcXX` escapes, which every JSON parser reads.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def load_json(payload: bytes | bytearray | memoryview, what: str) -> Any:
    """Decode JSON from a peer.

    Raises:
        RemoteProtocolError: It is not UTF-8, not JSON, or nested too deeply.
    """
    try:
        # Decoded here: json.loads would detect UTF-16 and accept surrogates.
        return json.loads(bytes(payload).decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"{what} is not JSON") from error


def refuse_crowd(payload: bytes | bytearray | memoryview, most: int, what: str) -> None:
    """Refuse JSON with too many values before it is decoded. The check costs next to nothing.

    Decoding takes time in proportion to the values, on the event loop, and a frame can hold a
    quarter of a million.

    Raises:
        RemoteProtocolError: There are more than `most` strings, or commas outside of them.
    """
    bare = bytes(payload).replace(rb"\\", b"").replace(rb"\"", b"")
    if bare.count(b'"') > 2 * most or b"".join(bare.split(b'"')[::2]).count(b",") > most:
        raise RemoteProtocolError(f"{what} has too many items")


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")  # Python would accept NaN and Infinity


_PACK_HEAD = struct.Struct(">I32s")  # the length of the index, and its BLAKE3
_MOST_COLUMNS = 16  # of an index: twice as many as today


class Pack(NamedTuple):
    """Many small files in one payload.

    The lists of `columns` are all as long as `contents`; their values are not checked yet.
    `contents` are views of the payload, and `digest` is that of the index as received, which it
    matches.
    """

    columns: dict[str, list[Any]]
    contents: list[memoryview]
    digest: Digest


def encode_pack(
    columns: Mapping[str, Sequence[Any]], contents: Sequence[bytes | memoryview], limits: Limits
) -> tuple[list[bytes | memoryview], Digest]:
    """Return the buffers of one pack frame, and the digest of its index.

    Args:
        columns: The index: for each key the values of all items, in order; "size" among them.
        contents: The bytes of the items, in the same order.

    Raises:
        LocalProtocolError: The payload would exceed limits.max_chunk_bytes, its index
            limits.max_json_bytes, or the items more than limits.max_items.

    Source: docs/protocol.md section 8.
    """
    if len(contents) > limits.max_items:
        raise LocalProtocolError(
            f"a pack of {len(contents)} items is above the cap of {limits.max_items}"
        )
    index = dump_json(columns)
    if len(index) > limits.max_json_bytes:
        raise LocalProtocolError(
            f"an index of {len(index)} bytes is above the cap of {limits.max_json_bytes}"
        )
    length = _PACK_HEAD.size + len(index) + sum(map(len, contents))
    if length > limits.max_chunk_bytes:
        raise LocalProtocolError(
            f"a pack of {length} bytes is above the cap of {limits.max_chunk_bytes}"
        )
    digest = digest_of(index)
    head = _HEADER.pack(Kind.PACK.value, length) + _PACK_HEAD.pack(
        len(index), bytes.fromhex(digest)
    )
    return [head + index, *contents], digest


def decode_pack(payload: bytes | bytearray | memoryview, limits: Limits = DEFAULT_LIMITS) -> Pack:
    """Decode a pack.

    Raises:
        DigestMismatch: The index is not the one that was sent.
        RemoteProtocolError: The index exceeds limits.max_json_bytes, has more than limits.max_items
            items, or is not an object of lists of one length, or its sizes do not add up to the
            payload.
    """
    view = memoryview(payload)
    index, digest = _index_of(view, limits)
    refuse_crowd(index, _MOST_COLUMNS * (limits.max_items + 1), "the index of a pack")
    columns = load_json(index, "the index of a pack")
    if not isinstance(columns, dict) or not all(
        isinstance(values, list) for values in columns.values()
    ):
        raise RemoteProtocolError("the index of a pack is not an object of lists")
    sizes = columns.get("size", [])
    if any(len(values) != len(sizes) for values in columns.values()):
        raise RemoteProtocolError("the lists in the index of a pack are not of one length")
    if len(sizes) > limits.max_items:
        raise RemoteProtocolError(f"a pack has {len(sizes)} items; the most is {limits.max_items}")
    start = _PACK_HEAD.size + len(index)
    if (
        not set(map(type, sizes)) <= {int}
        or min(sizes, default=0) < 0
        or sum(sizes) != len(view) - start
    ):
        raise RemoteProtocolError("the sizes in the index of a pack do not add up to its contents")
    contents = []
    for size in sizes:
        contents.append(view[start : start + size])
        start += size
    return Pack(columns, contents, digest)


def _index_of(pack: memoryview, limits: Limits) -> tuple[memoryview, Digest]:
    """Return the index of a pack and its digest, which matches the one in the pack's head."""
    if len(pack) < _PACK_HEAD.size:
        raise RemoteProtocolError("a pack is shorter than its head")
    length, expected = _PACK_HEAD.unpack(pack[: _PACK_HEAD.size])
    start = _PACK_HEAD.size + length
    if start > len(pack):
        raise RemoteProtocolError("the index of a pack is longer than the pack")
    if length > limits.max_json_bytes:
        raise RemoteProtocolError(
            f"the index of a pack says {length} bytes; the cap is {limits.max_json_bytes}"
        )
    index = pack[_PACK_HEAD.size : start]
    digest = digest_of(index)
    if digest != expected.hex():
        raise DigestMismatch(
            "the names of a pack are not those that were sent; run the command again",
            expected=expected.hex(),
            actual=digest,
        )
    return index, digest
