"""The verbs of the live layer: who is here, messages to the others, and what is sent as events."""

from __future__ import annotations

from typing import Any

from ftransfer.gateways.native.session import Session
from ftransfer.names import parse_path
from ftransfer.protocol.commands import Command
from ftransfer.protocol.live import person_to_wire, presence_to_wire
from ftransfer.service import talk
from ftransfer.transfer.packs import in_frames

_PRESENCES_IN_FRAME = 256


async def handle_as(session: Session, command: Command) -> dict[str, Any]:
    """Name this session, or make it a helper of another one."""
    options = command.options
    token = options.get("token", "")
    if "of" in options:
        person = await talk.help_session(session, options["of"], token)
    else:
        user, host = options.get("user", ""), options.get("host", "")
        person = await talk.introduce(session, command.argument, user=user, host=host, token=token)
    return {**person_to_wire(person), "hides": session.hidden_patterns}


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
    """Send a message to all who listen."""
    sent = await talk.say(session, command.argument)
    return sent._asdict()


async def handle_tell(session: Session, command: Command) -> dict[str, Any]:
    """Send a message to one."""
    name, text = command.argument, command.options.get("text")
    if text is None:  # the plain form: the first word is the name
        name, _, text = command.argument.partition(" ")
    sent = await talk.tell(session, name, text.strip())
    return sent._asdict()


async def handle_listen(session: Session, command: Command) -> dict[str, Any]:
    """From now on, send what others say, and who comes and goes."""
    session.participant.is_listening = True
    session.hub.listen(session.participant)
    return {}


async def handle_unlisten(session: Session, command: Command) -> dict[str, Any]:
    """Stop sending it."""
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
    """Stop sending it."""
    await session.changes.unwatch(
        session.participant,
        parse_path(command.argument, session.limits) if command.argument else None,
    )
    return {}
