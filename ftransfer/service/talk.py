"""Messages between sessions, with all checks beforehand, for any gateway."""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple, Protocol

from ftransfer.auth.permissions import Right
from ftransfer.errors import BadArgument, Forbidden
from ftransfer.limits import Limits
from ftransfer.names import escape
from ftransfer.protocol.live import Person
from ftransfer.service.hub import Hub
from ftransfer.service.participant import Participant

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Sender(Protocol):
    """What talking needs of a session."""

    @property
    def hub(self) -> Hub: ...
    @property
    def participant(self) -> Participant: ...


class SentMessage(NamedTuple):
    """What became of a message: its number within the session, and the number of recipients."""

    message: int
    received: int


async def say(session: Sender, text: str) -> SentMessage:
    """Send a message to all others who listen. A session that sends too many is slowed.

    Raises:
        Forbidden: The session has no right to say.
        BadArgument: The text is not a valid message.
        TooFast: The session has sent far too many.
    """
    _check_may_say(session)
    _check_text(text, session.hub.limits)
    await _await_turn(session)
    return SentMessage(*session.hub.send_message(session.participant, text))


async def tell(session: Sender, name: str, text: str) -> SentMessage:
    """Send a message to one session, by its name or as "#" and its number.

    Raises:
        Forbidden: The session has no right to say.
        NotFound: Nobody has that name.
        BadArgument: Several have it, or the text is not a valid message.
        TooFast: The session has sent far too many.
    """
    _check_may_say(session)
    _check_text(text, session.hub.limits)
    session.hub.find(name)
    await _await_turn(session)
    to = session.hub.find(name)  # the recipient may have left meanwhile
    return SentMessage(*session.hub.send_message(session.participant, text, to))


async def introduce(
    session: Sender, name: str = "", *, user: str = "", host: str = "", token: str = ""
) -> Person:
    """Set the name of a session: a unique one, or else user@host, which several may share.

    All who listen are notified of a new name, so it counts as a message.

    Raises:
        BadArgument, NameTaken: See Hub.introduce.
        TooFast: The session has sent far too many messages.
    """
    await _await_turn_to_rename(session)
    hub, participant = session.hub, session.participant
    if name:
        hub.introduce(participant, name, token=token)
    else:
        place = "@".join(word for word in (user, host) if word)
        shown = escape(place).replace("\\", "").replace('"', "").strip().lstrip("#")
        label = _cut(shown, hub.limits.max_label_bytes)
        hub.introduce(participant, label, token=token, is_unique=False)
    return participant.person


async def help_session(session: Sender, number: int, token: str) -> Person:
    """Make a session a helper of another session of the same client, for one transfer.

    Raises:
        BadArgument: See Hub.join_group.
    """
    await _await_turn_to_rename(session)
    session.hub.join_group(session.participant, number, token)
    return session.participant.person


async def _await_turn_to_rename(session: Sender) -> None:
    if session.participant.was_announced:
        await _await_turn(session)


async def _await_turn(session: Sender) -> None:
    await asyncio.sleep(session.hub.message_rate(session.participant).take())


def _check_may_say(session: Sender) -> None:
    if not session.participant.may(Right.SAY):
        raise Forbidden("you may not send messages; the owner of the share can give you that right")


def _check_text(text: str, limits: Limits) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadArgument("the message is not valid UTF-8") from error
    if size > limits.max_text_bytes:
        raise BadArgument(f"message too long: {size} bytes; the limit is {limits.max_text_bytes}")
    if not text.strip():
        raise BadArgument("empty message; write the text after the verb")
    if _CONTROL.search(text):
        raise BadArgument("a message is one line, without control characters")


def _cut(text: str, size: int) -> str:
    return text.encode("utf-8", "ignore")[:size].decode("utf-8", "ignore").strip()
