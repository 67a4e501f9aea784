"""The names that a server hides: unlisted names may exist, and must not be removed."""

from __future__ import annotations

from ftransfer.client.session import ClientSession
from ftransfer.errors import RemoteProtocolError
from ftransfer.protocol.replies import LIVE


async def fetch_hidden_patterns(session: ClientSession) -> tuple[str, ...]:
    """Return the patterns of the names that the server hides. Only between commands.

    Raises:
        RemoteProtocolError: The server does not send them, so nothing may be removed for being
            missing there. Also the errors of `request`, if it is needed.

    Source: docs/protocol.md section 5.
    """
    await session.finish_introduction()
    if session.hidden is None and LIVE in session.hello.features:
        session.learn_hidden(await session.request("as", "", {}))
        if session.hidden is None:
            raise RemoteProtocolError(
                f"{session.address} does not say which names it hides, so nothing may be removed;"
                " leave out --delete, or update the server"
            )
    return session.hidden or ()
