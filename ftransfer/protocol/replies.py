"""The payloads of JSON frames <-> values.

Unknown keys are ignored; a known key of the wrong type is a protocol error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from ftransfer.errors import FtransferError, RemoteProtocolError, from_wire
from ftransfer.limits import clamp_time
from ftransfer.protocol.framing import Kind, encode_json, load_json

T = TypeVar("T")


# The values in hello (docs/protocol.md section 4).
PROTOCOL = 1  # the version of the protocol
NO_LOGIN, MAY_LOG_IN, MUST_LOG_IN = "none", "optional", "required"  # `auth`
TOKEN_LOGIN, USER_LOGIN = "token", "user"  # `logins`
# `features`: the live layer (section 10), changes (10.3), listings by span (6.1), and puts in parts
# over several connections (7.3).
LIVE, WATCH, SPANS, PARTS = "live", "watch", "spans", "parts"


class Hello(NamedTuple):
    """The first frame of a server.

    `limits` holds sizes in bytes and times in seconds by name; `auth` is NO_LOGIN, MAY_LOG_IN or
    MUST_LOG_IN; `logins` are the supported kinds of login.
    """

    protocol: int
    server: str
    session: int
    welcome: str = ""
    durable: bool = True
    auth: str = NO_LOGIN
    logins: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    limits: Mapping[str, float] = MappingProxyType({})


class Meta(NamedTuple):
    """Before a file: its attributes, and the offset of the first byte that follows.

    The server sends it before the data of a get. In the answer to a put that waits, only `offset`,
    `restarted` and `upload` count. `length` is how many bytes follow, for a get. `upload` is the
    token for sending parts of a put, or "".
    """

    name: str = ""
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0
    identity: str = ""
    offset: int = 0
    length: int = 0
    restarted: bool = False
    upload: str = ""


class End(NamedTuple):
    """After a file: its size in bytes and the digest of its content, or of the requested part.

    `head` is the digest of what came before the content, the meta of a get or the line of a put; ""
    if it was not sent.
    """

    size: int
    digest: str
    head: str = ""


class Listing(NamedTuple):
    """Entries of a folder, from the server; or names, from the client."""

    items: list[Any]


class Outcomes(NamedTuple):
    """The results of some items of a batch: receipts and errors, as JSON objects."""

    items: list[Any]


class Finish(NamedTuple):
    """The client's batch is complete. It is false, like every empty tuple."""


class Reply(NamedTuple):
    """The command was carried out."""

    values: Mapping[str, Any]


class ErrorReply(NamedTuple):
    """The command was not carried out.

    From the client: the file that is being sent will not be completed.
    """

    code: str
    message: str
    name: str = ""

    def to_exception(self) -> FtransferError:
        return from_wire(self.code, self.message, self.name)


class Notice(NamedTuple):
    """An event, which answers no command. `what` is its "event" key."""

    what: str
    values: Mapping[str, Any]


HEARTBEAT = "heartbeat"


def encode_hello(hello: Hello) -> bytes:
    return encode_json(
        Kind.HELLO,
        {
            "protocol": hello.protocol,
            "server": hello.server,
            "session": hello.session,
            "welcome": hello.welcome,
            "durable": hello.durable,
            "auth": hello.auth,
            "logins": list(hello.logins),
            "features": list(hello.features),
            "limits": dict(hello.limits),
        },
    )


def encode_meta(meta: Meta) -> bytes:
    value: dict[str, Any] = {"offset": meta.offset}
    if meta.name:
        value = {
            "name": meta.name,
            "size": meta.size,
            "mtime_ns": meta.mtime_ns,
            "mode": meta.mode,
            "identity": meta.identity,
            "offset": meta.offset,
            "length": meta.length,
        }
    if meta.restarted:
        value["restarted"] = True
    if meta.upload:
        value["upload"] = meta.upload
    return encode_json(Kind.META, value)


def encode_end(end: End) -> bytes:
    value = {"size": end.size, "digest": end.digest}
    if end.head:
        value["head"] = end.head
    return encode_json(Kind.END, value)


def encode_error(error: FtransferError) -> bytes:
    value = {"code": error.code, "message": str(error)}
    if error.name:
        value["name"] = error.name
    return encode_json(Kind.ERROR, value)


def encode_notice(notice: Notice) -> bytes:
    return encode_json(Kind.EVENT, {"event": notice.what, **notice.values})


def _decode_hello(value: dict[str, Any]) -> Hello:
    limits = take(value, "limits", dict, {})
    features, logins = (take(value, key, list, []) for key in ("features", "logins"))
    return Hello(
        protocol=take(value, "protocol", int),
        server=take(value, "server", str, ""),
        session=take(value, "session", int, 0),
        welcome=take(value, "welcome", str, ""),
        durable=take(value, "durable", bool, True),
        auth=take(value, "auth", str, NO_LOGIN),
        logins=tuple(word for word in logins if isinstance(word, str)),
        features=tuple(word for word in features if isinstance(word, str)),
        limits={
            key: number
            for key, number in limits.items()
            if type(number) in (int, float) and 0 <= number < 2**63
        },
    )


def _decode_meta(value: dict[str, Any]) -> Meta:
    return Meta(
        name=take(value, "name", str, ""),
        size=take_count(value, "size", 0),
        mtime_ns=take_time(value, "mtime_ns"),
        mode=take_count(value, "mode", 0),
        identity=take(value, "identity", str, ""),
        offset=take_count(value, "offset", 0),
        length=take_count(value, "length", 0),
        restarted=take(value, "restarted", bool, False),
        upload=take(value, "upload", str, ""),
    )


def _decode_end(value: dict[str, Any]) -> End:
    return End(take_count(value, "size"), take(value, "digest", str), take(value, "head", str, ""))


def _decode_error(value: dict[str, Any]) -> ErrorReply:
    return ErrorReply(
        take(value, "code", str), take(value, "message", str, ""), take(value, "name", str, "")
    )


def _decode_notice(value: dict[str, Any]) -> Notice:
    return Notice(take(value, "event", str), value)


JsonValue = Hello | Meta | End | Listing | Outcomes | Finish | Reply | ErrorReply | Notice

_OBJECTS: Mapping[Kind, Callable[[dict[str, Any]], JsonValue]] = {
    Kind.HELLO: _decode_hello,
    Kind.META: _decode_meta,
    Kind.END: _decode_end,
    Kind.REPLY: Reply,
    Kind.ERROR: _decode_error,
    Kind.EVENT: _decode_notice,
}
_LISTS: Mapping[Kind, Callable[[list[Any]], JsonValue]] = {
    Kind.LISTING: Listing,
    Kind.OUTCOMES: Outcomes,
}


def hidden_patterns(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the patterns of hidden names from the reply to `as` or `login`; None if it has none.

    Raises:
        RemoteProtocolError: They are not an array of strings.

    Source: docs/protocol.md section 5.
    """
    if values.get("hides") is None:
        return None
    patterns = take(values, "hides", list)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise RemoteProtocolError('"hides" holds something else than patterns')
    return tuple(patterns)


def decode_payload(kind: Kind, payload: bytes | bytearray | memoryview) -> JsonValue:
    """Decode the payload of any frame but data and pack.

    Raises:
        RemoteProtocolError: It is not what docs/protocol.md section 2 specifies for that kind.
    """
    if kind is Kind.FINISH:
        if payload:
            raise RemoteProtocolError("a finish frame has a payload")
        return Finish()
    what = f"a frame of kind {kind.value.decode()}"
    value = load_json(payload, what)
    if kind in _LISTS and isinstance(value, list):
        return _LISTS[kind](value)
    if kind in _OBJECTS and isinstance(value, dict):
        return _OBJECTS[kind](value)
    raise RemoteProtocolError(f"{what} holds JSON of the wrong type")


_NOTHING: Any = object()


def take(value: Mapping[str, Any], key: str, wanted: type[T], default: T = _NOTHING) -> T:
    """Return one value of a JSON object from a peer.

    Raises:
        RemoteProtocolError: It is of another type, or missing without a default.
    """
    found = value.get(key, default)
    if found is _NOTHING:
        raise RemoteProtocolError(f'"{key}" is missing')
    if type(found) is not wanted and found is not default:
        raise RemoteProtocolError(f'"{key}" is not of type {wanted.__name__}')
    return found


def take_count(value: Mapping[str, Any], key: str, default: int = _NOTHING) -> int:
    """Return a count from a JSON object, 0 to 2**63 - 1. Raises as take."""
    number = take(value, key, int, default)
    if not 0 <= number < 2**63:
        raise RemoteProtocolError(f'"{key}" is out of range')
    return number


def take_time(value: Mapping[str, Any], key: str) -> int:
    """Return nanoseconds since 1970, negative before it, clamped to the range. Raises as take."""
    return clamp_time(take(value, key, int, 0))
