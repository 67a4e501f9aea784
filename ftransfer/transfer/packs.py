"""Small files <-> the index of a pack frame, and the outcomes that answer one (docs/protocol.md section 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ftransfer.errors import FtransferError, LocalProtocolError, RemoteProtocolError, from_wire
from ftransfer.protocol.connection import Connection
from ftransfer.protocol.framing import decode_pack
from ftransfer.protocol.replies import take
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry, SmallFile
from ftransfer.transfer.records import entry_to_wire

# A file up to this size travels packed; a larger one by itself, with resume. Two of them fit into one frame with their index.
MAX_PACKED_BYTES = 1 << 20
# So much content is gathered for a pack: enough that headers cost nothing, little enough to overlap reading with sending.
PACK_BYTES = 1 << 20
# Names in one frame of a batch: a few hundred bytes each in an index, far below the cap of a frame even when all are long.
MAX_ITEMS = 256


_KINDS = frozenset((FILE, FOLDER, LINK))
_FAR_NS = 2**63 - 1

T = TypeVar("T")
Item = TypeVar("Item")


def in_frames(items: Sequence[Item], encode: Callable[[Sequence[Item]], T]) -> Iterator[T]:
    """Give the encoded frames for items, halved until each is below its cap: names may be long.

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


def encode_files(connection: Connection, files: Sequence[SmallFile]) -> list[bytes | memoryview]:
    """Give the buffers of one pack. Raises LocalProtocolError if it is above the cap for a frame."""
    return connection.send_pack(_index_of(files), [file.data for file in files if file.kind == FILE])


def _index_of(files: Sequence[SmallFile]) -> list[dict[str, Any]]:
    index = []
    for file in files:
        item: dict[str, Any] = {"name": file.name, "kind": file.kind, "mtime_ns": file.mtime_ns, "mode": file.mode}
        if file.kind == FILE:
            item["size"] = len(file.data)
            item["digest"] = file.digest
        elif file.kind == LINK:
            item["target"] = file.target
        index.append(item)
    return index


def unpack(payload: bytes | bytearray | memoryview, rename: Callable[[str], str] | None = None) -> list[SmallFile]:
    """Take a pack apart. Contents are views of the payload, and names are as they came: whoever writes them checks them.

    Args:
        rename: Gives the name to go on with for the one that came, or raises.

    Raises:
        RemoteProtocolError: The payload is not a pack.
    """
    files = []
    for item, data in decode_pack(payload):
        get = item.get
        name, kind, mtime_ns, mode = get("name"), get("kind"), get("mtime_ns"), get("mode")
        digest, target = get("digest", ""), get("target", "")
        # By hand, since this is done for every one of a million files.
        if not (type(name) is type(kind) is type(digest) is type(target) is str and type(mtime_ns) is type(mode) is int):
            raise RemoteProtocolError("an item of a pack lacks a value, or has one of the wrong type")
        if kind not in _KINDS or mode < 0 or not -_FAR_NS <= mtime_ns <= _FAR_NS:
            raise RemoteProtocolError("an item of a pack has a value that is out of range")
        files.append(SmallFile(rename(name) if rename is not None else name, kind, mtime_ns, mode, data, digest, target))
    return files


def receipt_to_wire(file: SmallFile) -> dict[str, Any]:
    """Give the outcome of an item that was stored."""
    value: dict[str, Any] = {"name": file.name, "mtime_ns": file.mtime_ns}
    if file.kind == FILE:
        value["size"] = len(file.data)
        value["digest"] = file.digest
    return value


def refusal_to_wire(name: str, error: FtransferError) -> dict[str, Any]:
    """Give the outcome of an item that failed."""
    return {"name": name, "error": {"code": error.code, "message": str(error)}}


def large_to_wire(entry: Entry) -> dict[str, Any]:
    """Give the outcome of a file that is too large for a pack and is to be asked for by itself."""
    return {"name": entry.name, "large": entry_to_wire(entry)}


def refusal_from_wire(item: Any) -> FtransferError | None:
    """Give the error in an outcome, or None if there is none.

    Raises:
        RemoteProtocolError: It is not an outcome.
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
