"""The state of a shell: a connection that reconnects, two current folders, and the console."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ftransfer.client.files import Checksum
from ftransfer.errors import ChannelError, Closed, NameRefused, ServerStopping
from ftransfer.names import ROOT, SafeName, parse_path
from ftransfer.protocol.live import Person, Presence
from ftransfer.protocol.replies import Hello
from ftransfer.shell.console import Console
from ftransfer.shell.formatting import stopped_line
from ftransfer.shell.listing import as_generator
from ftransfer.shell.progress import ProgressBar
from ftransfer.storage.base import Entry
from ftransfer.transfer.records import ProgressCallback, Receipt

if TYPE_CHECKING:
    from ftransfer.client.trees.report import OnItem, TreeReport


class RemoteShare(Protocol):
    """What the shell needs of a client (client/client.py)."""

    @property
    def hello(self) -> Hello: ...

    @property
    def is_closed(self) -> bool: ...

    async def open(self) -> None: ...

    async def who(self) -> list[Presence]: ...

    async def say(self, text: str) -> Delivered: ...

    async def tell(self, name: str, text: str) -> Delivered: ...

    async def introduce(self, name: str) -> Person: ...

    def iter_dir(self, path: str = "") -> AsyncIterator[Sequence[Entry]]: ...

    async def get(
        self,
        name: str,
        dest: str | os.PathLike[str] = ".",
        *,
        progress: ProgressCallback | None = None,
    ) -> Receipt: ...

    async def get_to(
        self, name: str, sink: BinaryIO, *, progress: ProgressCallback | None = None
    ) -> Receipt: ...

    async def put(
        self,
        file: str | os.PathLike[str],
        name: str | None = None,
        *,
        progress: ProgressCallback | None = None,
    ) -> Receipt: ...

    async def get_tree(
        self,
        path: str = "",
        dest: str | os.PathLike[str] = ".",
        *,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport: ...

    async def put_tree(
        self,
        folder: str | os.PathLike[str],
        path: str = "",
        *,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport: ...

    async def stat(self, name: str) -> Entry: ...

    async def checksum(self, name: str) -> Checksum: ...

    async def mkdir(self, name: str, *, parents: bool = False) -> None: ...

    async def rename(self, old: str, new: str, *, replace: bool = False) -> None: ...

    async def remove(self, name: str, *, recursive: bool = False) -> int: ...


class LiveWatch(Protocol):
    """What the shell needs of a live view (shell/live_view.py)."""

    is_muted: bool

    async def watch(self, folder: SafeName) -> None: ...
    async def unwatch(self) -> int: ...


class Delivered(Protocol):
    """The delivery of a message (client.presence.Delivery)."""

    @property
    def number(self) -> int: ...
    @property
    def received(self) -> int: ...


# A dead connection may fail twice: with an error of the stopping server, and with its end.
_LISTING_TRIES = 3


class RemoteConnection:
    """The connection to the server, used by one command at a time. It reports each reconnect.

    The caller owns the client and closes it.
    """

    def __init__(self, client: RemoteShare, note: Callable[[str], None]) -> None:
        self._client = client
        self._note = note
        self._lock = asyncio.Lock()
        self._hello = client.hello
        self._was_left = False  # we dropped the connection, so a reconnect is not reported

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[RemoteShare]:
        """Yield a connected client, for this caller alone.

        Raises:
            CannotConnect: The connection was lost, and the server cannot be reached again.
        """
        async with self._lock:
            await self._client.open()
            self._note_new_connection()
            try:
                yield self._client
            except asyncio.CancelledError:
                # Stopping a transfer closes its connection; the live view may have opened another.
                self._was_left = self._client.is_closed or self._client.hello is not self._hello
                raise
            finally:
                if not self._client.is_closed:
                    self._note_new_connection()

    async def listing(self, folder: SafeName) -> AsyncGenerator[Sequence[Entry], None]:
        """Yield the entries of a folder in batches. On a dead connection, reconnect and ask again.

        A listing that is left before its end (with aclose) closes the connection, unreported.
        """
        async with self.use() as client:
            hello, has_begun = client.hello, False
            for _ in range(_LISTING_TRIES):
                try:
                    async with contextlib.aclosing(
                        as_generator(client.iter_dir(str(folder)))
                    ) as batches:
                        async for batch in batches:
                            has_begun = True
                            yield batch
                    return
                except (ChannelError, ServerStopping):
                    # A lost server is often noticed only with the next request, long after.
                    if has_begun or client.hello is not hello:
                        raise
                except GeneratorExit:
                    self._was_left = True
                    raise
                await client.open()
                self._note_new_connection()
            raise Closed("the server closes every connection; try again later")

    def _note_new_connection(self) -> None:
        if self._client.hello is self._hello:
            return
        self._hello = self._client.hello
        if not self._was_left:
            self._note("connection lost; reconnected")
        self._was_left = False


@dataclass
class ShellContext:
    """The state of one shell.

    Attributes:
        folder: The current remote folder.
        local: The current local folder, absolute.
        live: Shows events above the prompt; None without a terminal.
        is_open: False once the shell is to be left.
        stopped: What to print if Ctrl-C stops the running command.
    """

    connection: RemoteConnection
    console: Console
    local: Path
    folder: SafeName = ROOT
    live: LiveWatch | None = None
    is_open: bool = True
    stopped: str = ""

    @contextlib.contextmanager
    def transfer(self, command: str) -> Iterator[ProgressBar]:
        """Show a bar for a transfer; if it is cancelled, set `stopped` to its progress.

        Args:
            command: The command that resumes the transfer.
        """
        with self.console.progress() as bar:
            try:
                yield bar
            except asyncio.CancelledError:
                self.stopped = stopped_line(bar.latest, command)
                raise

    def remote(self, typed: str) -> SafeName:
        """Return the remote name for typed text, relative to the current folder.

        Raises:
            NameRefused: It leads above the top of the share, or is not a valid name.
        """
        return resolve(self.folder, typed)

    def here(self, typed: str) -> Path:
        """Return the local path for typed text, relative to the current local folder."""
        return self.local / os.path.expanduser(typed)

    def relative(self, name: str) -> str:
        """Return a remote name relative to the current folder."""
        prefix = f"{self.folder}/" if self.folder.parts else ""
        return name.removeprefix(prefix)


def resolve(folder: SafeName, typed: str) -> SafeName:
    """Resolve typed text in a folder of the share: `..` goes up, a leading `/` starts at the top.

    Raises:
        NameRefused: As in ShellContext.remote.
    """
    parts = [] if typed.startswith("/") else list(folder.parts)
    for part in typed.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise NameRefused.about(typed, "above the top of the share; cd / goes to the top")
    return parse_path("/".join(parts))
