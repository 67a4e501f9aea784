"""Large files to the server, one after the other, without a pause between them.

Each is sent before the receipt of the one before it has arrived, so the server publishes a file
while the next one fills its socket. The caller sends and a task receives the answers, which arrive
in order. Files with a partial and very large files are sent separately, since the server has to
send the offset to resume from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable

from ftransfer.client.paths import below
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.put_exchange import receipt_of_upload, send_abort
from ftransfer.client.transfers.upload import (
    AT_ONCE_BYTES,
    FileUpload,
    description_of,
    source_changed,
    source_of,
)
from ftransfer.client.trees.report import TreeItem
from ftransfer.client.trees.run import TreeRun
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

# Up to this size a file is sent ahead. For a larger one, waiting for the server's offset is short
# compared with sending its bytes; and if a server keeps no partial of a file sent without waiting,
# no more than this is sent twice.
_AHEAD_BYTES = 64 << 20


class _PipelinedPut:
    """A file that is being sent, or waits for its answer."""

    def __init__(self, shown: str, name: str, size: int) -> None:
        self.shown = shown
        self.name = name
        self.size = size
        self.digest: Digest = ""
        self.failure: FtransferError | None = None  # our own error, which is sent to the server
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
        self._unanswered: asyncio.Queue[_PipelinedPut] = (
            asyncio.Queue()
        )  # bounded by the socket buffers
        self._last: _PipelinedPut | None = None

    async def send(self, entries: Iterable[Entry], begun: Container[str]) -> None:
        """Send files.

        Args:
            begun: Names on the server that may have a partial.

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
                await receiving  # the server's last error explains it better than the broken pipe
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
                await self._put_ahead(_PipelinedPut(entry.name, name, reader.entry.size), reader)
            else:
                await self._all_answered(receiving)
                await self._put_alone(entry.name, name, reader)
        finally:
            await reader.close()
        if receiving.done():
            await receiving

    async def _put_alone(self, shown: str, name: str, reader: Reader) -> None:
        try:
            upload = FileUpload(reader, name, source_of(shown, reader))
            receipt = await upload.run(self._session, lambda done, _: self._run.within(shown, done))
        except FtransferError as error:
            if not self._session.is_between_commands:
                raise
            self._run.failed(shown, error)
        else:
            self._run.item(TreeItem(shown, "copied", receipt.size, receipt.digest))

    async def _put_ahead(self, put: _PipelinedPut, reader: Reader) -> None:
        channel, connection = self._session.channel, self._session.connection
        options = description_of(reader)
        # The server should keep what has arrived, in case the connection breaks
        if put.size > AT_ONCE_BYTES:
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
        else:  # the server waits for the end, or an abort
            await send_abort(self._session, put.failure or Aborted("the server has refused it"))

    async def _send_content(self, put: _PipelinedPut, reader: Reader) -> None:
        """Send the bytes and set their digest, or a failure; stop if the server answers early."""
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
            put.failure = source_changed(put.name)
        finally:
            await digest.close()

    async def _receive(self) -> None:
        """Receive the answers, until cancelled."""
        while True:
            put = await self._unanswered.get()
            answer = await self._session.result_or_error()
            put.answered.set()
            if isinstance(answer, FtransferError):
                self._run.failed(put.shown, put.failure or answer)
            else:
                receipt = receipt_of_upload(put.name, answer, put.size, put.digest)
                self._run.item(TreeItem(put.shown, "copied", receipt.size, receipt.digest))

    async def _all_answered(self, receiving: asyncio.Task[None]) -> None:
        """Wait until all files sent ahead are answered. Raise the error of the receiving task."""
        if self._last is None:
            return
        waiting = asyncio.create_task(self._last.answered.wait())
        try:
            await asyncio.wait([waiting, receiving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stop_task(waiting)
        if receiving.done():
            await receiving
