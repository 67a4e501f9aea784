"""A tree from a local store to the server: the mirror of pull."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from ftransfer.client.files import fetch_partials
from ftransfer.client.paths import below
from ftransfer.client.request_window import Request, request_many
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.upload import FileUpload, source_of
from ftransfer.client.trees.compare import compare_digests, compare_ranges, fetch_differences
from ftransfer.client.trees.pipelined_uploads import PipelinedUploads
from ftransfer.client.trees.plan import Plan
from ftransfer.client.trees.preview import is_whole, report_plan, report_untouched
from ftransfer.client.trees.push_packs import PackSender, folders_of, links_of, one_group
from ftransfer.client.trees.replacement import name_beside, staged_run
from ftransfer.client.trees.report import TreeItem
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import FtransferError, NotFound
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.protocol.replies import take_count
from ftransfer.storage.base import FOLDER, LINK, Entry, SmallFile, Store
from ftransfer.transfer.packs import MAX_PACKED_BYTES
from ftransfer.transfer.spool import Spool
from ftransfer.transfer.subtree import StoreBelow

# The most that one item takes in the index of a pack: a long name, each byte written as six
_INDEX_BYTES = 32 * 1024


class Push:
    """One attempt to make a folder of the server like a local tree.

    On a new session, another attempt does the rest. Failures of single names are reported to
    `run`; what ends the whole copy (the connection, a share that takes nothing) is raised.
    """

    def __init__(
        self, session: ClientSession, store: Store, remote: SafeName, run: TreeRun
    ) -> None:
        self._session = session
        self._store = store
        self._remote = remote
        self._run = run

    async def run(self) -> None:
        """Compare, then carry out the plan."""
        session, store, remote, run = self._session, self._store, self._remote, self._run
        options = run.options
        cap = session.channel.limits.max_chunk_bytes - _INDEX_BYTES
        with Plan(min(MAX_PACKED_BYTES, cap)) as plan:
            differences = await fetch_differences(session, store, remote, options, pulls=False)
            if not (differences.told or options.links or options.dry_run):
                await self._run_fresh(plan)
                return
            await compare_ranges(plan, differences, session, store, remote, options, pulls=False)
            await compare_digests(session, store, remote, plan, run)
            run.begin(plan)
            report_untouched(plan, run)
            if options.dry_run:
                await report_plan(plan, run, store.scan, options)
                return
            await self._unlock(plan.unlocked)
            await self._make_root()
            await self._make_parents(plan.large)
            await self._push_small(plan.small)
            await self._push_large(plan.large)
            for entry, count in plan.staged_with_counts():
                await self._replace(entry, count)
            await self._write_links(plan.links)
            await self._remove(plan.removed)
            await self._set_attributes(plan.set)
            await self._set_folders(plan)
            await self._set_root()

    async def _run_fresh(self, plan: Plan) -> None:
        """Send everything, where the server has nothing.

        Each folder is walked and read in one pass, with no listing first.
        """
        self._run.find(plan)
        await self._make_root()
        sender = PackSender(self._session, self._store, self._remote, self._run)
        await sender.send(sender.everything(plan))
        self._run.found(plan)
        if plan.large:
            await self._make_parents(plan.large)
            await self._push_large(plan.large)
            await self._set_folders(plan, deepest_first=True)
        await self._set_root()

    async def _unlock(self, folders: Spool) -> None:
        """Add the owner's bits to folders that change inside; their mode is set at the end."""
        commands: Iterator[Request] = (
            ("setstat", str(below(self._remote, entry.name)), {"mode": entry.mode | 0o700})
            for entry in folders
        )
        async for _ in request_many(self._session, commands):
            pass  # if that is refused, putting files there will fail with an error

    async def _make_root(self) -> None:
        """Make the root of the tree. Folders for small files are made with the files."""
        session, remote = self._session, self._remote
        if remote.is_root:
            return
        above = [] if remote.parent.is_root else [("mkdir", str(remote.parent), {"parents": True})]
        # The second fails if the folder exists; the third then fails if it is not a folder.
        commands = [*above, ("mkdir", str(remote), {}), ("mkdir", str(remote), {"parents": True})]
        answers = [answer async for answer in request_many(session, commands)]
        for answer in (*answers[:-2], answers[-1]):
            if isinstance(answer, FtransferError):
                raise answer
        if not isinstance(answers[-2], FtransferError):
            self._run.sets_root = True
            mode = (await self._store.stat(ROOT)).mode
            # Before there is anything to see in it
            await session.request_or_error("setstat", str(remote), {"mode": mode})

    async def _make_parents(self, large: Spool) -> None:
        """Make the folders for large files."""
        commands: Iterator[Request] = (
            ("mkdir", str(SafeName(self._remote.parts + parent.parts)), {"parents": True})
            for parent in _parents(large)
        )
        async for answer in request_many(self._session, commands):
            if isinstance(answer, FtransferError):
                raise answer

    async def _write_links(self, links: Spool) -> None:
        """Make links after all possible targets: one that leads outside is refused."""
        if links:
            sender = PackSender(self._session, self._store, self._remote, self._run)
            await sender.send(links_of(links))

    async def _push_small(self, small: Spool) -> None:
        if small:
            sender = PackSender(self._session, self._store, self._remote, self._run)
            await sender.send(sender.contents(small))

    async def _push_large(self, large: Spool) -> None:
        if large:
            partials = await fetch_partials(self._session, str(self._remote))
            uploads = PipelinedUploads(self._session, self._store, self._remote, self._run)
            await uploads.send(large, {partial.name for partial in partials})

    async def _replace(self, entry: Entry, count: int) -> None:
        """Make a replacement beside the old one; move it into place when it is complete."""
        session = self._session
        name, beside = (
            below(self._remote, entry.name),
            below(self._remote, str(name_beside(entry.name))),
        )
        with staged_run(self._run, entry.name) as staged:
            try:
                await self._make_beside(entry, beside, staged)
                if not staged.report.failed:
                    await session.request("mv", str(beside), {"to": str(name), "over": True})
            except FtransferError as error:
                if not session.is_between_commands:
                    raise
                staged.failed("", error)
            if staged.report.failed:
                await session.request_or_error("rm", str(beside), {"recursive": True})
                return
            if count:
                self._run.removed(entry, count)
            staged.report_done()

    async def _make_beside(self, entry: Entry, beside: SafeName, staged: TreeRun) -> None:
        """Send a folder, link or file under a temporary name."""
        session, name = self._session, parse_name(entry.name)
        if entry.kind == FOLDER:
            await Push(session, StoreBelow(self._store, name), beside, staged).run()
            staged.item(TreeItem("", "made"))
        elif entry.kind == LINK:
            link = SmallFile(beside.last, LINK, entry.mtime_ns, entry.mode, target=entry.target)
            sender = PackSender(
                session, self._store, beside.parent, staged, renamed={beside.last: ""}
            )
            await sender.send(one_group([link]))
        else:
            reader = await self._store.open_read(name)
            try:
                upload = FileUpload(reader, str(beside), source_of(entry.name, reader))
                receipt = await upload.run(session, lambda done, _: staged.within("", done))
            finally:
                await reader.close()
            staged.item(TreeItem("", "copied", receipt.size, receipt.digest))

    async def _remove(self, removed: Spool) -> None:
        def options(entry: Entry) -> dict[str, Any]:
            return {"recursive": True} if is_whole(entry, self._run) else {}

        commands: Iterator[Request] = (
            ("rm", str(below(self._remote, entry.name)), options(entry)) for entry in removed
        )
        async with contextlib.aclosing(request_many(self._session, commands)) as answers:
            for entry in removed:
                answer = await anext(answers)
                if isinstance(answer, NotFound):
                    continue  # another client was faster
                if isinstance(answer, FtransferError):
                    self._run.failed(entry.name, answer)
                else:
                    self._run.removed(entry, take_count(answer, "removed", 1))

    async def _set_attributes(self, files: Spool) -> None:
        """Set mode and time of files whose content is right."""
        commands: Iterator[Request] = (
            (
                "setstat",
                str(below(self._remote, entry.name)),
                {"mtime_ns": entry.mtime_ns, "mode": entry.mode},
            )
            for entry in files
        )
        async with contextlib.aclosing(request_many(self._session, commands)) as answers:
            for entry in files:
                answer = await anext(answers)
                if isinstance(answer, FtransferError):
                    self._run.failed(entry.name, answer)
                else:
                    self._run.item(TreeItem(entry.name, "updated"))

    async def _set_folders(self, plan: Plan, *, deepest_first: bool = False) -> None:
        if plan.folders:
            sender = PackSender(self._session, self._store, self._remote, self._run)
            await sender.send(folders_of(plan, deepest_first=deepest_first))

    async def _set_root(self) -> None:
        """Set mode and time of the root of the tree, if this command has made it."""
        if self._run.sets_root and not self._remote.is_root:
            about = await self._store.stat(ROOT)
            await self._session.request_or_error(
                "setstat", str(self._remote), {"mtime_ns": about.mtime_ns, "mode": about.mode}
            )


def _parents(large: Iterable[Entry]) -> Iterator[SafeName]:
    """Yield the folders of large files, each once in a row."""
    last: SafeName | None = None
    for entry in large:
        parent = parse_name(entry.name).parent
        if parent != last and not parent.is_root:
            yield parent
        last = parent
