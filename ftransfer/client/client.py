"""The library's face: `async with connect(host, port) as client`, then dir, get and put as
coroutines.

A client outlives its connections: a transfer that is cut is tried again on a new one and goes on
where it stood.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from ftransfer.client.address import Address
from ftransfer.client.command_lock import CommandLock
from ftransfer.client.connector import open_session
from ftransfer.client.events import Live
from ftransfer.client.files import FileCommands
from ftransfer.client.paths import RemoteName, share_path
from ftransfer.client.presence import OnNameRefused, People
from ftransfer.client.retry import Backoff, RetryRules
from ftransfer.client.security import DEFAULT_SECURITY, Security
from ftransfer.client.session import ClientSession, OnNotice, require_count
from ftransfer.client.transfers.commands import Transfers
from ftransfer.errors import Busy, CannotConnect, ChannelError, LocalProtocolError, ServerStopping
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.protocol.replies import Hello, Listing, Notice, Reply
from ftransfer.storage.base import Entry
from ftransfer.transfer.records import Progress, ProgressCallback, entries_from_wire

if TYPE_CHECKING:
    # Loaded when first used: a get of one file needs no trees.
    from ftransfer.client.trees.run import OnItem, TreeOptions, TreeReport

T = TypeVar("T")

# What another connection may well cure. A server that stops is perhaps restarted.
_PASSING = (ChannelError, Busy, ServerStopping)


class connect:
    """Connect to a server: `async with connect(host, port) as client:`.

    Args:
        limits: Caps on what the server may send, and times.
        retry: When a broken transfer is tried again.
        on_notice: Called on the loop with each event of the live layer.
        name: What we are called there; by default user@host.
        on_name_refused: Called if the server does not take `name`, in place of an error: we are
            user@host then.
        security: Whether to encrypt, whom to trust, and who the user is.
        direct: Whether bytes may be moved between socket and files in threads, where the platform
            can.
        durable: Whether what is received is synced to disk before a get is done, and a server asked
            to do so before a put is.
        keep_cancelled: Whether a cancelled get leaves its partial behind to be gone on with; else
            nothing is left.

    Raises (on entering):
        CannotConnect: Nobody answers there, or not an ftransfer server.
        NotTrusted: It is not the server that it should be, or the way to it is not encrypted.
        NotAuthorised: It wants another login, or any.
        Busy: The server has no room.
        NameTaken, BadArgument: Somebody there is called `name` already, or no session can be called
        that.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: Limits = DEFAULT_LIMITS,
        retry: RetryRules | None = None,
        on_notice: OnNotice | None = None,
        name: str = "",
        on_name_refused: OnNameRefused | None = None,
        security: Security = DEFAULT_SECURITY,
        direct: bool = True,
        durable: bool = True,
        keep_cancelled: bool = False,
    ) -> None:
        self._client = Client(
            Address(host, port),
            limits,
            retry or RetryRules(),
            on_notice,
            security,
            name=name,
            on_name_refused=on_name_refused,
            direct=direct,
            durable=durable,
            keep_cancelled=keep_cancelled,
        )

    async def __aenter__(self) -> Client:
        await self._client.open()
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.close()


class Client(FileCommands, Transfers, People):
    """A user of one share. Made by `connect`; after the end of its `async with` every command
    raises LocalProtocolError.

    A client has one connection, over which its commands run one after the other: `dir` waits for
    the end of a `get` that runs. For several transfers at once, use a client for each.
    """

    def __init__(
        self,
        address: Address,
        limits: Limits,
        retry: RetryRules,
        on_notice: OnNotice | None,
        security: Security,
        *,
        name: str,
        on_name_refused: OnNameRefused | None,
        direct: bool,
        durable: bool,
        keep_cancelled: bool,
    ) -> None:
        self.address = address
        self._limits = limits
        self._retry = retry
        self._on_notice = on_notice
        self._security = security
        self._direct = direct
        self.durable = durable
        self.keep_cancelled = keep_cancelled
        self._session: ClientSession | None = None
        self._has_ended = False
        self._lock = CommandLock()
        super().__init__(Live(self._lock, self._connected, retry), name, on_name_refused)

    # The connection.

    @property
    def hello(self) -> Hello:
        """What the server said when the present connection was made."""
        assert self._session is not None, "connect first"
        return self._session.hello

    @property
    def is_closed(self) -> bool:
        """Whether there is no connection now; the next command makes a new one."""
        return self._session is None or self._session.is_over

    async def open(self) -> None:
        """Connect, if there is no connection."""
        async with self._lock:
            await self._connected()

    async def close(self) -> None:
        """Say goodbye, for good. Never raises."""
        self._has_ended = True
        try:
            await self._live.close()
            if self._session is not None:
                await self._session.close()
        finally:
            if self._session is not None:
                self._session.abort()  # also when cancelled meanwhile
                self._session = None

    async def _connected(self) -> ClientSession:
        if self._has_ended:
            raise LocalProtocolError("this client is closed; connect makes another one")
        if self._session is None or self._session.is_over:
            is_first = self._session is None
            session = await open_session(
                self.address,
                self._limits,
                security=self._security,
                on_notice=self._notice,
                direct=self._direct,
            )
            try:
                await self._take_place(session, is_first=is_first)
            except BaseException:
                session.abort()
                raise
            self._session = session
        return self._session

    async def _another(self) -> ClientSession:
        """Make one more connection, for a part of a transfer."""
        session = await open_session(
            self.address, self._limits, security=self._security, direct=self._direct
        )
        try:
            await self._help(session, self.hello)
        except BaseException:
            session.abort()
            raise
        return session

    def _notice(self, notice: Notice) -> None:
        self._live.receive(notice)
        if self._on_notice is not None:
            self._on_notice(notice)

    async def _once(self, command: Callable[[ClientSession], Awaitable[T]]) -> T:
        """Run a command in its turn. If it leaves the stream out of step (broken, cancelled), the
        connection is given up.
        """
        async with self._lock:
            session = await self._connected()
            try:
                return await command(session)
            except BaseException:
                if not session.is_between_commands:
                    session.abort()
                raise

    async def with_retries(
        self,
        name: str,
        command: Callable[[ClientSession, Callable[[int, int | None], None]], Awaitable[T]],
        progress: ProgressCallback | None,
    ) -> T:
        """Run a transfer, and again on a new connection whenever it is cut, as the rules for
        retries allow.

        Args:
            command: Called with the session and with a function to tell how far it is.
        """
        backoff = Backoff(self._retry, time.monotonic)
        done, total = 0, None
        was_connected = not self.is_closed

        def report(count: int, size: int | None) -> None:
            nonlocal done, total
            if count > done:
                backoff.progressed()
            done, total = count, size
            if progress is not None:
                progress(Progress(name, count, size))

        while True:
            try:
                return await self._once(lambda session: command(session, report))
            except _PASSING as error:
                if isinstance(error, CannotConnect) and not was_connected:
                    raise
                was_connected = True
                wait_s = backoff.next_wait_s()
                if wait_s is None:
                    raise
                if progress is not None:
                    progress(Progress(name, done, total, "reconnect"))
                await asyncio.sleep(wait_s)

    # Listing.

    async def dir(self, path: RemoteName = "") -> list[Entry]:
        """Give the entries of a folder ("" is the share itself), ordered by name.

        Raises:
            NotFound, NotAFolder, Forbidden, NameRefused, and ChannelError.
        """
        entries = [entry async for batch in self.iter_dir(path) for entry in batch]
        return sorted(entries, key=lambda entry: entry.name)

    async def iter_dir(
        self, path: RemoteName = "", *, recursive: bool = False, links: bool = False
    ) -> AsyncIterator[Sequence[Entry]]:
        """Give the entries of a folder in batches as they come, so that a folder of a million takes
        no memory.

        No other command of this client can run until the listing has been read to its end; one that
        is left early costs the connection, and the next command makes a new one.
        """
        below = share_path(path)
        options = {
            key: True for key, wanted in (("recursive", recursive), ("links", links)) if wanted
        }
        async with self._lock:
            session = await self._connected()
            try:
                await session.send("dir", str(below), options)
                count = 0
                while isinstance(event := await session.next_event(), Listing):
                    count += len(event.items)
                    yield entries_from_wire(event.items, below)
                if not isinstance(event, Reply):
                    raise session.unexpected(event)
                require_count(event.values, "entries", count)
            finally:
                if not session.is_between_commands:
                    session.abort()

    async def help(self) -> list[tuple[str, str]]:
        """Give the server's verbs as (usage, summary)."""
        values = await self._request("help")
        rows = values.get("verbs")
        return [
            (str(row.get("usage")), str(row.get("summary")))
            for row in rows or []
            if isinstance(row, dict)
        ]

    # Trees.

    async def get_tree(
        self,
        path: RemoteName = "/",
        dest: str | os.PathLike[str] = ".",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Make the local folder `dest` like the folder `path` of the share ("/" is all of it); only
        what differs is moved.

        Args:
            on_item: Called with what became of each name.

        Raises:
            NotFound, NotAFolder: There is no such folder.
            NameRefused: `dest` is empty, or `path` is and things may be removed.
            FtransferError: What ended the whole; failures of single names are in the report
                instead.
        """
        from ftransfer.client.trees import commands as tree_commands

        return await tree_commands.get_tree(self, path, dest, options, on_item, progress)

    async def get_matching(
        self,
        pattern: str,
        dest: str | os.PathLike[str] = ".",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Receive all files that match a pattern into the folder `dest`: `*`, `?` and `[…]` within
        a name, `**` for any folders.

        Raises:
            NotFound: No file matches. FtransferError: As get_tree.
        """
        from ftransfer.client.trees import commands as tree_commands

        return await tree_commands.get_matching(self, pattern, dest, options, on_item, progress)

    async def put_tree(
        self,
        folder: str | os.PathLike[str],
        path: RemoteName = "/",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Make the folder `path` of the share like a local one; only what differs is moved. Raises
        as get_tree.
        """
        from ftransfer.client.trees import commands as tree_commands

        return await tree_commands.put_tree(self, folder, path, options, on_item, progress)
