"""Large files from the server, one after the other, without a pause between them.

Each is requested while the one before it arrives, and published while the next one does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable

from ftransfer.client.paths import below
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.download import FileDownload
from ftransfer.client.trees.report import TreeItem
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import DigestMismatch, FtransferError
from ftransfer.names import SafeName, parse_name
from ftransfer.storage.base import Entry, Store, Writer
from ftransfer.transfer.pipeline import OverlappedStep

# Files that are requested ahead: the server opens the next one while the current one travels.
_REQUESTED_AHEAD = 2


class PipelinedDownloads:
    """Receives the large files of a tree, and reports each to the run."""

    def __init__(
        self,
        session: ClientSession,
        store: Store,
        remote: SafeName,
        run: TreeRun,
        *,
        keep_cancelled: bool,
    ) -> None:
        self._session = session
        self._store = store
        self._remote = remote
        self._run = run
        self._keep_cancelled = keep_cancelled
        self._requested: deque[tuple[str, FileDownload]] = deque()
        self._publishing = OverlappedStep()
        self._folder: SafeName | None = None  # the last folder that was made

    async def receive(self, entries: Iterable[Entry], begun: Container[str]) -> None:
        """Receive files.

        Args:
            begun: Local names that may have a partial.

        Raises:
            FtransferError: What ends the session. Failures of single files are reported.
        """
        waiting = iter(entries)
        try:
            while True:
                while len(self._requested) < _REQUESTED_AHEAD:
                    entry = next(waiting, None)
                    if entry is None:
                        break
                    await self._request(entry, is_begun=entry.name in begun)
                if not self._requested:
                    break
                await self._receive_next()
            await self._publishing.finish()
        finally:
            await self._publishing.settle()

    async def _request(self, entry: Entry, *, is_begun: bool) -> None:
        name = parse_name(entry.name)
        if name.parent != self._folder:
            self._folder = name.parent
            await self._store.make_folder(self._folder, parents=True)
        download = FileDownload(
            str(below(self._remote, entry.name)),
            self._store,
            name,
            keep_cancelled=self._keep_cancelled,
            begun=is_begun,
        )
        await download.request(self._session)
        self._requested.append((entry.name, download))

    async def _receive_next(self) -> None:
        shown, download = self._requested.popleft()
        try:
            writer = await download.receive(
                self._session,
                lambda done, _: self._run.within(shown, done),
                self._publishing.finish,
            )
        except FtransferError as error:
            if not self._session.is_in_step:
                raise  # the connection, or our own disk: the rest would fail as well
            if isinstance(error, DigestMismatch) and error.kept:
                # The partial did not match, and is gone: download again from the start
                await download.request(self._session)
                self._requested.append((shown, download))
            else:
                self._run.failed(shown, error)
        else:
            await self._publishing.start(publish(shown, download, writer, self._run))


async def publish(shown: str, download: FileDownload, writer: Writer, run: TreeRun) -> None:
    """Publish a received file, and report it."""
    try:
        receipt = await download.publish(writer)
    except FtransferError as error:
        run.failed(shown, error)
    else:
        run.item(TreeItem(shown, "copied", receipt.size, receipt.digest))
