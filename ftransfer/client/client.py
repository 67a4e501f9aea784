"""The library's face: `async with connect(host, port) as client`, then dir, get and put as
coroutines.
"""

from __future__ import annotations

from typing import Unpack

from ftransfer.client.address import Address
from ftransfer.client.files import FileCommands
from ftransfer.client.options import ClientKeywords, ClientOptions
from ftransfer.client.presence import PresenceCommands
from ftransfer.client.transfers.commands import TransferCommands
from ftransfer.client.trees.commands import TreeCommands


class Client(FileCommands, TransferCommands, TreeCommands, PresenceCommands):
    """A user of one share. Made by `connect`; after the end of its `async with` every command
    raises LocalProtocolError.

    A client has one connection, over which its commands run one after the other: `dir` waits for
    the end of a `get` that runs. For several transfers at once, use a client for each. A lost
    connection is made again, and interrupted transfers resume.
    """


def connect(host: str, port: int, **options: Unpack[ClientKeywords]) -> Client:
    """Return a client for a server: `async with connect(host, port) as client:`.

    Args:
        limits: Caps on what the server may send, and times.
        retry: When an interrupted transfer is tried again.
        on_notice: Called on the loop with each event of the live layer.
        name: Our name there; by default user@host.
        on_name_refused: Called if the server does not take `name`, in place of an error: the name
            is user@host then.
        security: Whether to encrypt, whom to trust, and who the user is.
        direct: Whether bytes may move between socket and files in threads, where the platform can.
        durable: Whether what is received is synced to disk before a get is done, and a server asked
            to do so before a put is.
        keep_cancelled: Whether a cancelled get leaves its partial behind, to be resumed; else
            nothing is left.

    Raises (on entering):
        CannotConnect: Nobody answers there, or not an ftransfer server.
        NotTrusted: It is another server than expected, or the connection is not encrypted.
        NotAuthorised: It wants another login, or any.
        Busy: The server takes no more sessions.
        NameTaken, BadArgument: `name` is taken there, or no session can have it.
    """
    return Client(Address(host, port), ClientOptions(**options))
