"""The verbs of the live layer: who is online, messages, and event subscriptions."""

from __future__ import annotations

from typing import Any

from ftransfer.gateways.native.session import NativeSession
from ftransfer.names import parse_path
from ftransfer.protocol.commands import Command
from ftransfer.protocol.live import person_to_wire, presence_to_wire
from ftransfer.service import talk
from ftransfer.transfer.packs import in_frames

_PRESENCES_IN_FRAME = 256


async def handle_as(native: NativeSession, command: Command) -> dict[str, Any]:
    """Name this session, or make it a helper of another one."""
    options = command.options
    token = options.get("token", "")
    if "of" in options:
        person = await talk.help_session(native.session, options["of"], token)
    else:
        place = {key: options.get(key, "") for key in ("user", "host")}
        person = await talk.introduce(native.session, command.argument, token=token, **place)
    return {**person_to_wire(person), "hides": list(native.session.service.share.hidden_patterns)}


async def handle_who(native: NativeSession, command: Command) -> dict[str, Any]:
    """List the sessions."""
    session = native.session
    items = [presence_to_wire(presence) for presence in session.hub.presences(session.participant)]
    for start in range(0, len(items), _PRESENCES_IN_FRAME):
        for listing in in_frames(
            items[start : start + _PRESENCES_IN_FRAME], native.connection.send_list
        ):
            await native.channel.send(listing)
    return {"sessions": len(items)}


async def handle_say(native: NativeSession, command: Command) -> dict[str, Any]:
    """Send a message to all who listen."""
    sent = await talk.say(native.session, command.argument)
    return sent._asdict()


async def handle_tell(native: NativeSession, command: Command) -> dict[str, Any]:
    """Send a message to one session."""
    name, text = command.argument, command.options.get("text")
    if text is None:  # the plain form: the first word is the name
        name, _, text = command.argument.partition(" ")
    sent = await talk.tell(native.session, name, text.strip())
    return sent._asdict()


async def handle_listen(native: NativeSession, command: Command) -> dict[str, Any]:
    """From now on, send what others say, and who joins and leaves."""
    native.session.hub.listen(native.session.participant)
    return {}


async def handle_unlisten(native: NativeSession, command: Command) -> dict[str, Any]:
    """Stop sending messages, joins and leaves."""
    native.session.hub.unlisten(native.session.participant)
    return {}


async def handle_watch(native: NativeSession, command: Command) -> dict[str, Any]:
    """From now on, send changes below a folder."""
    path = parse_path(command.argument, native.limits)
    async with native.channel.heartbeats():
        await native.session.view.stat(command.argument)
        await native.session.service.changes.watch(native.session.participant, path)
    return {"path": str(path)}


async def handle_unwatch(native: NativeSession, command: Command) -> dict[str, Any]:
    """Stop sending changes."""
    await native.session.service.changes.unwatch(
        native.session.participant,
        parse_path(command.argument, native.limits) if command.argument else None,
    )
    return {}
