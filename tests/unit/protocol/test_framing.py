from __future__ import annotations

import json
import string
import struct
from typing import Any

import pytest
from blake3 import blake3

from ftransfer.errors import DigestMismatch, LocalProtocolError, RemoteProtocolError
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.protocol.framing import (
    BULK,
    HEADER_SIZE,
    Header,
    Kind,
    decode_header,
    decode_pack,
    dump_json,
    encode_header,
    encode_json,
    encode_pack,
    load_json,
)

LIMITS = Limits(max_chunk_bytes=1000, max_json_bytes=100)


def test_header_on_the_wire() -> None:
    assert encode_header(Kind.DATA, 0x01020304) == b"D\x01\x02\x03\x04"


@pytest.mark.parametrize("kind", Kind)
def test_header_of_each_kind_comes_back(kind: Kind) -> None:
    assert decode_header(encode_header(kind, 77), LIMITS) == Header(kind, 77)


def test_kinds_are_ascii_letters() -> None:
    assert all(kind.value.decode() in string.ascii_letters for kind in Kind)


def test_every_other_first_byte_is_refused() -> None:
    for letter in set(range(256)) - {kind.value[0] for kind in Kind}:
        with pytest.raises(RemoteProtocolError, match=f"unknown kind 0x{letter:02x}"):
            decode_header(bytes([letter, 0, 0, 0, 0]), LIMITS)


@pytest.mark.parametrize("kind", Kind)
def test_length_is_capped_at_the_limit(kind: Kind) -> None:
    cap = 1000 if kind in BULK else 100
    assert decode_header(encode_header(kind, cap), LIMITS).length == cap
    with pytest.raises(RemoteProtocolError, match=f"says {cap + 1} bytes; the cap is {cap}"):
        decode_header(encode_header(kind, cap + 1), LIMITS)


def test_the_largest_length_is_refused_and_not_taken_as_negative() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_header(b"D\xff\xff\xff\xff", DEFAULT_LIMITS)


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request", b"SSH-2.0-OpenSSH_9.2", b"220 FTP ready"]
)
def test_other_services_are_not_taken_for_ours(greeting: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_header(greeting[:HEADER_SIZE], DEFAULT_LIMITS)


# JSON.


def test_json_frame_is_compact_utf8() -> None:
    payload = '{"name":"射频","size":1}'.encode()
    assert (
        encode_json(Kind.META, {"name": "射频", "size": 1})
        == b"M" + struct.pack(">I", len(payload)) + payload
    )


def test_bytes_that_are_not_utf8_travel_as_escapes() -> None:
    name = b"a\xff\xfe".decode("utf-8", "surrogateescape")
    payload = dump_json({"name": name})
    assert payload == b'{"name":"a\\udcff\\udcfe"}'
    assert load_json(payload, "it") == {"name": name}


@pytest.mark.parametrize(
    "value", [{}, [], None, True, 2**63, -1, 1.5, "", "\0\n\"\\'", "😀", {"a": [{"b": "\udc80"}]}]
)
def test_json_comes_back(value: Any) -> None:
    assert load_json(dump_json(value), "it") == value


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_json_is_read_from_any_buffer(form: type) -> None:
    assert load_json(form(b'{"a":1}'), "it") == {"a": 1}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"{",
        b"{}x",
        b"{}{}",
        b"{'a':1}",
        b'{"a":1,}',
        b"\xff",
        b'{"a":"\xff"}',
        b'"\xed\xb2\x80"',  # a surrogate as three bytes, which UTF-8 forbids
        b"\xef\xbb\xbf{}",  # a byte order mark
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-32"),
        b"NaN",
        b"[Infinity]",
        b'{"a":-Infinity}',
        b"1" * 5000,  # more digits than Python turns into a number
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda payload: repr(payload[:12]),
)
def test_what_is_not_json_is_the_peers_error(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="it is not JSON"):
        load_json(payload, "it")


# Packs.

COLUMNS: dict[str, list[Any]] = {"name": ["a", "folder", "empty", "射频"], "size": [3, 0, 0, 2]}
CONTENTS: list[bytes | memoryview] = [b"abc", b"", b"", memoryview(b"xy")]


def pack_payload(index: object, content: bytes = b"") -> bytes:
    head = json.dumps(index).encode()
    return struct.pack(">I", len(head)) + blake3(head).digest() + head + content


def encoded(limits: Limits = DEFAULT_LIMITS) -> bytes:
    return b"".join(map(bytes, encode_pack(COLUMNS, CONTENTS, limits)[0]))


def test_pack_comes_back() -> None:
    frame = encoded()
    header = decode_header(frame[:HEADER_SIZE], DEFAULT_LIMITS)
    assert header == Header(Kind.PACK, len(frame) - HEADER_SIZE)
    pack = decode_pack(frame[HEADER_SIZE:])
    assert pack.columns == COLUMNS
    assert [bytes(content) for content in pack.contents] == [b"abc", b"", b"", b"xy"]
    assert pack.digest == encode_pack(COLUMNS, CONTENTS, DEFAULT_LIMITS)[1]


def test_pack_contents_are_views_and_not_copies() -> None:
    payload = bytearray(encoded()[HEADER_SIZE:])
    pack = decode_pack(payload)
    payload[payload.index(b"abc")] = ord("X")
    assert bytes(pack.contents[0]) == b"Xbc"


def test_empty_pack() -> None:
    buffers, _ = encode_pack({"size": []}, [], LIMITS)
    assert decode_pack(b"".join(map(bytes, buffers))[HEADER_SIZE:]).contents == []


def test_pack_is_capped_at_the_limit() -> None:
    size = len(encoded()) - HEADER_SIZE
    encode_pack(COLUMNS, CONTENTS, Limits(max_chunk_bytes=size))
    with pytest.raises(
        LocalProtocolError, match=f"a pack of {size} bytes is above the cap of {size - 1}"
    ):
        encode_pack(COLUMNS, CONTENTS, Limits(max_chunk_bytes=size - 1))


def test_pack_cut_short_anywhere_is_refused() -> None:
    payload = encoded()[HEADER_SIZE:]
    for end in range(len(payload)):
        with pytest.raises(RemoteProtocolError):
            decode_pack(payload[:end])


def test_any_bit_that_is_flipped_in_an_index_or_before_it_is_noticed() -> None:
    payload = bytearray(encoded()[HEADER_SIZE:])
    for position in range(len(payload) - len(b"abcxy")):
        for bit in range(8):
            payload[position] ^= 1 << bit
            with pytest.raises((RemoteProtocolError, DigestMismatch)):
                decode_pack(payload)
            payload[position] ^= 1 << bit


def test_pack_with_bytes_after_its_items_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="do not add up"):
        decode_pack(encoded()[HEADER_SIZE:] + b"x")


@pytest.mark.parametrize(
    "index", [[], None, 1, "a", [1], [[]], {"size": 1}, {"size": None}, {"name": [], "size": {}}]
)
def test_pack_index_that_is_no_object_of_lists_is_refused(index: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_pack(pack_payload(index))


@pytest.mark.parametrize(
    "index", [{"name": ["a"]}, {"name": [], "size": [0]}, {"size": [0], "x": [1, 2]}]
)
def test_pack_index_with_lists_of_several_lengths_is_refused(index: object) -> None:
    with pytest.raises(RemoteProtocolError, match="not of one length"):
        decode_pack(pack_payload(index))


@pytest.mark.parametrize("size", [-1, 2, 2**63, 1.0, "1", True, None, []])
def test_pack_item_with_impossible_size_is_refused(size: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_pack(pack_payload({"size": [size]}, b"x"))


@pytest.mark.parametrize("sizes", [[2, 2], [4, -1]])
def test_pack_sizes_that_do_not_add_up_are_refused(sizes: list[int]) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_pack(pack_payload({"size": sizes}, b"xyz"))


def pack_of(count: int, **columns: list[object]) -> bytes:
    return pack_payload({"size": [0] * count, **columns})


FEW = Limits(max_items=3)


def test_pack_is_capped_in_its_items_both_ways() -> None:
    assert len(decode_pack(pack_of(3), FEW).contents) == 3
    with pytest.raises(RemoteProtocolError, match="4 items; the most is 3"):
        decode_pack(pack_of(4), FEW)
    with pytest.raises(LocalProtocolError, match="4 items is above the cap of 3"):
        encode_pack({"size": [0] * 4}, [b""] * 4, FEW)


def test_index_of_a_pack_is_capped_both_ways() -> None:
    size = len(json.dumps({"size": [0, 0]}, separators=(",", ":")))
    limits = Limits(max_json_bytes=size)
    payload = b"".join(map(bytes, encode_pack({"size": [0, 0]}, [b"", b""], limits)[0]))[
        HEADER_SIZE:
    ]
    assert len(decode_pack(payload, limits).contents) == 2
    with pytest.raises(RemoteProtocolError, match=f"says {size} bytes; the cap is {size - 1}"):
        decode_pack(payload, limits._replace(max_json_bytes=size - 1))
    with pytest.raises(LocalProtocolError, match=f"an index of {size} bytes"):
        encode_pack({"size": [0, 0]}, [b"", b""], limits._replace(max_json_bytes=size - 1))


@pytest.mark.parametrize(
    "crowd",
    [
        {"size": [0] * 100_000},
        {"name": ["a"] * 100_000, "size": [0]},
        {"size": [0], "x": [{"a": 1}] * 50_000},
        {"size": [], **{f"column {number}": [] for number in range(50_000)}},
    ],
    ids=["items", "one list", "objects", "lists"],
)
def test_crowd_of_values_is_refused_before_it_is_decoded(
    crowd: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = pack_payload(crowd)
    monkeypatch.setattr("ftransfer.protocol.framing.load_json", None)
    with pytest.raises(RemoteProtocolError, match="too many items"):
        decode_pack(payload)


def test_names_full_of_what_separates_values_are_no_crowd() -> None:
    names = ['",' * 300 + "\\", '",' * 300, ",\\" * 300]
    assert decode_pack(pack_of(3, name=[*names]), FEW).columns["name"] == names


def test_pack_index_longer_than_the_pack_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="longer than the pack"):
        decode_pack(struct.pack(">I", 0xFFFFFFFF) + bytes(32) + b"{}")
