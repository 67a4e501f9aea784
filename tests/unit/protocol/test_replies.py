from __future__ import annotations

import json
from typing import Any

import pytest

from ftransfer.errors import (
    CLASS_OF_CODE,
    DigestMismatch,
    FtransferError,
    LocalProtocolError,
    NotFound,
    RemoteProtocolError,
    RequestError,
    from_wire,
)
from ftransfer.limits import DEFAULT_LIMITS
from ftransfer.protocol.framing import BULK, HEADER_SIZE, Kind, decode_header, encode_json
from ftransfer.protocol.replies import (
    End,
    ErrorReply,
    Finish,
    Hello,
    JsonValue,
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
    encode_notice,
)

LARGEST = 2**63 - 1


def decoded(frame: bytes) -> JsonValue:
    header = decode_header(frame[:HEADER_SIZE], DEFAULT_LIMITS)
    assert header.length == len(frame) - HEADER_SIZE
    return decode_payload(header.kind, frame[HEADER_SIZE:])


def decode(kind: Kind, value: object) -> JsonValue:
    return decode_payload(kind, json.dumps(value).encode())


HELLO = Hello(
    1,
    "ftransfer 0.1.0",
    17,
    "welcome 射频",
    durable=False,
    features=("a", "b"),
    limits={"line": 10, "idle_s": 1.5},
)
META = Meta("射频仿真.pptx", 10, -5, 0o644, "id-1", offset=4, length=6, restarted=True)


@pytest.mark.parametrize(
    ("frame", "value"),
    [
        (encode_hello(HELLO), HELLO),
        (encode_meta(META), META),
        (encode_meta(Meta(offset=7)), Meta(offset=7)),
        (encode_meta(Meta(restarted=True)), Meta(restarted=True)),
        (encode_end(End(3, "00ff")), End(3, "00ff")),
        (
            encode_error(NotFound("no such file", name="a\udcff")),
            ErrorReply("not_found", "no such file", "a\udcff"),
        ),
        (encode_error(NotFound("no such file")), ErrorReply("not_found", "no such file")),
        (encode_json(Kind.REPLY, {"a": [1]}), Reply({"a": [1]})),
        (encode_json(Kind.LISTING, [{"name": "a"}]), Listing([{"name": "a"}])),
        (encode_json(Kind.OUTCOMES, []), Outcomes([])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_comes_back(frame: bytes, value: JsonValue) -> None:
    assert decoded(frame) == value


def test_notice_comes_back() -> None:
    notice = decoded(encode_notice(Notice("joined", {"session": 3})))
    assert isinstance(notice, Notice)
    assert notice.what == "joined"
    assert notice.values["session"] == 3


def test_finish_has_no_payload() -> None:
    assert decode_payload(Kind.FINISH, b"") == Finish()
    with pytest.raises(RemoteProtocolError, match="a finish frame has a payload"):
        decode_payload(Kind.FINISH, b"{}")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Kind.HELLO, {"protocol": 1, "colour": "red"}, Hello(1, "", 0)),
        (Kind.META, {"colour": {"deep": [1]}}, Meta()),
        (Kind.END, {"size": 0, "digest": "", "x": 1}, End(0, "")),
        (Kind.ERROR, {"code": "later", "retry_s": 3}, ErrorReply("later", "")),
    ],
)
def test_unknown_keys_are_ignored(kind: Kind, value: object, expected: JsonValue) -> None:
    assert decode(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.HELLO, {}),
        (Kind.HELLO, {"server": "x"}),
        (Kind.END, {}),
        (Kind.END, {"size": 1}),
        (Kind.END, {"digest": ""}),
        (Kind.ERROR, {"message": "x"}),
        (Kind.EVENT, {"session": 1}),
    ],
)
def test_missing_keys_are_the_peers_error(kind: Kind, value: object) -> None:
    with pytest.raises(RemoteProtocolError, match="is missing"):
        decode(kind, value)


WHOLE: dict[Kind, dict[str, Any]] = {
    Kind.HELLO: {
        "protocol": 1,
        "server": "s",
        "session": 1,
        "welcome": "w",
        "durable": True,
        "features": ["f"],
        "limits": {"line": 1},
    },
    Kind.META: {
        "name": "n",
        "size": 1,
        "mtime_ns": 1,
        "mode": 1,
        "identity": "i",
        "offset": 1,
        "length": 1,
        "restarted": True,
    },
    Kind.END: {"size": 1, "digest": "d"},
    Kind.ERROR: {"code": "c", "message": "m", "name": "n"},
    Kind.EVENT: {"event": "e"},
}
ANOTHER_TYPE: tuple[object, ...] = (None, True, 1, 1.5, "1", [], {})


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind, value in WHOLE.items() for key in value]
)
def test_known_key_of_another_type_is_the_peers_error(kind: Kind, key: str) -> None:
    decode(kind, WHOLE[kind])
    for other in ANOTHER_TYPE:
        if type(other) is not type(WHOLE[kind][key]):
            with pytest.raises(RemoteProtocolError, match=f'"{key}" is not of type'):
                decode(kind, {**WHOLE[kind], key: other})


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (Kind.META, "size"),
        (Kind.META, "offset"),
        (Kind.META, "length"),
        (Kind.META, "mode"),
        (Kind.END, "size"),
    ],
)
def test_counts_are_capped_at_the_limit(kind: Kind, key: str) -> None:
    for count in (0, LARGEST):
        assert getattr(decode(kind, {**WHOLE[kind], key: count}), key) == count
    for count in (-1, LARGEST + 1, 10**400):
        with pytest.raises(RemoteProtocolError, match=f'"{key}" is out of range'):
            decode(kind, {**WHOLE[kind], key: count})


def test_times_may_be_before_1970_and_are_brought_into_range() -> None:
    for time in (-LARGEST - 1, -1, LARGEST):
        assert decode(Kind.META, {"mtime_ns": time}) == Meta(mtime_ns=time)
    for time in (LARGEST + 1, 10**400):
        assert decode(Kind.META, {"mtime_ns": time}) == Meta(mtime_ns=LARGEST)
        assert decode(Kind.META, {"mtime_ns": -time - 1}) == Meta(mtime_ns=-LARGEST)


def test_announced_limits_that_are_no_sensible_numbers_are_left_out() -> None:
    limits = (
        '{"a": 1, "b": 2.5, "c": 1e999, "d": -1, "e": "1", "f": true, "g": null, "h":'
        " 9223372036854775808}"
    )
    hello = decode_payload(Kind.HELLO, f'{{"protocol": 1, "limits": {limits}}}'.encode())
    assert isinstance(hello, Hello)
    assert hello.limits == {"a": 1, "b": 2.5}


def test_announced_features_that_are_no_words_are_left_out() -> None:
    hello = decode(Kind.HELLO, {"protocol": 1, "features": ["a", 1, None, "b"]})
    assert isinstance(hello, Hello)
    assert hello.features == ("a", "b")


@pytest.mark.parametrize(
    "kind", [kind for kind in Kind if kind not in BULK and kind is not Kind.FINISH]
)
@pytest.mark.parametrize("value", [None, True, 1, "a"])
def test_json_of_the_wrong_shape_is_the_peers_error(kind: Kind, value: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(kind, value)


@pytest.mark.parametrize("kind", [Kind.LISTING, Kind.OUTCOMES])
def test_list_kinds_take_no_object(kind: Kind) -> None:
    with pytest.raises(RemoteProtocolError, match="wrong type"):
        decode(kind, {})


@pytest.mark.parametrize("kind", [*WHOLE, Kind.REPLY])
def test_object_kinds_take_no_list(kind: Kind) -> None:
    with pytest.raises(RemoteProtocolError, match="wrong type"):
        decode(kind, [])


@pytest.mark.parametrize("kind", [*WHOLE, Kind.REPLY, Kind.LISTING])
def test_payload_cut_short_or_with_trailing_bytes_is_refused(kind: Kind) -> None:
    payload = json.dumps(WHOLE.get(kind, [] if kind is Kind.LISTING else {})).encode()
    decode_payload(kind, payload)
    for end in range(len(payload)):
        with pytest.raises(RemoteProtocolError):
            decode_payload(kind, payload[:end])
    with pytest.raises(RemoteProtocolError):
        decode_payload(kind, payload + b"x")


# Errors.


@pytest.mark.parametrize("code", CLASS_OF_CODE)
def test_each_error_arrives_as_the_class_that_was_raised(code: str) -> None:
    cls = CLASS_OF_CODE[code]
    reply = decoded(encode_error(cls("what happened", name="射频")))
    assert isinstance(reply, ErrorReply)
    error = reply.to_exception()
    assert type(error) is cls
    assert (error.code, str(error), error.name) == (code, "what happened", "射频")


def test_codes_are_unique() -> None:
    classes: list[type[FtransferError]] = [FtransferError, *subclasses(FtransferError)]
    # What other parts of the package derive for themselves never travels.
    own = [
        cls.code
        for cls in classes
        if "code" in vars(cls) and cls.__module__ == FtransferError.__module__
    ]
    assert len(own) == len(set(own)) == len(CLASS_OF_CODE)


def test_error_without_code_of_its_own_travels_as_its_parent() -> None:
    reply = decoded(encode_error(LocalProtocolError("x")))
    assert isinstance(reply, ErrorReply)
    assert reply.code == "protocol"


def test_fields_beside_the_message_do_not_travel() -> None:
    frame = encode_error(DigestMismatch("differs", name="a", expected="00", actual="11"))
    assert json.loads(frame[HEADER_SIZE:]) == {
        "code": "digest_mismatch",
        "message": "differs",
        "name": "a",
    }


def test_unknown_code_keeps_its_word_and_spoils_no_class() -> None:
    error = from_wire("moon_is_full", "wait", "a")
    assert isinstance(error, RequestError)
    assert error.code == "moon_is_full"
    assert RequestError.code == "request"


def subclasses(cls: type[FtransferError]) -> list[type[FtransferError]]:
    # Those that never travel (the shell's, say) are defined elsewhere and have no place in the
    # table.
    children = [child for child in cls.__subclasses__() if child.__module__ == cls.__module__]
    return [below for child in children for below in (child, *subclasses(child))]
