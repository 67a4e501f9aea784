"""The live layer as text, and its shell commands. All text from a peer is escaped."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from ftransfer.names import SafeName, escape
from ftransfer.protocol.live import (
    CHANGE,
    JOINED,
    LEFT,
    MOVED,
    Attendance,
    Change,
    LiveEvent,
    Message,
    Missed,
    Person,
    Presence,
    Rescan,
    event_to_notice,
    presence_to_wire,
)
from ftransfer.shell.context import LiveWatch, ShellContext
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import human_seconds, short_name
from ftransfer.shell.lines import scan
from ftransfer.units import format_size

Flags = frozenset[str]

_ATTENDANCE = {JOINED: "joined", LEFT: "left"}


# Formatting.


def person_text(person: Person) -> str:
    """Format a person: "ann" if authenticated, "?ann" if not, "#7" without a name."""
    if not person.name:
        return f"#{person.session}"
    return escape(person.name) if person.verified else f"?{escape(person.name)}"


def presence_lines(presences: Sequence[Presence]) -> list[str]:
    """Format one line per session, in columns."""
    rows = [_presence_row(presence) for presence in presences]
    widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
    return [
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]
        ).rstrip()
        for row in rows
    ]


def _presence_row(presence: Presence) -> tuple[str, str, str, str, str]:
    since = time.strftime("%H:%M", time.localtime(max(0, presence.since_ns // 1_000_000_000)))
    marks = [
        mark
        for mark, is_set in (("you", presence.is_you), ("listening", presence.is_listening))
        if is_set
    ]
    activity = presence.activity
    if activity is not None:
        percent = f" {activity.percent} %" if activity.percent is not None else ""
        doing = (
            f"{escape(activity.verb)} {short_name(activity.name)}{percent},"
            f" {format_size(activity.rate)}/s"
        )
    else:
        doing = f"idle {human_seconds(presence.idle_s)}" if presence.idle_s >= 1 else "idle"
    number = f"#{presence.person.session}"
    return (
        number,
        person_text(presence.person),
        escape(presence.address) or "-",
        f"since {since}",
        ", ".join([doing, *marks]),
    )


def event_line(event: LiveEvent) -> str:
    """Format an event as one line."""
    match event:
        case Message():
            to = " (to you)" if event.is_private else ""
            return f"{_clock(event.time_ns)} {person_text(event.person)}{to}: {escape(event.text)}"
        case Attendance(what=what, person=person, time_ns=time_ns, old=old):
            if what not in _ATTENDANCE:
                named = escape(old) or f"#{person.session}"
                return f"{_clock(time_ns)} * {named} is now {person_text(person)}"
            return f"{_clock(time_ns)} * {person_text(person)} {_ATTENDANCE[what]}"
        case Change():
            return _change_line(event)
        case Rescan(path=path, why=why):
            return f"rescan   {short_name(path) or '/'} ({escape(why)})"
        case Missed(count=count):
            return f"missed   {count} events, because they came faster than they were read"


def _change_line(change: Change) -> str:
    name = (
        f"{short_name(change.old)} -> {short_name(change.name)}"
        if change.what == MOVED
        else short_name(change.name)
    )
    slash = "/" if change.kind == "dir" else ""
    size = (
        f", {format_size(change.size)}"
        if change.kind == "file" and change.what != "removed"
        else ""
    )
    by = f", by {person_text(change.person)}" if change.person is not None else ""
    return f"{escape(change.what):<8} {name}{slash}{size}{by}"


def _clock(time_ns: int) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(time_ns // 1_000_000_000))
    except (OverflowError, ValueError, OSError):
        return "??:??:??"


def delivery_line(number: int, received: int) -> str:
    """Report how many received a message."""
    if not received:
        return f"message {number}, nobody else is listening"
    return f"message {number}, received by {received}"


def event_record(event: LiveEvent) -> str:
    """Format an event as JSON: as on the wire, but with the kind of a change as "event"."""
    notice = event_to_notice(event)
    values: dict[str, Any] = dict(notice.values)
    what = values.pop("change") if notice.what == CHANGE else notice.what
    return json.dumps({"event": what, **values})


def presence_record(presence: Presence) -> str:
    return json.dumps(presence_to_wire(presence))


# Commands.


async def who(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    async with shell.connection.use() as client:
        found = await client.who()
    shell.console.lines(presence_lines(found))


async def say(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    if not arguments[0]:
        raise WrongUsage("say: missing TEXT; usage: say TEXT")
    async with shell.connection.use() as client:
        delivery = await client.say(arguments[0])
    shell.console.line(delivery_line(delivery.number, delivery.received))


async def tell(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    words = scan(arguments[0])
    if len(words) < 2:
        raise WrongUsage(f"tell: missing {'TEXT' if words else 'NAME'}; usage: tell NAME TEXT")
    async with shell.connection.use() as client:
        delivery = await client.tell(words[0].text, arguments[0][words[1].start :])
    shell.console.line(delivery_line(delivery.number, delivery.received))


async def name(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    async with shell.connection.use() as client:
        person = await client.introduce(arguments[0] if arguments else "")
    shell.console.line(f"you are {person_text(person)}, session #{person.session}")


async def watch(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    folder = shell.remote(arguments[0] if arguments else "")
    await _view(shell).watch(folder)
    shell.console.line(f"watching {_shown(folder)}; unwatch stops")


async def unwatch(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    count = await _view(shell).unwatch()
    shell.console.line("stopped watching" if count else "not watching anything")


async def mute(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    _view(shell).is_muted = True
    shell.console.line("hiding who joins and leaves; messages are still shown; unmute shows both")


async def unmute(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    _view(shell).is_muted = False
    shell.console.line("showing who joins and leaves")


def _view(shell: ShellContext) -> LiveWatch:
    if shell.live is None:
        raise WrongUsage("events need a terminal; in a script use ftransfer watch HOST PORT")
    return shell.live


def _shown(folder: SafeName) -> str:
    return f"/{escape(str(folder))}"
