"""The records of the live layer <-> their JSON objects: presence, messages, changes.

Pure, and used by both ends. All input comes from a peer: types and file names are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ftransfer.errors import RemoteProtocolError
from ftransfer.names import SafeName, parse_name, parse_path
from ftransfer.protocol.replies import Notice, take, take_count, take_time

# The "event" keys.
JOINED = "joined"
LEFT = "left"
NAMED = "named"
SAID = "said"
CHANGE = "change"
RESCAN = "rescan"
MISSED = "missed"

# The kinds of change.
CREATED = "created"
CHANGED = "changed"
MOVED = "moved"
REMOVED = "removed"


class Person(NamedTuple):
    """The person at a session. `verified` is false if only the client vouches for the name."""

    session: int
    name: str = ""
    verified: bool = False


class Activity(NamedTuple):
    """A transfer in progress.

    `moved` of `total` bytes (None: unknown), at `rate` bytes per second on average.
    """

    verb: str
    name: str
    moved: int
    total: int | None
    rate: int

    @property
    def percent(self) -> int | None:
        if self.total is None:
            return None
        return 100 if self.total <= self.moved else 100 * self.moved // self.total


class Presence(NamedTuple):
    """One session in the answer to `who`.

    `address` is "" where the viewer may not see it; `idle_s` is 0 while it transfers.
    """

    person: Person
    address: str
    since_ns: int
    idle_s: float
    is_listening: bool = False
    is_you: bool = False
    activity: Activity | None = None


class Attendance(NamedTuple):
    """A person came ("joined"), left ("left") or changed name ("named"; `old` is the old one)."""

    what: str
    person: Person
    time_ns: int
    old: str = ""


class Message(NamedTuple):
    """A message from a session. `number` counts the messages of that session.

    `is_private` if it went to one session only.
    """

    person: Person
    time_ns: int
    text: str
    number: int
    is_private: bool = False


class Change(NamedTuple):
    """A file or folder that was created, changed, moved (from `old`) or removed.

    `person` and `digest` are known for uploads; None and "" for changes made directly in the
    folder.
    """

    what: str
    name: str
    kind: str = "file"
    size: int = 0
    mtime_ns: int = 0
    digest: str = ""
    old: str = ""
    person: Person | None = None
    time_ns: int = 0


class Rescan(NamedTuple):
    """The server missed changes below `path` and has compared listings.

    The differences follow as changes.
    """

    path: str
    why: str


class Missed(NamedTuple):
    """How many events were dropped because they were not read in time."""

    count: int  # type: ignore[assignment]  # replaces the method of tuples


LiveEvent = Attendance | Message | Change | Rescan | Missed


def person_to_wire(person: Person) -> dict[str, Any]:
    return {"session": person.session, "name": person.name, "verified": person.verified}


def presence_to_wire(presence: Presence) -> dict[str, Any]:
    """Return one item of the answer to `who` (docs/protocol.md section 10.1)."""
    value: dict[str, Any] = {
        **person_to_wire(presence.person),
        "address": presence.address,
        "since_ns": presence.since_ns,
        "idle_s": round(presence.idle_s, 1),
        "listening": presence.is_listening,
    }
    if presence.is_you:
        value["you"] = True
    if presence.activity is not None:
        value["transfer"] = activity_to_wire(presence.activity)
    return value


def activity_to_wire(activity: Activity) -> dict[str, Any]:
    return {
        "verb": activity.verb,
        "name": activity.name,
        "moved": activity.moved,
        "total": activity.total,
        "percent": activity.percent,
        "rate": activity.rate,
    }


def presence_from_wire(value: object) -> Presence:
    """Read one item of the answer to `who`.

    Raises:
        RemoteProtocolError: It is not such an item.
    """
    if not isinstance(value, Mapping):
        raise RemoteProtocolError("an item of the answer to who is not an object")
    idle = value.get("idle_s", 0)
    if type(idle) not in (int, float):
        raise RemoteProtocolError('"idle_s" is not a number')
    transfer = value.get("transfer")
    return Presence(
        _person(value),
        take(value, "address", str, ""),
        take_time(value, "since_ns"),
        float(idle),
        take(value, "listening", bool, False),
        take(value, "you", bool, False),
        _activity(transfer) if isinstance(transfer, Mapping) else None,
    )


def _activity(value: Mapping[str, Any]) -> Activity:
    return Activity(
        take(value, "verb", str),
        take(value, "name", str, ""),
        take_count(value, "moved", 0),
        None if value.get("total") is None else take_count(value, "total"),
        take_count(value, "rate", 0),
    )


def event_to_notice(event: LiveEvent) -> Notice:
    """Return the content of the event frame (docs/protocol.md section 10)."""
    match event:
        case Attendance(what=what, person=person, time_ns=time_ns, old=old):
            named = {"old": old} if what == NAMED else {}
            return Notice(what, {**person_to_wire(person), "time_ns": time_ns, **named})
        case Message():
            told = {"private": True} if event.is_private else {}
            said = {"time_ns": event.time_ns, "message": event.number, "text": event.text}
            return Notice(SAID, {**person_to_wire(event.person), **said, **told})
        case Change():
            return Notice(CHANGE, _change_to_wire(event))
        case Rescan(path=path, why=why):
            return Notice(RESCAN, {"path": path, "why": why})
        case Missed(count=count):
            return Notice(MISSED, {"count": count})


def _change_to_wire(change: Change) -> dict[str, Any]:
    value: dict[str, Any] = {"change": change.what, "name": change.name, "kind": change.kind}
    if change.what == MOVED:
        value["old"] = change.old
    if change.what != REMOVED:
        if change.kind == "file":
            value["size"] = change.size
        value["mtime_ns"] = change.mtime_ns
    if change.digest:
        value["digest"] = change.digest
    if change.person is not None:
        value["by"] = person_to_wire(change.person)
    value["time_ns"] = change.time_ns
    return value


def event_from_notice(notice: Notice) -> LiveEvent | None:
    """Return the content of an event frame, or None for an event of another kind.

    Raises:
        RemoteProtocolError: A value is missing or of another type.
        NameRefused: It names a file that no share can hold.
    """
    values = notice.values
    match notice.what:
        case "joined" | "left" | "named":
            return Attendance(
                notice.what,
                _person(values),
                take_time(values, "time_ns"),
                take(values, "old", str, ""),
            )
        case "said":
            return Message(
                _person(values),
                take_time(values, "time_ns"),
                take(values, "text", str),
                take_count(values, "message", 0),
                take(values, "private", bool, False),
            )
        case "change":
            return _change(values)
        case "rescan":
            return Rescan(
                str(parse_path(take(values, "path", str, ""))), take(values, "why", str, "")
            )
        case "missed":
            return Missed(take_count(values, "count"))
        case _:
            return None


def _change(values: Mapping[str, Any]) -> Change | None:
    what = take(values, "change", str)
    if what not in (CREATED, CHANGED, MOVED, REMOVED):
        return None
    by = values.get("by")
    return Change(
        what,
        str(parse_name(take(values, "name", str))),
        take(values, "kind", str, "file"),
        take_count(values, "size", 0),
        take_time(values, "mtime_ns"),
        take(values, "digest", str, ""),
        str(parse_name(take(values, "old", str))) if what == MOVED else "",
        _person(by) if isinstance(by, Mapping) else None,
        take_time(values, "time_ns"),
    )


def _person(value: Mapping[str, Any]) -> Person:
    return Person(
        take_count(value, "session"),
        take(value, "name", str, ""),
        take(value, "verified", bool, False),
    )


def is_below(change: Change, folder: SafeName) -> bool:
    """Return whether a change is about `folder` or a name below it.

    A move counts on both sides.
    """
    if folder.is_root:
        return True
    path = str(folder)
    return any(
        name == path or name.startswith(f"{path}/") for name in (change.name, change.old) if name
    )
