"""Small files as pack frames, and the results that answer one.

Source: docs/protocol.md section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ftransfer.digest import Digest
from ftransfer.errors import FtransferError, LocalProtocolError, RemoteProtocolError, from_wire
from ftransfer.limits import DEFAULT_LIMITS, LAST_TIME_NS, Limits, clamp_time
from ftransfer.protocol.connection import Connection
from ftransfer.protocol.framing import decode_pack
from ftransfer.protocol.replies import take
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry, SmallFile
from ftransfer.transfer.records import entry_to_wire

# A file up to this size travels packed. A larger one travels separately, with resume, which costs
# as much as about ten files in a pack.
MAX_PACKED_BYTES = 7 << 19
# The content that is gathered for a pack: enough that headers cost nothing, little enough to
# overlap reading with sending.
PACK_BYTES = MAX_PACKED_BYTES
# The number of items gathered for one frame of a batch: a few hundred bytes each in an index, far
# below its cap even when all are long.
MAX_ITEMS = 512


_SMALL_BYTES = 16 * 1024  # files are small up to this average size

_KINDS = frozenset((FILE, FOLDER, LINK))

T = TypeVar("T")
Item = TypeVar("Item")


def in_frames(items: Sequence[Item], encode: Callable[[Sequence[Item]], T]) -> Iterator[T]:
    """Yield the encoded frames for items, halved until each is below its cap: names may be long.

    Args:
        encode: Makes one frame, or raises LocalProtocolError if it would be too large.
    """
    try:
        yield encode(items)
    except LocalProtocolError:
        if len(items) < 2:
            raise
        half = len(items) // 2
        yield from in_frames(items[:half], encode)
        yield from in_frames(items[half:], encode)


def encode_files(
    connection: Connection, files: Sequence[SmallFile], prefix: str = ""
) -> tuple[list[bytes | memoryview], Digest]:
    """Return the buffers of one pack, with `prefix` before each name, and the digest of its index.

    Raises:
        LocalProtocolError: It is above the cap for a frame.
    """
    # Column by column, so that the loops over items run inside the interpreter.
    names, kinds, mtimes, modes, contents, digests, targets, _ = zip(*files, strict=True)
    columns: dict[str, Sequence[Any]] = {
        "name": [prefix + name for name in names] if prefix else names,
        "mtime_ns": mtimes,
        "mode": modes,
        "size": list(map(len, contents)),
        "digest": digests,
    }
    if kinds.count(FILE) < len(kinds):
        columns["kind"] = kinds
        columns["target"] = targets
    return connection.send_pack(columns, contents)


def unpack(
    payload: bytes | bytearray | memoryview,
    limits: Limits = DEFAULT_LIMITS,
    rename: Callable[[list[str]], list[str]] | None = None,
) -> tuple[list[SmallFile], Digest]:
    """Decode a pack; return its items, and the digest of its index.

    Contents are views of the payload, and names are as received: check them before writing.

    Args:
        rename: Returns the names to use for the received ones, or raises.

    Raises:
        DigestMismatch: The index does not match its digest.
        RemoteProtocolError: The payload is not a pack.
    """
    columns, contents, digest = decode_pack(payload, limits)
    count = len(contents)
    names, mtimes, modes, digests = (
        columns.get(key, []) for key in ("name", "mtime_ns", "mode", "digest")
    )
    kinds, targets = columns.get("kind", [FILE] * count), columns.get("target", [""] * count)
    if not len(names) == len(mtimes) == len(modes) == len(digests) == count:
        raise RemoteProtocolError("the index of a pack lacks a list")
    is_typed = {*map(type, names), *map(type, kinds), *map(type, digests), *map(type, targets)} <= {
        str
    }
    if not is_typed or not {*map(type, mtimes), *map(type, modes)} <= {int}:
        raise RemoteProtocolError("the index of a pack has a value of the wrong type")
    if not _KINDS.issuperset(kinds):
        raise RemoteProtocolError("the index of a pack has an item of unknown kind")
    # One odd date must not keep the other files from being stored
    if any(map(LAST_TIME_NS.__lt__, map(abs, mtimes))):
        mtimes = list(map(clamp_time, mtimes))
    if rename is not None:
        names = rename(names)
    return list(map(SmallFile, names, kinds, mtimes, modes, contents, digests, targets)), digest


def should_prefetch(items: Sequence[object], *, is_local: bool) -> bool:
    """Return whether to read the next group while this one is sent.

    Not if the peer is on this machine and the files are small: the processors are busy anyway, and
    most work is done in the interpreter, whose lock two threads would pass back and forth.
    """
    return not is_local or sum(
        len(item.data) for item in items if isinstance(item, SmallFile)
    ) >= _SMALL_BYTES * len(items)


def receipt_of_pack(count: int, digest: Digest) -> dict[str, Any]:
    """Return the one result for all items of a pack: each was stored as the index describes."""
    return {"stored": count, "index": digest}


def receipt_to_wire(file: SmallFile) -> dict[str, Any]:
    """Return the result for an item that was stored."""
    value: dict[str, Any] = {"name": file.name, "mtime_ns": file.mtime_ns}
    if file.kind == FILE:
        value["size"] = len(file.data)
        value["digest"] = file.digest
    return value


def refusal_to_wire(name: str, error: FtransferError) -> dict[str, Any]:
    """Return the result for an item that failed."""
    return {"name": name, "error": {"code": error.code, "message": str(error)}}


def large_to_wire(entry: Entry) -> dict[str, Any]:
    """Return the result for a file that is too large for a pack: a separate get must follow."""
    return {"name": entry.name, "large": entry_to_wire(entry)}


def other_to_wire(entry: Entry) -> dict[str, Any]:
    """Return the result for what cannot be copied, for a client that asked for `others`."""
    return {"name": entry.name, "other": entry.why}


def refusal_from_wire(item: Any) -> FtransferError | None:
    """Return the error in a result, or None if there is none.

    Raises:
        RemoteProtocolError: It is not a result.
    """
    if not isinstance(item, dict):
        raise RemoteProtocolError("an outcome is not an object")
    name = take(item, "name", str)
    value = item.get("error")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise RemoteProtocolError("the error of an outcome is not an object")
    return from_wire(take(value, "code", str), take(value, "message", str, ""), name)
