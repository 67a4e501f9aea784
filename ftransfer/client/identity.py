"""Who a client is on the server: its name, and the token that its connections share."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable

from ftransfer.client.session import ClientSession
from ftransfer.errors import BadArgument, NameTaken, RequestError
from ftransfer.protocol.replies import Hello

OnNameRefused = Callable[[RequestError], None]


class Identity:
    """The name that a client has chosen; "" means user@host.

    Args:
        on_refused: Called if the server refuses the name, instead of raising an error.
    """

    def __init__(self, name: str, on_refused: OnNameRefused | None) -> None:
        self.name = name
        self._on_refused = on_refused
        # It lets a new connection replace an old one that the server still believes alive, and
        # joins further connections to the first. Nobody else can guess it.
        self._token = os.urandom(8).hex()

    def options(self, name: str) -> dict[str, str]:
        """Return the options of the command that introduces us by a name."""
        return {"token": self._token} if name else {**_user_and_host(), "token": self._token}

    async def introduce(self, session: ClientSession, *, is_first: bool) -> None:
        """Introduce a new connection.

        Raises:
            NameTaken, BadArgument: The name is refused on the first connection, and there is no
                callback. Later connections fall back to user@host.
        """
        try:
            if self.name:
                values = await session.request("as", self.name, self.options(self.name))
                session.learn_hidden(values)
            else:
                await session.introduce(self.options(""))
        except (NameTaken, BadArgument) as error:
            if is_first:
                if self._on_refused is None:
                    raise
                self.name = ""
                self._on_refused(error)
            await session.introduce(self.options(""))

    async def introduce_helper(self, session: ClientSession, leader: Hello) -> None:
        """Introduce a further connection of a transfer: presence shows both as one session."""
        await session.introduce({"of": leader.session, "token": self._token})


def _user_and_host() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # the user id has no name
        user = ""
    return {"user": user, "host": socket.gethostname()}
