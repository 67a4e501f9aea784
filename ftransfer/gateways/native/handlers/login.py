"""The verb login: who a session acts for. What it may before that is nothing, or what everybody
may.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ftransfer.errors import NotAuthorised
from ftransfer.names import escape
from ftransfer.protocol.commands import Command
from ftransfer.service.penalties import source_of

if TYPE_CHECKING:
    from ftransfer.gateways.native.session import Session

# What may be said before a login that must be.
OPEN_VERBS = frozenset(("login", "help", "close"))
# A person who mistypes gets another try at once; a program that guesses has to connect again.
_MAX_FAILURES = 3


async def handle_login(session: Session, command: Command) -> dict[str, Any]:
    """Check a name and a secret. The answer to a wrong one is the same for both, and takes as
    long.
    """
    name, secret = command.argument, str(command.options["secret"])
    source = source_of(session.channel.transport.peer_host)
    async with session.channel.heartbeats():
        login = await session.service.logins.run(
            source, session.failed_logins, lambda: session.service.admission.check(name, secret)
        )
    # The owner may have changed users or token while it was checked; from here on nothing is
    # awaited.
    if login is None or session.service.admission.renew(login) is None:
        session.failed_logins += 1
        session.has_left = session.failed_logins >= _MAX_FAILURES
        session.note("login failed: %s", escape(name) or "token", level=logging.WARNING)
        raise NotAuthorised("the name or the secret is wrong")
    session.admit(login)
    session.note("logged in: %s", escape(name) or "token")
    return {"user": session.principal.name, "hides": session.hidden_patterns}


def check_may_say(session: Session, command: Command) -> None:
    """Refuse a command that needs a login first.

    Raises:
        NotAuthorised: It does.
    """
    if not session.is_admitted and command.verb not in OPEN_VERBS:
        raise NotAuthorised("this server wants a login first")
