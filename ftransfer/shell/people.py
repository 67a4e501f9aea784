"""The live layer as text, and the commands of the shell that use it. Whatever a peer has said is
escaped.
"""

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
from ftransfer.shell.formatting import human_seconds, human_size, short_name
from ftransfer.shell.lines import scan

Flags = frozenset[str]


# Text.


def person_text(person: Person) -> str:
    """Give a name with what it is worth: "ann", "?ann" where only the client says so, "#7" without
    any.
    """
    if not person.name:
        return f"#{person.session}"
    return escape(person.name) if person.verified else f"?{escape(person.name)}"


def presence_lines(presences: Sequence[Presence]) -> list[str]:
    """Give a line for each session, in columns."""
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
        for mark, is_set in (("you", presence.is_you), ("listens", presence.is_listening))
        if is_set
    ]
    activity = presence.activity
    if activity is not None:
        percent = f" {activity.percent} %" if activity.percent is not None else ""
        doing = (
            f"{escape(activity.verb)} {short_name(activity.name)}{percent},"
            f" {human_size(activity.rate)}/s"
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
    """Give one line for an event."""
    match event:
        case Message():
            to = " (to you)" if event.is_private else ""
            return f"{_clock(event.time_ns)} {person_text(event.person)}{to}: {escape(event.text)}"
        case Attendance(what=what, person=person, time_ns=time_ns, old=old):
            did = {JOINED: "has come", LEFT: "has gone"}.get(
                what, f"is the new name of {escape(old) or f'#{person.session}'}"
            )
            return f"{_clock(time_ns)} * {person_text(person)} {did}"
        case Change():
            return _change_line(event)
        case Rescan(path=path, why=why):
            return f"rescan   {short_name(path) or '/'} ({escape(why)})"
        case Missed(count=count):
            return f"missed   {count} events, which came faster than they were read"


def _change_line(change: Change) -> str:
    name = (
        f"{short_name(change.old)} -> {short_name(change.name)}"
        if change.what == MOVED
        else short_name(change.name)
    )
    slash = "/" if change.kind == "dir" else ""
    size = (
        f", {human_size(change.size)}" if change.kind == "file" and change.what != "removed" else ""
    )
    by = f", by {person_text(change.person)}" if change.person is not None else ""
    return f"{escape(change.what):<8} {name}{slash}{size}{by}"


def _clock(time_ns: int) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(time_ns // 1_000_000_000))
    except (OverflowError, ValueError, OSError):
        return "??:??:??"


def delivery_line(number: int, received: int) -> str:
    """Say whom a message has reached."""
    if not received:
        return f"message {number}, 0 received: nobody else is listening"
    return f"message {number}, {received} received"


def event_record(event: LiveEvent) -> str:
    """Give an event as one JSON object: as on the wire, a change with its kind of change as
    "event".
    """
    notice = event_to_notice(event)
    values: dict[str, Any] = dict(notice.values)
    what = values.pop("change") if notice.what == CHANGE else notice.what
    return json.dumps({"event": what, **values})


def presence_record(presence: Presence) -> str:
    return json.dumps(presence_to_wire(presence))


# Commands.


async def who(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    async with shell.line.use() as client:
        found = await client.who()
    shell.console.lines(presence_lines(found))


async def say(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    if not arguments[0]:
        raise WrongUsage("say needs a message; usage: say TEXT")
    async with shell.line.use() as client:
        delivery = await client.say(arguments[0])
    shell.console.line(delivery_line(delivery.number, delivery.received))


async def tell(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    words = scan(arguments[0])
    if len(words) < 2:
        raise WrongUsage("tell needs a name and a message; usage: tell NAME TEXT")
    async with shell.line.use() as client:
        delivery = await client.tell(words[0].text, arguments[0][words[1].start :])
    shell.console.line(delivery_line(delivery.number, delivery.received))


async def name(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    async with shell.line.use() as client:
        person = await client.introduce(arguments[0] if arguments else "")
    shell.console.line(f"you are {person_text(person)}, session #{person.session}")


async def watch(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    folder = shell.remote(arguments[0] if arguments else "")
    await _view(shell).watch(folder)
    shell.console.line(f"watching {_shown(folder)}; unwatch ends it")


async def unwatch(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    count = await _view(shell).unwatch()
    shell.console.line("stopped watching" if count else "nothing was watched")


async def mute(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    _view(shell).is_muted = True
    shell.console.line("who comes and goes is not shown; what others say is; unmute shows both")


async def unmute(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    _view(shell).is_muted = False
    shell.console.line("who comes and goes is shown")


def _view(shell: ShellContext) -> LiveWatch:
    if shell.live is None:
        raise WrongUsage(
            "events are shown at a terminal only; for scripts there is: ftransfer watch HOST PORT"
        )
    return shell.live


def _shown(folder: SafeName) -> str:
    return f"/{escape(str(folder))}"
