"""The library's entry point: `async with connect(host, port) as client`, then dir, get, put."""

from __future__ import annotations

from typing import Unpack

from ftransfer.client.address import Address
from ftransfer.client.files import FileCommands
from ftransfer.client.options import ClientKeywords, ClientOptions
from ftransfer.client.presence import PresenceCommands
from ftransfer.client.transfers.commands import TransferCommands
from ftransfer.client.trees.commands import TreeCommands


class Client(FileCommands, TransferCommands, TreeCommands, PresenceCommands):
    """A client of one share, made by `connect`.

    After its `async with` block, every command raises LocalProtocolError. Commands run one after
    the other over one connection: `dir` waits for a running `get`. For parallel transfers, use
    several clients. A lost connection is reopened, and interrupted transfers resume.
    """


def connect(host: str, port: int, **options: Unpack[ClientKeywords]) -> Client:
    """Return a client for a server: `async with connect(host, port) as client:`.

    Args:
        limits: Limits on what the server may send, and timeouts.
        retry: When to retry an interrupted transfer.
        on_notice: Called on the event loop with each live event.
        name: Our name on the server; user@host by default.
        on_name_refused: Called if the server refuses `name`, instead of raising an error; the name
            is then user@host.
        security: Whether to encrypt, whom to trust, and who the user is.
        direct: Whether threads may move bytes between socket and files, where the platform can.
        durable: Whether a get syncs the file to disk before it completes, and a put asks the server
            to do so.
        keep_cancelled: Whether a cancelled get keeps its partial file, to be resumed; otherwise
            nothing is left.

    Raises (on entering):
        CannotConnect: Nothing answers there, or it is not an ftransfer server.
        NotTrusted: It is not the expected server, or the connection is not encrypted.
        NotAuthorised: The server requires a login, or another one.
        Busy: The server accepts no more sessions.
        NameTaken, BadArgument: `name` is in use on the server, or no session can have it.
    """
    return Client(Address(host, port), ClientOptions(**options))
