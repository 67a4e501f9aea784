"""Files that are put one after the other, each sent before the receipt of the one before it has
come.

So the server publishes a file while the next one fills its socket, and no round trip is waited for.
The caller sends, a task takes the answers in; they come in order. What an earlier attempt has
begun, and what is very large, is put by itself (client.transfers.upload), since the server is to
say where to go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable
from typing import Any

from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.upload import (
    AT_ONCE_BYTES,
    changed,
    give_up,
    receipt_of,
    source_of,
    upload,
)
from ftransfer.client.trees.run import TreeItem, TreeRun, below
from ftransfer.digest import Digest
from ftransfer.errors import (
    Aborted,
    ChannelError,
    FtransferError,
    LineTooLong,
    ShareError,
    SourceChanged,
)
from ftransfer.names import SafeName, parse_name
from ftransfer.protocol.commands import Command
from ftransfer.protocol.replies import End
from ftransfer.storage.base import Entry, Reader, Store
from ftransfer.system.threads import stop_task
from ftransfer.transfer.pump import send_content
from ftransfer.transfer.running_digest import RunningDigest, confirm

# Up to this size a file is sent ahead. For a larger one the wait for the server's word is little
# beside that for its bytes; and a server that does not keep what was sent without waiting makes us
# send so much twice, not more.
_AHEAD_BYTES = 64 << 20


class _Put:
    """A file that is being sent, or has been and waits for its answer."""

    def __init__(self, shown: str, name: str, size: int) -> None:
        self.shown = shown
        self.name = name
        self.size = size
        self.digest: Digest = ""
        self.failure: FtransferError | None = None  # our own, of which the server is told
        self.answered = asyncio.Event()


class PipelinedUploads:
    """Sends the large files of a tree, and reports each to the run."""

    def __init__(
        self, session: ClientSession, store: Store, remote: SafeName, run: TreeRun
    ) -> None:
        self._session = session
        self._store = store
        self._remote = remote
        self._run = run
        self._unanswered: asyncio.Queue[_Put] = asyncio.Queue()  # bounded by what sockets buffer
        self._last: _Put | None = None

    async def send(self, entries: Iterable[Entry], begun: Container[str]) -> None:
        """Put files.

        Args:
            begun: Names on the server of which it may have a part.

        Raises:
            FtransferError: What ends the session. Failures of single files are reported.
        """
        receiving = asyncio.create_task(self._receive())
        try:
            async with self._session.channel.heartbeats():
                for entry in entries:
                    await self._put(entry, begun, receiving)
                await self._all_answered(receiving)
        except ChannelError:
            if receiving.done():
                await receiving  # what the server said last explains it better than the broken pipe
            raise
        finally:
            await stop_task(receiving)

    async def _put(
        self, entry: Entry, begun: Container[str], receiving: asyncio.Task[None]
    ) -> None:
        name = str(below(self._remote, entry.name))
        try:
            reader = await self._store.open_read(parse_name(entry.name))
        except FtransferError as error:
            self._run.failed(entry.name, error)
            return
        try:
            if reader.entry.size <= _AHEAD_BYTES and name not in begun:
                await self._put_ahead(_Put(entry.name, name, reader.entry.size), reader)
            else:
                await self._all_answered(receiving)
                await self._put_alone(entry.name, name, reader)
        finally:
            await reader.close()
        if receiving.done():
            await receiving

    async def _put_alone(self, shown: str, name: str, reader: Reader) -> None:
        try:
            source = source_of(shown, reader)
            receipt = await upload(
                self._session,
                reader,
                name,
                source,
                {},
                lambda done, _: self._run.within(shown, done),
            )
        except FtransferError as error:
            if not self._session.is_between_commands:
                raise
            self._run.failed(shown, error)
        else:
            self._run.item(TreeItem(shown, "copied", receipt.size, receipt.digest))

    async def _put_ahead(self, put: _Put, reader: Reader) -> None:
        channel, connection, about = self._session.channel, self._session.connection, reader.entry
        options: dict[str, Any] = {
            "size": about.size,
            "mtime_ns": about.mtime_ns,
            "mode": about.mode,
        }
        # The server is to keep what has come, should the connection be cut
        if about.size > AT_ONCE_BYTES:
            options["source"] = source_of(put.shown, reader)
        try:
            line = connection.send_command(Command("put", put.name, options))
        except LineTooLong as error:
            self._run.failed(put.shown, error)
            return
        self._last = put
        self._unanswered.put_nowait(put)
        await channel.send(line)
        await self._send_content(put, reader)
        if put.failure is None and not put.answered.is_set():
            await channel.send(connection.send_end(End(put.size, put.digest)))
        else:  # the server waits for our word that nothing more comes
            await give_up(self._session, put.failure or Aborted("the server has refused it"))

    async def _send_content(self, put: _Put, reader: Reader) -> None:
        """Send the bytes and note their digest, or why there is none; stop when the server has
        answered early.
        """
        position = 0

        def moved(count: int) -> None:
            nonlocal position
            position += count
            self._run.within(put.shown, position)

        digest = RunningDigest(reader)
        try:
            await send_content(
                self._session.channel,
                reader,
                0,
                put.size,
                digest,
                moved,
                lambda: not put.answered.is_set(),
            )
            if not put.answered.is_set():
                put.digest = await digest.finish(put.size)
                await confirm(reader, 0, put.size, put.digest)
        except ShareError as error:
            put.failure = error
        except SourceChanged:
            put.failure = changed(put.name)
        finally:
            await digest.close()

    async def _receive(self) -> None:
        """Take the answers in, until cancelled."""
        while True:
            put = await self._unanswered.get()
            answer = await self._session.result_or_error()
            put.answered.set()
            if isinstance(answer, FtransferError):
                self._run.failed(put.shown, put.failure or answer)
            else:
                receipt = receipt_of(put.name, answer, put.size, put.digest)
                self._run.item(TreeItem(put.shown, "copied", receipt.size, receipt.digest))

    async def _all_answered(self, receiving: asyncio.Task[None]) -> None:
        """Wait until nothing that was sent ahead is without an answer. Raises what ended the task
        that takes them in.
        """
        if self._last is None:
            return
        waiting = asyncio.create_task(self._last.answered.wait())
        try:
            await asyncio.wait([waiting, receiving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stop_task(waiting)
        if receiving.done():
            await receiving
