"""The verbs of the live layer: who is here, a word to the others, and what one wants to be told."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from ftransfer.errors import BadArgument
from ftransfer.gateways.native.session import Session
from ftransfer.names import escape, parse_path
from ftransfer.protocol.commands import Command
from ftransfer.protocol.live import presence_to_wire
from ftransfer.transfer.packs import in_frames

_PRESENCES_IN_FRAME = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


async def handle_as(session: Session, command: Command) -> dict[str, Any]:
    """Say what this session is called: a name of its own, or else user@host, which several may
    share; or whom it helps.
    """
    options = command.options
    if session.participant.was_announced:  # all who listen are told of another name, as of a word
        await asyncio.sleep(session.hub.pace_of(session.participant).wait_s())
    if "of" in options:
        session.hub.help(session.participant, options["of"], options.get("token", ""))
    elif command.argument:
        session.hub.introduce(session.participant, command.argument, token=options.get("token", ""))
    else:
        place = "@".join(
            word for word in (options.get("user", ""), options.get("host", "")) if word
        )
        shown = escape(place).replace("\\", "").replace('"', "").strip().lstrip("#")
        label = _cut(shown, session.limits.max_label_bytes)
        session.hub.introduce(
            session.participant, label, token=options.get("token", ""), is_unique=False
        )
    person = session.participant.person
    return {
        "session": person.session,
        "name": person.name,
        "verified": person.verified,
        "hides": session.hidden_patterns,
    }


def _cut(text: str, size: int) -> str:
    return text.encode("utf-8", "ignore")[:size].decode("utf-8", "ignore").strip()


async def handle_who(session: Session, command: Command) -> dict[str, Any]:
    """List the sessions."""
    items = [presence_to_wire(presence) for presence in session.hub.presences(session.participant)]
    for start in range(0, len(items), _PRESENCES_IN_FRAME):
        for listing in in_frames(
            items[start : start + _PRESENCES_IN_FRAME], session.connection.send_list
        ):
            await session.channel.send(listing)
    return {"sessions": len(items)}


async def handle_say(session: Session, command: Command) -> dict[str, Any]:
    """Pass a message on to all who listen."""
    text = _checked_text(session, command.argument)
    await asyncio.sleep(session.hub.pace_of(session.participant).wait_s())
    number, received = session.hub.say(session.participant, text)
    return {"message": number, "received": received}


async def handle_tell(session: Session, command: Command) -> dict[str, Any]:
    """Pass a message on to one."""
    name, text = command.argument, command.options.get("text")
    if text is None:  # the plain form: the first word is the name
        name, _, text = command.argument.partition(" ")
    text = _checked_text(session, text.strip())
    session.hub.find(name)
    await asyncio.sleep(session.hub.pace_of(session.participant).wait_s())
    number, received = session.hub.tell(session.participant, session.hub.find(name), text)
    return {"message": number, "received": received}


def _checked_text(session: Session, text: str) -> str:
    limit = session.limits.max_text_bytes
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadArgument("a message is text; this one is not UTF-8") from error
    if size > limit:
        raise BadArgument(f"a message has at most {limit} bytes; this one has {size}")
    if not text.strip():
        raise BadArgument("there is nothing to say; write the message behind the verb")
    if _CONTROL.search(text):
        raise BadArgument("a message is one line of text without control characters")
    return text


async def handle_listen(session: Session, command: Command) -> dict[str, Any]:
    """From now on, send what others say, and who comes and goes."""
    session.participant.is_listening = True
    session.hub.listen(session.participant)
    return {}


async def handle_unlisten(session: Session, command: Command) -> dict[str, Any]:
    """Send it no more."""
    session.participant.is_listening = False
    return {}


async def handle_watch(session: Session, command: Command) -> dict[str, Any]:
    """From now on, send what changes below a folder."""
    path = parse_path(command.argument, session.limits)
    async with session.channel.heartbeats():
        await session.share.stat(command.argument)
        await session.changes.watch(session.participant, path)
    return {"path": str(path)}


async def handle_unwatch(session: Session, command: Command) -> dict[str, Any]:
    """Send it no more."""
    await session.changes.unwatch(
        session.participant,
        parse_path(command.argument, session.limits) if command.argument else None,
    )
    return {}
