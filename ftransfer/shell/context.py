"""What a shell command works with: a connection that comes back by itself, two current folders, and
the console.
"""

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
    from ftransfer.client.trees.run import OnItem, TreeReport


class RemoteShare(Protocol):
    """What the shell asks of a client (client/client.py)."""

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
    """What the shell asks of a live view (shell/liveview.py)."""

    is_muted: bool

    async def watch(self, folder: SafeName) -> None: ...
    async def unwatch(self) -> int: ...


class Delivered(Protocol):
    """What became of a message (client.presence.Delivery)."""

    @property
    def number(self) -> int: ...
    @property
    def received(self) -> int: ...


# The last word of a server that has gone, the end of its connection, and a new one.
_LISTING_TRIES = 3


class RemoteConnection:
    """The way to the server: one user at a time, and a word when it was lost and made again.
    Whoever made the client closes it.
    """

    def __init__(self, client: RemoteShare, note: Callable[[str], None]) -> None:
        self._client = client
        self._note = note
        self._turn = asyncio.Lock()
        self._greeting = client.hello
        self._was_left = False  # by us, so that a new connection is nothing to speak of

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[RemoteShare]:
        """Give a client that is connected, to nobody else until the end of the `with`.

        Raises:
            CannotConnect: The connection was lost, and the server cannot be reached again.
        """
        async with self._turn:
            await self._client.open()
            self._note_new_connection()
            try:
                yield self._client
            except asyncio.CancelledError:
                # A transfer that is stopped takes its connection with it; the live view may have
                # made another one already.
                self._was_left = self._client.is_closed or self._client.hello is not self._greeting
                raise
            finally:
                if not self._client.is_closed:
                    self._note_new_connection()

    async def listing(self, folder: SafeName) -> AsyncGenerator[Sequence[Entry], None]:
        """Give the entries of a folder in batches. If the connection turns out to be dead, they are
        asked for on a new one.

        One that is left before its end (with aclose) costs the connection, without a word.
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
                    # That the server went away is often noticed only when it is asked something,
                    # long after.
                    if has_begun or client.hello is not hello:
                        raise
                except GeneratorExit:
                    self._was_left = True
                    raise
                await client.open()
                self._note_new_connection()
            raise Closed("the server ends every connection; try again later")

    def _note_new_connection(self) -> None:
        if self._client.hello is self._greeting:
            return
        self._greeting = self._client.hello
        if not self._was_left:
            self._note("the connection was lost; connected again")
        self._was_left = False


@dataclass
class ShellContext:
    """The state of one shell. `folder` is the current folder of the share, `local` that of this
    machine (absolute).
    """

    line: RemoteConnection
    console: Console
    local: Path
    folder: SafeName = ROOT
    live: LiveWatch | None = (
        None  # what shows changes while the prompt waits; none without a terminal
    )
    is_open: bool = True  # false when the shell is to be left
    stopped: str = (
        ""  # what is said of a command that Ctrl-C has stopped, if it has more to say than that
    )

    @contextlib.contextmanager
    def transfer(self, command: str) -> Iterator[ProgressBar]:
        """Show a bar for a transfer; if it is stopped, keep what is to be said of how far it was.

        Args:
            command: What goes on with it when it is typed again.
        """
        with self.console.progress() as bar:
            try:
                yield bar
            except asyncio.CancelledError:
                self.stopped = stopped_line(bar.latest, command)
                raise

    def remote(self, typed: str) -> SafeName:
        """Give the name in the share that typed text means, seen from the current folder.

        Raises:
            NameRefused: It leads above the top of the share, or no share can hold it.
        """
        return resolve(self.folder, typed)

    def here(self, typed: str) -> Path:
        """Give the local path that typed text means, seen from the current local folder."""
        return self.local / os.path.expanduser(typed)

    def relative(self, name: str) -> str:
        """Give a wire name as it is typed in the current folder."""
        prefix = f"{self.folder}/" if self.folder.parts else ""
        return name.removeprefix(prefix)


def resolve(folder: SafeName, typed: str) -> SafeName:
    """Follow typed text from a folder of the share: `..` goes up, a `/` at the beginning starts at
    the top. Pure.

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
            raise NameRefused.about(
                typed, "that is above the top of the share; cd / goes to the top"
            )
    return parse_path("/".join(parts))
