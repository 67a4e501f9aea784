"""The verb login: it sets the user that a session acts for."""

from __future__ import annotations

from typing import Any

from ftransfer.errors import NotAuthorised
from ftransfer.gateways.native.session import NativeSession
from ftransfer.protocol.commands import Command
from ftransfer.service.session import MAX_FAILED_LOGINS


async def handle_login(native: NativeSession, command: Command) -> dict[str, Any]:
    """Check a name and a secret."""
    session = native.session
    try:
        async with native.channel.heartbeats():
            await session.log_in(command.argument, str(command.options["secret"]))
    except NotAuthorised:
        native.has_left = session.failed_logins >= MAX_FAILED_LOGINS
        raise
    return {
        "user": session.principal.name,
        "hides": list(session.service.share.hidden_patterns),
    }
