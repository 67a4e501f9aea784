"""The library's face: `async with connect(host, port) as client`, then dir, get and put as coroutines.

A client outlives its connections: a transfer that is cut is tried again on a new one and goes on where it stood.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from ftransfer.client.conversation import Conversation, OnNotice
from ftransfer.client.downloads import LONG_PATH_S, PartFile, Report, StreamDownload, download, expire_parts
from ftransfer.client.files import FileCommands
from ftransfer.client.greeting import Address
from ftransfer.client.live import Live
from ftransfer.client.paths import tidy
from ftransfer.client.people import OnNameRefused, People
from ftransfer.client.retry import Backoff, RetryRules, afresh_once
from ftransfer.client.security import DEFAULT_SECURITY, Security
from ftransfer.client.turn import Turn
from ftransfer.client.uploads import source_of, upload, upload_stream
from ftransfer.errors import Busy, CannotConnect, ChannelError, ServerStopping
from ftransfer.jobs import movers, run_job
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.names import SafeName, parse_name, parse_path
from ftransfer.protocol.replies import Hello, Listing, Notice, Reply
from ftransfer.storage.base import Entry, Reader, Store
from ftransfer.storage.local import LocalStore
from ftransfer.transfer.records import Progress, ProgressCallback, Receipt, entries_from_wire

if TYPE_CHECKING:
    # Loaded when first used: a get of one file needs no trees, and a short path no second connection.
    from ftransfer.client.trees import OnItem, TreeOptions, TreeReport

T = TypeVar("T")

# What another connection may well cure. A server that stops is perhaps restarted.
_PASSING = (ChannelError, Busy, ServerStopping)


class connect:  # noqa: N801 - reads as the verb that it is: async with connect(...)
    """Connect to a server: `async with connect(host, port) as client:`.

    Args:
        limits: Caps on what the server may send, and times.
        retry: When a broken transfer is tried again.
        on_notice: Called on the loop with each event of the live layer.
        name: What we are called there; by default user@host.
        on_name_refused: Called if the server does not take `name`, in place of an error: we are user@host then.
        security: Whether to encrypt, whom to trust, and who the user is.
        direct: Whether bytes may be moved between socket and files in threads, where the platform can.
        durable: Whether what is received is synced to disk before a get is done, and a server asked to do so before a put is.
        keep_cancelled: Whether a cancelled get leaves its partial behind to be gone on with; else nothing is left.

    Raises (on entering):
        CannotConnect: Nobody answers there, or not an ftransfer server.
        NotTrusted: It is not the server that it should be, or the way to it is not encrypted.
        NotAuthorised: It wants another login, or any.
        Busy: The server has no room.
        NameTaken, BadArgument: Somebody there is called `name` already, or no session can be called that.
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

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.close()


class Client(FileCommands, People):
    """A user of one share. Made by `connect`. Commands of one client run one after the other."""

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
        self._conversation: Conversation | None = None
        self._turn = Turn()
        super().__init__(Live(self._turn, self._connected, retry), name, on_name_refused)

    # The connection.

    @property
    def hello(self) -> Hello:
        """What the server said when the present connection was made."""
        assert self._conversation is not None, "connect first"
        return self._conversation.hello

    @property
    def is_closed(self) -> bool:
        """Whether there is no connection now; the next command makes a new one."""
        return self._conversation is None or self._conversation.is_over

    async def open(self) -> None:
        """Connect, if there is no connection."""
        async with self._turn:
            await self._connected()

    async def close(self) -> None:
        """Say goodbye. Never raises."""
        try:
            await self._live.close()
            if self._conversation is not None:
                await self._conversation.close()
        finally:
            if self._conversation is not None:
                self._conversation.abort()  # also when cancelled meanwhile
                self._conversation = None

    async def _connected(self) -> Conversation:
        if self._conversation is None or self._conversation.is_over:
            is_first = self._conversation is None
            conversation = await Conversation.open(
                self.address, self._limits, security=self._security, on_notice=self._notice, direct=self._direct
            )
            try:
                await self._take_place(conversation, is_first=is_first)
            except BaseException:
                conversation.abort()
                raise
            self._conversation = conversation
        return self._conversation

    async def _another(self) -> Conversation:
        """Make one more connection, for a part of a transfer."""
        return await Conversation.open(self.address, self._limits, security=self._security, direct=self._direct)

    def _notice(self, notice: Notice) -> None:
        self._live.receive(notice)
        if self._on_notice is not None:
            self._on_notice(notice)

    async def _once(self, command: Callable[[Conversation], Awaitable[T]]) -> T:
        """Run a command in its turn. If it leaves the stream out of step (broken, cancelled), the connection is given up."""
        async with self._turn:
            conversation = await self._connected()
            try:
                return await command(conversation)
            except BaseException:
                if not conversation.is_between_commands:
                    conversation.abort()
                raise

    async def persist(
        self,
        name: str,
        command: Callable[[Conversation, Callable[[int, int | None], None]], Awaitable[T]],
        progress: ProgressCallback | None,
    ) -> T:
        """Run a transfer, and again on a new connection whenever it is cut, as the rules for retries allow.

        Args:
            command: Called with the conversation and with a function to tell how far it is.
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
                return await self._once(lambda conversation: command(conversation, report))
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

    async def dir(self, path: str = "") -> list[Entry]:
        """Give the entries of a folder ("" is the share itself), ordered by name.

        Raises:
            NotFound, NotAFolder, Forbidden, NameRefused, and ChannelError.
        """
        entries = [entry async for batch in self.iter_dir(path) for entry in batch]
        return sorted(entries, key=lambda entry: entry.name)

    async def iter_dir(self, path: str = "", *, recursive: bool = False, links: bool = False) -> AsyncIterator[Sequence[Entry]]:
        """Give the entries of a folder in batches as they come, so that a folder of a million takes no memory.

        No other command of this client can run until the listing has been read to its end; one that is left early costs the
        connection, and the next command makes a new one.
        """
        below = parse_path(path)
        options = {key: True for key, wanted in (("recursive", recursive), ("links", links)) if wanted}
        async with self._turn:
            conversation = await self._connected()
            try:
                await conversation.say("dir", str(below), options)
                while isinstance(event := await conversation.answer(), Listing):
                    yield entries_from_wire(event.items, below)
                if not isinstance(event, Reply):
                    raise conversation.out_of_turn(event)
            finally:
                if not conversation.is_between_commands:
                    conversation.abort()

    async def help(self) -> list[tuple[str, str]]:
        """Give the server's verbs as (usage, summary)."""
        values = await self._ask("help")
        rows = values.get("verbs")
        return [(str(row.get("usage")), str(row.get("summary"))) for row in rows or [] if isinstance(row, dict)]

    # Receiving.

    async def get(
        self,
        name: str,
        dest: str | os.PathLike[str] = ".",
        *,
        offset: int = 0,
        length: int | None = None,
        streams: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Receipt:
        """Receive a file: verified, then renamed into place, with mtime and mode.

        What an earlier attempt left beside the destination is gone on with. A cancelled get leaves nothing that is half-written.

        Args:
            dest: A file to write, or a folder that exists, to write into under the file's own name.
            offset, length: Only a part of the file, which becomes a file of its own; of it nothing is kept for a later attempt.
            streams: Over how many connections; None for one on a short path, and as many as pay on a long one.

        Raises:
            NotFound, NotAFile, Forbidden, NameRefused: The server, or the local disk, refuses.
            DigestMismatch, Truncated: The content did not verify; nothing was published.
            ChannelError: The connection was lost, for longer than the rules for retries allow.
        """
        safe = parse_name(name)
        folder, file_name = await run_job(movers(), lambda: _split_destination(os.fspath(dest), safe))
        began = time.monotonic()
        store = await LocalStore.open(folder, durable=self.durable)
        try:
            target = SafeName((file_name,))
            if offset or length is not None:
                receipt = await self._get_part(str(safe), store, target, offset, length, progress)
            else:
                receipt = await self.persist(
                    str(safe),
                    lambda conversation, report: self._download(conversation, str(safe), store, target, report, streams),
                    progress,
                )
            await expire_parts(store)
        finally:
            await store.close()
        return receipt._replace(seconds=time.monotonic() - began, path=tidy(os.path.join(folder, file_name)))

    async def _get_part(
        self, name: str, store: LocalStore, target: SafeName, offset: int, length: int | None, progress: ProgressCallback | None
    ) -> Receipt:
        async def attempt() -> Receipt:
            async with PartFile(store, target) as part:
                stream = StreamDownload(name, part, offset=offset, length=length)
                receipt = await self.persist(name, stream.run, progress)
                await part.publish(receipt.digest)
            return receipt._replace(durable=store.durable)

        return await afresh_once(attempt)

    async def _download(
        self, conversation: Conversation, name: str, store: Store, target: SafeName, report: Report, streams: int | None
    ) -> Receipt:
        if streams == 1 or (streams is None and conversation.channel.link.round_trip_s < LONG_PATH_S):
            return await download(conversation, name, store, target, report, keep_cancelled=self.keep_cancelled)
        from ftransfer.client.parallel import download_best

        return await download_best(
            conversation, name, store, target, report, self._another, streams=streams, keep_cancelled=self.keep_cancelled
        )

    async def get_to(
        self,
        name: str,
        sink: BinaryIO,
        *,
        offset: int = 0,
        length: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Receipt:
        """Receive a file, or a part of it, into an open binary file or pipe.

        The bytes are passed on as they come and verified at the end: on an error, what was written must not be used.

        Raises:
            As `get`; SourceChanged if the file changed across a lost connection; OSError from the sink.
        """
        began = time.monotonic()
        stream = StreamDownload(str(parse_name(name)), sink, offset=offset, length=length)
        receipt = await self.persist(name, stream.run, progress)
        return receipt._replace(seconds=time.monotonic() - began)

    # Sending.

    async def put(
        self,
        file: str | os.PathLike[str],
        name: str | None = None,
        *,
        progress: ProgressCallback | None = None,
        if_absent: bool = False,
        if_match: str = "",
        streams: int | None = None,
    ) -> Receipt:
        """Send a file; on return the server has verified and published it, and synced it if the receipt says durable.

        Args:
            name: The name in the share; by default the file's own. A "/" at the end means a folder to put it into.
            if_absent: Refuse if something has that name already (AlreadyThere).
            if_match: Refuse if the content there has not this digest (ChangedMeanwhile).
            streams: As for `get`.

        Raises:
            NotFound, NotAFile, Forbidden, ReadOnly, DiskFull, NameRefused: The local disk, or the server, refuses.
            SourceChanged: The file changed while it was sent.
            ChannelError: The connection was lost, for longer than the rules for retries allow.
        """
        path = tidy(file)
        target = _remote_name(os.path.basename(path), name)
        options = _conditions(if_absent, if_match, durable=self.durable)
        began = time.monotonic()
        # The user's own links may lead anywhere: they are followed here, before the store confines names to a folder.
        real = await run_job(movers(), lambda: os.path.realpath(path))
        folder, file_name = os.path.split(real)
        store = await LocalStore.open(folder, durable=self.durable)
        try:
            reader = await store.open_read(SafeName((file_name,)))
            source = source_of(real, reader)
            receipt = await self.persist(
                target,
                lambda conversation, report: self._upload(conversation, reader, target, source, options, report, streams),
                progress,
            )
        finally:
            await store.close()
        return receipt._replace(seconds=time.monotonic() - began, path=path)

    async def _upload(
        self,
        conversation: Conversation,
        reader: Reader,
        name: str,
        source: str,
        options: Mapping[str, Any],
        report: Callable[[int, int | None], None],
        streams: int | None,
    ) -> Receipt:
        if streams == 1 or (streams is None and conversation.channel.link.round_trip_s < LONG_PATH_S):
            return await upload(conversation, reader, name, source, options, report)
        from ftransfer.client.parallel_put import upload_best

        return await upload_best(conversation, reader, name, source, options, report, self._another, streams=streams)

    async def put_from(
        self,
        source: BinaryIO,
        name: str,
        *,
        progress: ProgressCallback | None = None,
        if_absent: bool = False,
        if_match: str = "",
    ) -> Receipt:
        """Send what an open binary file or pipe gives until its end. A lost connection is not retried: the bytes are gone.

        Raises:
            As `put`; OSError from the source.
        """
        target = str(parse_name(name))
        options = _conditions(if_absent, if_match, durable=self.durable)
        began = time.monotonic()

        def report(count: int, size: int | None) -> None:
            if progress is not None:
                progress(Progress(target, count, size))

        receipt = await self._once(lambda conversation: upload_stream(conversation, source, target, options, report))
        return receipt._replace(seconds=time.monotonic() - began)

    # Trees.

    async def get_tree(
        self,
        path: str = "",
        dest: str | os.PathLike[str] = ".",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Make the local folder `dest` like the folder `path` of the share ("" is all of it); only what differs is moved.

        Args:
            on_item: Called with what became of each name.

        Raises:
            NotFound, NotAFolder: There is no such folder.
            FtransferError: What ended the whole; failures of single names are in the report instead.
        """
        from ftransfer.client import treecommands

        return await treecommands.get_tree(self, path, dest, options, on_item, progress)

    async def get_matching(
        self,
        pattern: str,
        dest: str | os.PathLike[str] = ".",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Receive all files that match a pattern into the folder `dest`: `*`, `?` and `[…]` within a name, `**` for any folders.

        Raises:
            NotFound: No file matches. FtransferError: As get_tree.
        """
        from ftransfer.client import treecommands

        return await treecommands.get_matching(self, pattern, dest, options, on_item, progress)

    async def put_tree(
        self,
        folder: str | os.PathLike[str],
        path: str = "",
        *,
        options: TreeOptions | None = None,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        """Make the folder `path` of the share like a local one; only what differs is moved. Raises as get_tree."""
        from ftransfer.client import treecommands

        return await treecommands.put_tree(self, folder, path, options, on_item, progress)


def _split_destination(dest: str, name: SafeName) -> tuple[str, str]:
    """Give the local folder and file name that a destination means."""
    if not dest or dest.endswith(os.sep) or os.path.isdir(dest):
        return dest or ".", name.last
    if os.path.islink(dest):
        dest = os.path.realpath(dest)  # as cp does: the file that the link leads to is replaced, not the link
    folder, file_name = os.path.split(tidy(dest))
    return folder or ".", file_name


def _remote_name(file_name: str, name: str | None) -> str:
    if name is None or name == "":
        return str(parse_name(file_name))
    if name.endswith("/"):
        return str(parse_name(f"{parse_path(name)}/{file_name}".lstrip("/")))
    return str(parse_name(name))


def _conditions(if_absent: bool, if_match: str, *, durable: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if if_absent:
        options["if_absent"] = True
    if if_match:
        options["if_match"] = if_match
    if not durable:
        options["durable"] = False
    return options
