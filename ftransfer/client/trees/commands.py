"""Whole trees as commands of a client: where they begin and end on the local disk, and which way of
copying fits.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ftransfer.client.paths import RemoteName, normalise_path, share_path
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
from ftransfer.client.trees.pull import pull_fresh_tree, pull_tree
from ftransfer.client.trees.push import push_tree
from ftransfer.client.trees.reported_changes import Told, plan_told
from ftransfer.client.trees.run import OnItem, Plan, TreeOptions, TreeReport, TreeRun
from ftransfer.errors import FtransferError, NameRefused, NotAFolder, NotFound
from ftransfer.names import SafeName
from ftransfer.storage.base import FILE, Entry, Store
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.own_files import set_own_folder
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transfer.records import ProgressCallback, described_from_wire
from ftransfer.transfer.selection import everything, glob_selection, split_glob
from ftransfer.transfer.spool import Spool

if TYPE_CHECKING:
    from ftransfer.client.client import Client

_Attempt = Callable[[ClientSession], Awaitable[None]]
_BATCH = 1024  # entries that are compared in one go


async def get_tree(
    client: Client,
    path: RemoteName,
    dest: str | os.PathLike[str],
    options: TreeOptions | None,
    on_item: OnItem | None,
    progress: ProgressCallback | None,
) -> TreeReport:
    """See Client.get_tree."""
    options = options or TreeOptions()
    _refuse_empty(path, dest, options)
    remote = share_path(path)
    run = TreeRun(options, on_item, progress)
    async with (
        _destination(
            normalise_path(dest), durable=client.durable, dry_run=options.dry_run, is_copy=True
        ) as (
            store,
            was_missing,
            root,
        ),
        until_whole(store, remote, run, is_new=was_missing) as is_ours,
    ):
        is_plain = (
            not (options.links or options.dry_run or options.checksum)
            and options.wanted is everything
        )
        is_fresh = is_plain and await is_empty(store)

        async def attempt(session: ClientSession) -> None:
            nonlocal is_fresh
            hidden = await fetch_hidden_patterns(session) if options.delete else ()
            sparing = run.options = options.sparing(hidden, remote)
            if is_ours:
                about = await session.request_or_error("stat", str(remote) or "/", {})
                if not isinstance(about, FtransferError):  # else it is what a new folder is
                    root.about = described_from_wire(about, remote)
            if is_fresh:
                is_fresh = (
                    False  # if this attempt is cut, the next one has something to compare with
                )
                await pull_fresh_tree(
                    session, store, remote, run, keep_cancelled=client.keep_cancelled
                )
                return

            async def planning(plan: Plan) -> None:
                if options.dry_run and was_missing:
                    source = remote_entries(session, remote, links=options.links)
                    await compare_listings(plan, source, nothing(), options.rules)
                else:
                    await compare_with_server(plan, session, store, remote, sparing, pulls=True)

            await pull_tree(
                session, store, remote, run, planning, keep_cancelled=client.keep_cancelled
            )

        async with counted(run, lambda: count_remote(client, remote, run)):
            report = await _receive(client, str(remote), store, run, attempt)
        root.is_done = True
        return report


async def get_matching(
    client: Client,
    pattern: str,
    dest: str | os.PathLike[str],
    options: TreeOptions | None,
    on_item: OnItem | None,
    progress: ProgressCallback | None,
) -> TreeReport:
    """See Client.get_matching."""
    options = options or TreeOptions()
    _refuse_empty(pattern, dest, options)
    folder, rest = split_glob(pattern)
    remote = share_path(folder)
    wanted = glob_selection(rest)
    run = TreeRun(options, on_item, progress)
    async with _destination(
        normalise_path(dest), durable=client.durable, dry_run=options.dry_run
    ) as (store, was_missing, _):
        matching = Spool()

        async def attempt(session: ClientSession) -> None:
            if not len(matching):
                recursive = "/" in rest or "**" in rest
                async for entries in remote_entries(
                    session, remote, links=False, recursive=recursive
                ):
                    for entry in entries:
                        if entry.kind == FILE and wanted(entry.name, False):
                            matching.add(entry)
                if not len(matching):
                    raise NotFound.about(pattern, "no file of that pattern")
            there = (
                nothing() if options.dry_run and was_missing else _already_there(store, matching)
            )
            await pull_tree(
                session,
                store,
                remote,
                run,
                lambda plan: compare_listings(plan, _given(matching), there, options.rules),
                keep_cancelled=client.keep_cancelled,
            )

        with contextlib.closing(matching):
            return await _receive(client, pattern, store, run, attempt)


async def get_told(
    client: Client,
    store: Store,
    remote: SafeName,
    told: Told,
    options: TreeOptions,
    on_item: OnItem | None,
) -> TreeReport:
    """Do in a store, which is like a folder of the server, what is told to have been done there."""
    run = TreeRun(options, on_item, None)

    async def attempt(session: ClientSession) -> None:
        def planning(plan: Plan) -> Awaitable[None]:
            return plan_told(plan, session, store, remote, told, delete=options.delete)

        await pull_tree(session, store, remote, run, planning, keep_cancelled=client.keep_cancelled)

    return await _receive(client, str(remote), store, run, attempt)


async def put_tree(
    client: Client,
    folder: str | os.PathLike[str],
    path: RemoteName,
    options: TreeOptions | None,
    on_item: OnItem | None,
    progress: ProgressCallback | None,
) -> TreeReport:
    """See Client.put_tree."""
    options = options or TreeOptions()
    _refuse_empty(path, folder, options)
    remote = share_path(path)
    run = TreeRun(options, on_item, progress)
    store = await LocalStore.open(folder, durable=client.durable)
    try:
        async with counted(run, lambda: count_local(store, run)):
            return await _run(
                client, str(remote), run, lambda session: push_tree(session, store, remote, run)
            )
    finally:
        await store.close()


def _refuse_empty(path: RemoteName, local: str | os.PathLike[str], options: TreeOptions) -> None:
    """Refuse names that are empty by mistake, where they would stand for a whole folder that is
    written to or emptied.

    Raises:
        NameRefused.
    """
    if not os.fspath(local):
        raise NameRefused("the local folder has no name; . is the current folder")
    if options.delete and not os.fspath(path):
        raise NameRefused("the path in the share is empty; / is the whole share")


async def _receive(
    client: Client, name: str, store: Store, run: TreeRun, attempt: _Attempt
) -> TreeReport:
    report = await _run(client, name, run, attempt)
    if not run.options.dry_run:
        await expire_partials(store)
    return report


async def _run(client: Client, name: str, run: TreeRun, attempt: _Attempt) -> TreeReport:
    began = time.monotonic()
    await client.with_retries(
        name, lambda session, report: _attempt_once(session, report, run, attempt), None
    )
    return run.report._replace(seconds=time.monotonic() - began)


async def _attempt_once(
    session: ClientSession,
    report: Callable[[int, int | None], None],
    run: TreeRun,
    attempt: _Attempt,
) -> None:
    steps = 0

    def moved() -> None:
        nonlocal steps
        steps += 1
        report(steps, None)

    report(0, None)
    run.attempt(moved)
    await attempt(session)


@contextlib.asynccontextmanager
async def _destination(
    path: str, *, durable: bool, dry_run: bool, is_copy: bool = False
) -> AsyncIterator[tuple[Store, bool, _Root]]:
    """Have the folder open that a tree goes into, made if it was missing; and say whether it was.

    With `is_copy` one that is made is like that of the source: closed to others until it is known
    how that is, and set at the end.

    If the block fails and nothing has come, what was made goes again, so that the same command
    finds what it found this time. A dry run makes nothing: where the folder is missing, the nearest
    one above is opened in its place, and not looked into.
    """
    missing: list[str] = []
    root = _Root()

    def prepare() -> str:
        there = path
        while there and not os.path.exists(there):
            missing.append(there)
            there = os.path.dirname(there)
        if dry_run:
            return there or "."
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if missing:
            os.mkdir(path)
            if is_copy:
                root.usual_mode = os.stat(path).st_mode
                os.chmod(path, 0o700)  # there is nothing in it yet
        elif not os.path.isdir(path):
            raise FileExistsError
        return path

    try:
        folder = await run_job(io_pool(), prepare)
    except FileExistsError as error:
        raise NotAFolder.about(path, "is not a folder") from error
    except OSError as error:
        raise FtransferError.about(path, f"cannot be made: {error.strerror}") from error
    store = await LocalStore.open(folder, durable=durable)
    try:
        try:
            yield store, bool(missing), root
        finally:
            await store.close()
        if root.is_done and not dry_run:
            await run_job(io_pool(), lambda: root.set(folder))
    except BaseException:
        if not dry_run:
            await run_job(io_pool(), lambda: _remove_empty(missing))
        raise


class _Root:
    """The root of a tree that is received: what is known of it at the source, and whether all else
    is done.
    """

    def __init__(self) -> None:
        self.about: Entry | None = None
        self.usual_mode: int | None = None  # that of a folder that was made just now
        self.is_done = False

    def set(self, folder: str) -> None:
        """Give a folder of the command's making the mode and time of the source's. Where that is
        refused, it stays as it is.
        """
        with contextlib.suppress(OSError):
            if self.about is not None:
                set_own_folder(folder, mtime_ns=self.about.mtime_ns, mode=self.about.mode)
            elif self.usual_mode is not None:
                os.chmod(folder, self.usual_mode & 0o7777)


def _remove_empty(folders: Sequence[str]) -> None:
    """Remove folders, each in the next, up to the first that is not empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            os.rmdir(folder)


async def _given(entries: Spool) -> Entries:
    for batch in entries.batches(_BATCH):
        yield batch


async def _already_there(store: Store, entries: Spool) -> Entries:
    """Give what the destination has under the names of `entries`; the rest of it does not count."""
    for batch in entries.batches(_BATCH):
        found = []
        for entry in batch:
            with contextlib.suppress(FtransferError):
                found.append(await store.stat(SafeName.trusted(entry.name)))
        yield found
