"""A tree from the server into a local store: the mirror of push."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from ftransfer.client.paths import below
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.download import FileDownload
from ftransfer.client.trees.compare import compare_digests, compare_with_server, remote_entries
from ftransfer.client.trees.pipelined_downloads import PipelinedDownloads, publish
from ftransfer.client.trees.plan import Plan
from ftransfer.client.trees.preview import is_whole, report_plan, report_untouched
from ftransfer.client.trees.pull_packs import PackReceiver, pull_small
from ftransfer.client.trees.replacement import name_beside, staged_run
from ftransfer.client.trees.report import TreeItem
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import FtransferError, NotFound, SourceChanged
from ftransfer.names import SafeName, parse_name
from ftransfer.storage import small_files
from ftransfer.storage.base import FOLDER, LINK, Entry, SmallFile, Store
from ftransfer.transfer.spool import Spool
from ftransfer.transfer.subtree import StoreBelow

# How often to compare a source that others write to.
_COMPARISONS = 3
_BATCH = 256

# Compares the two trees, and fills the plan.
Planning = Callable[[Plan], Awaitable[None]]


class Pull:
    """One attempt to make a local tree like a folder of the server.

    On a new session, another attempt does the rest. Failures of single names are reported to
    `run`; what ends the whole copy (the connection, the local disk) is raised.
    """

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

    async def run(self, planning: Planning) -> None:
        """Compare, then carry out the plan.

        Raises:
            NotFound, NotAFolder: There is no such folder.
        """
        session, store, run = self._session, self._store, self._run
        with Plan() as plan:
            await _compare(planning, plan)
            await compare_digests(session, store, self._remote, plan, run)
            run.begin(plan)
            report_untouched(plan, run)
            if run.options.dry_run:
                await report_plan(plan, run, self._list, run.options)
                return
            await self._unlock(plan.unlocked)
            await pull_small(session, store, self._remote, plan.small, run)
            await self._pull_large(plan.large)
            for entry, count in plan.staged_with_counts():
                await self._replace(entry, count)
            await self._write_links(plan.links)
            for entry in plan.removed:
                await self._remove(entry)
            for entry in plan.set:
                await self._set_attributes(entry)
            await self._set_folders(plan.folders)

    async def run_fresh(self) -> None:
        """Fill an empty folder: the server sends everything, without a listing first."""
        session, run = self._session, self._run
        with Plan() as plan:
            run.find(plan)
            await session.send("mget", str(self._remote), {"recursive": True, "others": True})
            await session.channel.send(session.connection.send_finish())
            await PackReceiver(session, self._store, self._remote, run, plan).receive()
            run.found(plan)
            await self._pull_large(plan.large)
            await self._set_folders(plan.folders, deepest_first=True)

    async def _list(self, folder: SafeName, **how: bool) -> AsyncGenerator[Sequence[Entry], None]:
        source = SafeName(self._remote.parts + folder.parts)
        async for entries in remote_entries(self._session, source, links=how["links"]):
            yield [entry._replace(name=f"{folder}/{entry.name}") for entry in entries]

    async def _unlock(self, folders: Spool) -> None:
        """Add the owner's bits to folders that change inside; their mode is set at the end."""
        for entry in folders:
            # If that is refused, writing into the folder will fail with an error
            with contextlib.suppress(FtransferError):
                await self._store.set_attributes(parse_name(entry.name), mode=entry.mode | 0o700)

    async def _write_links(self, links: Spool) -> None:
        """Make links after all possible targets: one that leads outside is refused."""
        for batch in links.batches(_BATCH):
            files = [_link(entry, entry.name) for entry in batch]
            self._run.stored(files, await small_files.write_small(self._store, files))

    async def _pull_large(self, large: Spool) -> None:
        if large:
            begun = {partial.name for partial in await self._store.partials()}
            downloads = PipelinedDownloads(
                self._session,
                self._store,
                self._remote,
                self._run,
                keep_cancelled=self._keep_cancelled,
            )
            await downloads.receive(large, begun)

    async def _replace(self, entry: Entry, count: int) -> None:
        """Make a replacement beside the old one; move it into place when it is complete."""
        name, beside = parse_name(entry.name), name_beside(entry.name)
        with staged_run(self._run, entry.name) as staged:
            try:
                await self._make_beside(entry, beside, staged)
                if not staged.report.failed:
                    await self._store.rename(beside, name, over=True)
            except FtransferError as error:
                if not self._session.is_between_commands:
                    raise
                staged.failed("", error)
            if staged.report.failed:
                with contextlib.suppress(FtransferError):
                    await self._store.remove(beside, recursive=True)
                return
            if count:
                self._run.removed(entry, count)
            staged.report_done()

    async def _make_beside(self, entry: Entry, beside: SafeName, staged: TreeRun) -> None:
        """Receive a folder, link or file under a temporary name."""
        source = below(self._remote, entry.name)
        if entry.kind == FOLDER:
            await self._make_folder_beside(entry, source, beside, staged)
        elif entry.kind == LINK:
            (error,) = await small_files.write_small(self._store, [_link(entry, str(beside))])
            if error is not None:
                raise error
            staged.item(TreeItem("", "linked"))
        else:
            download = FileDownload(
                str(source), self._store, beside, keep_cancelled=self._keep_cancelled
            )
            await download.request(self._session)
            writer = await download.receive(self._session, lambda done, _: staged.within("", done))
            await publish("", download, writer, staged)

    async def _make_folder_beside(
        self, entry: Entry, source: SafeName, beside: SafeName, staged: TreeRun
    ) -> None:
        await self._store.make_folder(beside, parents=True)
        inside = StoreBelow(self._store, beside)

        async def planning(plan: Plan) -> None:
            await compare_with_server(
                plan, self._session, inside, source, staged.options, pulls=True
            )

        pull = Pull(self._session, inside, source, staged, keep_cancelled=self._keep_cancelled)
        await pull.run(planning)
        await self._store.set_attributes(beside, mtime_ns=entry.mtime_ns, mode=entry.mode)
        staged.item(TreeItem("", "made"))

    async def _remove(self, entry: Entry) -> None:
        try:
            count = await self._store.remove(
                parse_name(entry.name), recursive=is_whole(entry, self._run)
            )
        except NotFound:
            return  # another program was faster
        except FtransferError as error:
            self._run.failed(entry.name, error)
        else:
            self._run.removed(entry, count)

    async def _set_attributes(self, entry: Entry) -> None:
        """Set mode and time of a file whose content is right."""
        try:
            await self._store.set_attributes(
                parse_name(entry.name), mtime_ns=entry.mtime_ns, mode=entry.mode
            )
        except FtransferError as error:
            self._run.failed(entry.name, error)
        else:
            self._run.item(TreeItem(entry.name, "updated"))

    async def _set_folders(self, folders: Spool, *, deepest_first: bool = False) -> None:
        batches = list(folders.batches(_BATCH))
        for batch in reversed(batches) if deepest_first else batches:
            ordered = list(reversed(batch)) if deepest_first else batch
            files = [SmallFile(entry.name, FOLDER, entry.mtime_ns, entry.mode) for entry in ordered]
            self._run.stored(files, await small_files.write_small(self._store, files))


def _link(entry: Entry, name: str) -> SmallFile:
    return SmallFile(name, LINK, entry.mtime_ns, entry.mode, target=entry.target)


async def _compare(planning: Planning, plan: Plan) -> None:
    """Compare, and again if the source shrank meanwhile: an incomplete listing removes nothing."""
    for tries_left in reversed(range(_COMPARISONS)):
        try:
            return await planning(plan)
        except SourceChanged:
            if not tries_left:
                raise
            plan.clear()
    return None
