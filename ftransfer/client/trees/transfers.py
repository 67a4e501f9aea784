"""Whole trees between a client and its server: preparation, comparison and retries."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable

from ftransfer.client.base import ClientBase
from ftransfer.client.paths import RemoteName, normalise_path, share_path
from ftransfer.client.retry import Report
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.download import expire_partials
from ftransfer.client.trees.compare import (
    Entries,
    compare_listings,
    compare_with_server,
    nothing,
    remote_entries,
)
from ftransfer.client.trees.count import count_local, count_remote, counted
from ftransfer.client.trees.destination import is_empty, until_whole
from ftransfer.client.trees.hidden_names import fetch_hidden_patterns
from ftransfer.client.trees.local_folder import LocalFolder, opened_folder
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.plan import Plan
from ftransfer.client.trees.pull import Planning, Pull
from ftransfer.client.trees.push import Push
from ftransfer.client.trees.report import OnItem, TreeReport
from ftransfer.client.trees.reported_changes import ReportedChanges, plan_reported
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import FtransferError, NameRefused, NotFound
from ftransfer.names import SafeName
from ftransfer.storage.base import FILE, Store
from ftransfer.storage.local import LocalStore
from ftransfer.transfer.records import ProgressCallback, described_from_wire
from ftransfer.transfer.selection import Wanted, everything, glob_selection, split_glob
from ftransfer.transfer.spool import Spool

_BATCH = 1024  # entries that are compared at once


class _TreeTransfer:
    """One copy of a tree, over as many attempts as the client's retries allow."""

    def __init__(
        self,
        client: ClientBase,
        options: TreeOptions | None,
        on_item: OnItem | None,
        progress: ProgressCallback | None,
    ) -> None:
        self._client = client
        self._options = options or TreeOptions()
        self._run = TreeRun(self._options, on_item, progress)

    async def _with_retries(
        self, name: str, attempt: Callable[[ClientSession], Awaitable[None]]
    ) -> TreeReport:
        began = time.monotonic()
        run = self._run

        async def steps(session: ClientSession, report: Report) -> None:
            moves = 0

            def moved() -> None:
                nonlocal moves
                moves += 1
                report(moves, None)

            report(0, None)
            run.attempt(moved)
            await attempt(session)

        await self._client.with_retries(name, steps, None)
        return run.report._replace(seconds=time.monotonic() - began)


class TreeDownload(_TreeTransfer):
    """A tree, or a part of one, from the server."""

    async def get_tree(self, path: RemoteName, dest: str | os.PathLike[str]) -> TreeReport:
        """See Client.get_tree."""
        run, options = self._run, self._options
        _refuse_empty(path, dest, options)
        remote = share_path(path)
        async with (
            opened_folder(
                normalise_path(dest),
                durable=self._client.durable,
                dry_run=options.dry_run,
                is_copy=True,
            ) as folder,
            until_whole(folder.store, remote, run, is_new=folder.was_missing) as is_ours,
        ):
            is_plain = (
                not (options.links or options.dry_run or options.checksum)
                and options.wanted is everything
            )
            is_fresh = is_plain and await is_empty(folder.store)

            async def attempt(session: ClientSession) -> None:
                nonlocal is_fresh
                hidden = await fetch_hidden_patterns(session) if options.delete else ()
                run.options = options.sparing(hidden, remote)
                if is_ours:
                    await _note_source(folder, session, remote)
                pull = self._pull(session, folder.store, remote)
                if is_fresh:
                    is_fresh = False  # the next attempt has something to compare with
                    await pull.run_fresh()
                else:
                    await pull.run(self._comparison(session, folder, remote))

            async with counted(run, lambda: count_remote(self._client.helper_session, remote, run)):
                report = await self._receive(str(remote), folder.store, attempt)
            folder.is_done = True
            return report

    def _comparison(
        self, session: ClientSession, folder: LocalFolder, remote: SafeName
    ) -> Planning:
        options = self._run.options

        async def planning(plan: Plan) -> None:
            if options.dry_run and folder.was_missing:
                source = remote_entries(session, remote, links=options.links)
                await compare_listings(plan, source, nothing(), self._options.rules)
            else:
                await compare_with_server(plan, session, folder.store, remote, options, pulls=True)

        return planning

    async def get_matching(self, pattern: str, dest: str | os.PathLike[str]) -> TreeReport:
        """See Client.get_matching."""
        options = self._options
        _refuse_empty(pattern, dest, options)
        where, rest = split_glob(pattern)
        remote, wanted = share_path(where), glob_selection(rest)
        recursive = "/" in rest or "**" in rest
        async with opened_folder(
            normalise_path(dest), durable=self._client.durable, dry_run=options.dry_run
        ) as folder:
            matching = Spool()
            is_missing = options.dry_run and folder.was_missing

            async def attempt(session: ClientSession) -> None:
                if not len(matching):
                    await _find_matching(matching, session, remote, wanted, recursive=recursive)
                if not len(matching):
                    raise NotFound.about(pattern, "no file of that pattern")
                there = nothing() if is_missing else _already_there(folder.store, matching)
                await self._pull(session, folder.store, remote).run(
                    lambda plan: compare_listings(plan, _given(matching), there, options.rules)
                )

            with contextlib.closing(matching):
                return await self._receive(pattern, folder.store, attempt)

    async def get_reported(
        self, store: Store, remote: SafeName, changes: ReportedChanges
    ) -> TreeReport:
        """Apply the reported changes to a store that mirrors a folder of the server."""

        async def attempt(session: ClientSession) -> None:
            await self._pull(session, store, remote).run(
                lambda plan: plan_reported(
                    plan, session, store, remote, changes, delete=self._options.delete
                )
            )

        return await self._receive(str(remote), store, attempt)

    def _pull(self, session: ClientSession, store: Store, remote: SafeName) -> Pull:
        return Pull(session, store, remote, self._run, keep_cancelled=self._client.keep_cancelled)

    async def _receive(
        self, name: str, store: Store, attempt: Callable[[ClientSession], Awaitable[None]]
    ) -> TreeReport:
        report = await self._with_retries(name, attempt)
        if not self._options.dry_run:
            await expire_partials(store)
        return report


class TreeUpload(_TreeTransfer):
    """A tree to the server."""

    async def put_tree(self, folder: str | os.PathLike[str], path: RemoteName) -> TreeReport:
        """See Client.put_tree."""
        run = self._run
        _refuse_empty(path, folder, self._options)
        remote = share_path(path)
        store = await LocalStore.open(folder, durable=self._client.durable)
        try:
            async with counted(run, lambda: count_local(store, run)):
                return await self._with_retries(
                    str(remote), lambda session: Push(session, store, remote, run).run()
                )
        finally:
            await store.close()


def _refuse_empty(path: RemoteName, local: str | os.PathLike[str], options: TreeOptions) -> None:
    """Refuse names that are empty by mistake, as they would mean a whole folder.

    Raises:
        NameRefused.
    """
    if not os.fspath(local):
        raise NameRefused("the local folder has no name; . is the current folder")
    if options.delete and not os.fspath(path):
        raise NameRefused("the path in the share is empty; / is the whole share")


async def _note_source(folder: LocalFolder, session: ClientSession, remote: SafeName) -> None:
    """Record the source's entry of the root; if that fails, the root keeps its new attributes."""
    values = await session.request_or_error("stat", str(remote) or "/", {})
    if not isinstance(values, FtransferError):
        folder.source = described_from_wire(values, remote)


async def _find_matching(
    matching: Spool, session: ClientSession, remote: SafeName, wanted: Wanted, *, recursive: bool
) -> None:
    async for entries in remote_entries(session, remote, links=False, recursive=recursive):
        for entry in entries:
            if entry.kind == FILE and wanted(entry.name, False):
                matching.add(entry)


async def _given(entries: Spool) -> Entries:
    for batch in entries.batches(_BATCH):
        yield batch


async def _already_there(store: Store, entries: Spool) -> Entries:
    """Yield the entries of the destination under the names of `entries`, and no others."""
    for batch in entries.batches(_BATCH):
        found = []
        for entry in batch:
            with contextlib.suppress(FtransferError):
                found.append(await store.stat(SafeName.trusted(entry.name)))
        yield found
