"""What a transfer reports (Progress, Receipt), and entries as the JSON objects of the wire."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

from ftransfer.errors import RemoteProtocolError
from ftransfer.names import PLAIN_NAME_LENGTH, SafeName, check_told, is_plain_part, parse_name
from ftransfer.protocol.replies import take, take_time
from ftransfer.storage.base import FILE, FOLDER, LINK, OTHER, Entry


class Receipt(NamedTuple):
    """A finished get or put.

    `size` in bytes, `digest` BLAKE3 in hexadecimal, `mtime_ns` in nanoseconds since 1970.
    `durable`: it is on disk. `kept`: how many bytes were resumed from an earlier attempt.
    `restarted`: an earlier partial was dropped, since the source had changed or the partial did not
    verify. `seconds`: how long it took. `path`: the local file, "" for a stream. `replaced`: the
    name existed before.
    """

    name: str
    size: int
    digest: str
    mtime_ns: int
    durable: bool = True
    kept: int = 0
    restarted: bool = False
    seconds: float = 0.0
    path: str = ""
    replaced: bool = False


class Progress(NamedTuple):
    """The progress of a transfer: `done` of `total` bytes (None: unknown).

    `phase` is "transfer", "verify" or "reconnect". For a tree, `files` of `all_files` are done;
    with `is_estimate` the totals are of what has been found so far.
    """

    name: str
    done: int
    total: int | None
    phase: str = "transfer"
    files: int | None = None
    all_files: int | None = None
    is_estimate: bool = False


ProgressCallback = Callable[[Progress], None]


def entry_to_wire(entry: Entry) -> dict[str, Any]:
    """Return the JSON object for an entry.

    Source: docs/protocol.md section 6.
    """
    value: dict[str, Any] = {"name": entry.name, "kind": entry.kind}
    if entry.kind == OTHER:
        return {**value, "why": entry.why}
    if entry.kind == FILE:
        value["size"] = entry.size
    value["mtime_ns"] = entry.mtime_ns
    value["mode"] = entry.mode
    if entry.identity:
        value["identity"] = entry.identity
    if entry.target:
        value["target"] = entry.target
    if entry.unreadable:
        value["unread"] = True
    return value


def entry_from_wire(value: object, below: SafeName) -> Entry:
    """Decode an entry of a listing.

    A server is not trusted to list only names `below` the requested folder.

    Raises:
        NameRefused: No share can hold the name.
        RemoteProtocolError: It is not an entry, or not below the folder.
    """
    if not isinstance(value, Mapping):
        raise RemoteProtocolError("an entry of a listing is not an object")
    name = take(value, "name", str)
    if value.get("kind") == OTHER:
        return _other(value, check_told(name), below)
    safe = parse_name(name)
    if not safe.is_within(below) or safe == below:
        raise RemoteProtocolError(
            "the server lists a name that is not in the folder that was asked for"
        )
    return _entry(value, safe)


def entries_from_wire(
    items: Sequence[object], below: SafeName, *, relative: bool = False
) -> list[Entry]:
    """Decode entries of a listing; with `relative`, their names are relative to `below`.

    Raises as entry_from_wire.
    """
    cut = len(str(below)) + 1 if relative and not below.is_root else 0
    checked = {str(below)}  # folders in canonical spelling
    entries = []
    for item in items:
        entry = _plain_entry(item, checked, cut) if type(item) is dict else None
        if entry is None:
            entry = entry_from_wire(item, below)
            checked.add(entry.name.rpartition("/")[0])
            entry = entry._replace(name=entry.name[cut:]) if cut else entry
        entries.append(entry)
    return entries


def _plain_entry(value: dict[str, Any], checked: Container[str], cut: int) -> Entry | None:
    """Decode the entry of a file in a checked folder: the fast path for most entries.

    Return None if it needs the full checks.
    """
    get = value.get
    name, size, mtime_ns, mode = get("name"), get("size"), get("mtime_ns"), get("mode")
    # Five keys are these four and the kind, if all of them are there.
    if not (
        type(name) is str
        and type(size) is type(mtime_ns) is type(mode) is int
        and get("kind") == FILE
        and len(value) == 5
    ):
        return None
    folder, _, last = name.rpartition("/")
    if folder not in checked or not is_plain_part(last) or len(name) > PLAIN_NAME_LENGTH:
        return None
    if size < 0 or mode < 0 or max(size, abs(mtime_ns), mode) >= 2**63:
        return None
    return Entry(name[cut:], FILE, size, mtime_ns, mode)


def _other(value: Mapping[str, Any], name: str, below: SafeName) -> Entry:
    if not below.is_root and not name.startswith(f"{below}/"):
        raise RemoteProtocolError(
            "the server lists a name that is not in the folder that was asked for"
        )
    return Entry(name, OTHER, 0, 0, 0, why=take(value, "why", str, ""))


def described_from_wire(value: Mapping[str, Any], name: SafeName) -> Entry:
    """Decode the entry that describes the file or folder of a name.

    Raises:
        RemoteProtocolError: It is not an entry, or has another name.
    """
    if take(value, "name", str) != str(name):
        raise RemoteProtocolError("the server describes another name than was asked for")
    return _entry(value, name)


def _within_file(size: int) -> int:
    """Return a size that a file can have: one odd number must not make a listing useless."""
    return min(max(0, size), 2**63 - 1)


def _entry(value: Mapping[str, Any], safe: SafeName) -> Entry:
    kind = take(value, "kind", str)
    if kind not in (FILE, FOLDER, LINK):
        raise RemoteProtocolError("an entry is of unknown kind")
    return Entry(
        name=str(safe),
        kind=kind,
        size=_within_file(take(value, "size", int, 0)),
        mtime_ns=take_time(value, "mtime_ns"),
        mode=take(value, "mode", int, 0) & 0o7777,
        identity=take(value, "identity", str, ""),
        target=take(value, "target", str, ""),
        unreadable=take(value, "unread", bool, False),
    )
