"""A tree from the server into a local store."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from ftransfer.client.session import ClientSession, require_count
from ftransfer.client.transfers.download import Download
from ftransfer.client.trees.compare import compare_digests, compare_with_server, remote_entries
from ftransfer.client.trees.run import (
    ListSource,
    Plan,
    TreeItem,
    TreeRun,
    below,
    is_whole,
    left_out_item,
    name_beside,
    relative_entry,
    run_below,
    tell_plan,
    tell_untouched,
)
from ftransfer.errors import (
    DigestMismatch,
    FtransferError,
    NameRefused,
    NotFound,
    RemoteProtocolError,
    SourceChanged,
)
from ftransfer.names import NameReader, SafeName, escape, parse_name
from ftransfer.protocol.connection import Payload
from ftransfer.protocol.replies import Outcomes, Reply
from ftransfer.storage import small_files
from ftransfer.storage.base import FILE, FOLDER, LINK, OTHER, Entry, SmallFile, Store, Writer
from ftransfer.transfer.below import StoreBelow
from ftransfer.transfer.packs import MAX_ITEMS, in_frames, refusal_from_wire, unpack
from ftransfer.transfer.pipeline import OverlappedStep
from ftransfer.transfer.records import entry_from_wire
from ftransfer.transfer.spool import Spool

# Names that have been asked for and not answered. Enough for a long path, and a bound for the
# memory that they take.
_WINDOW = 8192
# Large files that are asked for at once: the server opens the next one while the present one
# travels.
_ASKED_AHEAD = 2
# A source that others write to is compared so often.
_COMPARISONS = 3


async def pull_tree(
    session: ClientSession,
    store: Store,
    remote: SafeName,
    run: TreeRun,
    planning: Callable[[Plan], Awaitable[None]],
    *,
    keep_cancelled: bool,
) -> None:
    """Make a local tree like the one below a folder of the server; on a new session it does what is
    left.

    Args:
        planning: Compares the two, and notes in a plan what is to be done (client.comparing).

    Raises:
        NotFound, NotAFolder: There is no such folder.
        FtransferError: What ends the whole: the connection, the local disk. Failures of single
            names are reported to `run`.
    """
    options = run.options
    with Plan() as plan:
        await _settle(planning, plan)
        await compare_digests(session, store, remote, plan, run)
        run.begin(plan)
        tell_untouched(plan, run)
        if options.dry_run:
            await tell_plan(plan, run, _lister(session, remote), options)
            return
        for entry in plan.unlocked:
            # Where that is refused, what is written there will say so
            with contextlib.suppress(FtransferError):
                await store.set_attributes(parse_name(entry.name), mode=entry.mode | 0o700)
        await _write_links(store, plan.links, run)
        await _pull_small(session, store, remote, plan.small, run)
        await _pull_large(session, store, remote, plan.large, run, keep_cancelled=keep_cancelled)
        for entry, count in plan.staged_with_counts():
            await _pull_over(
                session, store, remote, entry, count, run, keep_cancelled=keep_cancelled
            )
        for entry in plan.removed:
            await _remove(store, entry, run)
        for entry in plan.set:
            await _set_attributes(store, entry, run)
        await _set_folders(store, plan.folders, run)


def _lister(session: ClientSession, remote: SafeName) -> ListSource:
    async def listed(folder: SafeName, **how: bool) -> AsyncGenerator[Sequence[Entry], None]:
        async for entries in remote_entries(
            session, SafeName(remote.parts + folder.parts), links=how["links"]
        ):
            yield [entry._replace(name=f"{folder}/{entry.name}") for entry in entries]

    return listed


async def _pull_over(
    session: ClientSession,
    store: Store,
    remote: SafeName,
    entry: Entry,
    count: int,
    run: TreeRun,
    *,
    keep_cancelled: bool,
) -> None:
    """Make something beside what has its name; only when that is complete, it takes the place."""
    name, beside = parse_name(entry.name), name_beside(entry.name)
    with run_below(run, entry.name) as staged:
        try:
            if entry.kind == FOLDER:
                await _pull_beside(
                    session,
                    store,
                    below(remote, entry.name),
                    beside,
                    entry,
                    staged,
                    keep_cancelled=keep_cancelled,
                )
            elif entry.kind == LINK:
                (error,) = await small_files.write_small(
                    store,
                    [SmallFile(str(beside), LINK, entry.mtime_ns, entry.mode, target=entry.target)],
                )
                if error is not None:
                    raise error
                staged.item(TreeItem("", "linked"))
            else:
                coming = Download(
                    session,
                    str(below(remote, entry.name)),
                    store,
                    beside,
                    keep_cancelled=keep_cancelled,
                )
                await coming.request()
                writer = await coming.receive(lambda done, _: staged.within("", done), _nothing)
                await _publish("", coming, writer, staged)
            if not staged.report.failed:
                await store.rename(beside, name, over=True)
        except FtransferError as error:
            if not session.is_between_commands:
                raise
            staged.failed("", error)
        if staged.report.failed:
            with contextlib.suppress(FtransferError):
                await store.remove(beside, recursive=True)
            return
        if count:
            run.removed(entry, count)
        staged.tell()


async def _pull_beside(
    session: ClientSession,
    store: Store,
    source: SafeName,
    beside: SafeName,
    entry: Entry,
    run: TreeRun,
    *,
    keep_cancelled: bool,
) -> None:
    """Receive a folder under another name than its own."""
    await store.make_folder(beside, parents=True)
    inside = StoreBelow(store, beside)

    async def planning(plan: Plan) -> None:
        await compare_with_server(plan, session, inside, source, run.options, pulls=True)

    await pull_tree(session, inside, source, run, planning, keep_cancelled=keep_cancelled)
    await store.set_attributes(beside, mtime_ns=entry.mtime_ns, mode=entry.mode)
    run.item(TreeItem("", "made"))


async def _nothing() -> None:
    """Have nothing to finish."""


async def _settle(planning: Callable[[Plan], Awaitable[None]], plan: Plan) -> None:
    """Compare, and again if the source has lost something meanwhile: what was listed in part must
    remove nothing.
    """
    for tries_left in reversed(range(_COMPARISONS)):
        try:
            return await planning(plan)
        except SourceChanged:
            if not tries_left:
                raise
            plan.clear()
    return None


async def pull_fresh_tree(
    session: ClientSession, store: Store, remote: SafeName, run: TreeRun, *, keep_cancelled: bool
) -> None:
    """As pull_tree, into an empty folder: the server sends all that there is, without a listing
    first.
    """
    with Plan() as plan:
        run.find(plan)
        await session.send("mget", str(remote), {"recursive": True, "others": True})
        await session.channel.send(session.connection.send_finish())
        intake = _Intake(session, store, remote, run, plan)
        await intake.receive()
        run.found(plan)
        await _pull_large(session, store, remote, plan.large, run, keep_cancelled=keep_cancelled)
        await _set_folders(store, plan.folders, run, deepest_first=True)


async def _set_attributes(store: Store, entry: Entry, run: TreeRun) -> None:
    """Set mode and time of a file whose content is right."""
    try:
        await store.set_attributes(parse_name(entry.name), mtime_ns=entry.mtime_ns, mode=entry.mode)
    except FtransferError as error:
        run.failed(entry.name, error)
    else:
        run.item(TreeItem(entry.name, "updated"))


async def _write_links(store: Store, links: Spool, run: TreeRun) -> None:
    for batch in links.batches(256):
        files = [
            SmallFile(entry.name, LINK, entry.mtime_ns, entry.mode, target=entry.target)
            for entry in batch
        ]
        run.stored(files, await small_files.write_small(store, files))


async def _pull_small(
    session: ClientSession, store: Store, remote: SafeName, small: Spool, run: TreeRun
) -> None:
    if not small:
        return
    await session.send("mget")
    intake = _Intake(session, store, remote, run, None)
    asking = asyncio.create_task(intake.request(small))
    try:
        await intake.receive()
        await asking
    finally:
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            asking.exception()


class _Intake:
    """The receiving side of an mget.

    A server is not trusted to send only what was asked for: each name must be one that is waited
    for; or, where the whole folder was asked for (`plan`), lie below it.
    """

    def __init__(
        self,
        session: ClientSession,
        store: Store,
        remote: SafeName,
        run: TreeRun,
        plan: Plan | None,
    ) -> None:
        self._session = session
        self._store = store
        self._remote = remote
        self._run = run
        self._plan = plan
        self._awaited: set[str] = set()
        self._answered = asyncio.Event()
        self._prefix = "" if remote.is_root else f"{remote}/"
        self._names = NameReader()
        self._folder: SafeName | None = None  # of the last name, if that lies below `remote`
        # What has come, to be compared with the reply.
        self._sent = self._failed = self._bytes = 0

    async def request(self, small: Spool) -> None:
        """Send the names, never so far ahead that more than _WINDOW are unanswered."""
        channel, connection = self._session.channel, self._session.connection
        for batch in small.batches(MAX_ITEMS):
            while len(self._awaited) >= _WINDOW:
                self._answered.clear()
                await self._answered.wait()
            self._awaited.update(entry.name for entry in batch)
            for frame in in_frames(
                [self._prefix + entry.name for entry in batch], connection.send_list
            ):
                await channel.send(frame)
        await channel.send(connection.send_finish())

    async def receive(self) -> None:
        """Store what comes until the reply.

        Raises:
            RemoteProtocolError: The reply announces something else than came, or files that were
                asked for did not come.
        """
        channel = self._session.channel
        while True:
            event = await self._session.next_event()
            match event:
                case Payload():
                    # While a pack is stored the next one gathers in the socket's buffer: two
                    # threads would only take turns.
                    files, _ = unpack(await channel.payload.whole(), channel.limits, self._relative)
                    self._sent += len(files)
                    self._bytes += sum(len(file.data) for file in files)
                    await self._store_files(files)
                case Outcomes(items=items):
                    self._take_outcomes(items)
                case Reply(values=values):
                    if self._awaited:
                        raise RemoteProtocolError(
                            f"the server left out {len(self._awaited)} of the files asked for"
                        )
                    for key, came in (
                        ("sent", self._sent),
                        ("failed", self._failed),
                        ("bytes", self._bytes),
                    ):
                        require_count(values, key, came)
                    return
                case _:
                    raise self._session.unexpected(event)
            self._answered.set()

    def _relative(self, names: Sequence[str]) -> list[str]:
        """Check names that the server says, and give them relative to the root of the tree."""
        if self._plan is None:
            for name in names:
                if (
                    not name.startswith(self._prefix)
                    or name[len(self._prefix) :] not in self._awaited
                ):
                    raise _not_asked_for(name)
                self._awaited.remove(name[len(self._prefix) :])
        else:
            for name, found in zip(names, self._names.split_all(names), strict=True):
                if isinstance(found, NameRefused):
                    raise found
                # The folder is the same object for all names that it holds; so this looks at it
                # once.
                if found[0] is not self._folder:
                    if not found[0].is_within(self._remote):
                        raise _not_asked_for(name)
                    self._folder = found[0]
        return [name[len(self._prefix) :] for name in names]

    async def _store_files(self, files: list[SmallFile]) -> None:
        others = [file for file in files if file.kind != FILE]
        for file in others:
            # Links are made from listings, and folders only come where no files were named.
            if file.kind == LINK:
                raise _not_asked_for(file.name)
            if self._plan is None:
                message = "has become a folder meanwhile; run the command again"
                self._run.failed(file.name, SourceChanged.about(file.name, message))
                continue
            # Folders get their mode and mtime at the end, when nothing is put into them any more.
            self._plan.folders.add(Entry(file.name, FOLDER, 0, file.mtime_ns, file.mode))
        if others:
            files = [file for file in files if file.kind == FILE]
        if files:
            self._run.stored(files, await small_files.write_small(self._store, files))

    def _take_outcomes(self, items: list[Any]) -> None:
        for item in items:
            if self._plan is not None and isinstance(item, dict) and "other" in item:
                entry = entry_from_wire({**item, "kind": OTHER, "why": item["other"]}, self._remote)
                self._run.item(left_out_item(relative_entry(entry, self._remote).name, entry.why))
                continue
            error = refusal_from_wire(item)
            (name,) = self._relative([str(item["name"])])
            if error is not None:
                self._failed += 1
                self._run.failed(name, error)
            elif self._plan is not None and "large" in item:
                self._plan.large.add(
                    relative_entry(entry_from_wire(item["large"], self._remote), self._remote)
                )
            else:
                self._run.failed(
                    name,
                    RemoteProtocolError.about(name, "the file has grown; run the command again"),
                )


def _not_asked_for(name: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{escape(name)}: the server sends something that was not asked for")


async def _pull_large(
    session: ClientSession,
    store: Store,
    remote: SafeName,
    large: Spool,
    run: TreeRun,
    *,
    keep_cancelled: bool,
) -> None:
    """Receive files one after the other, each asked for while the one before it comes, and
    published while the next one does.
    """
    if not large:
        return
    begun = {partial.name for partial in await store.partials()}
    entries = iter(large)
    asked: deque[tuple[str, Download]] = deque()
    folder: SafeName | None = None
    publishing = OverlappedStep()
    try:
        while True:
            while len(asked) < _ASKED_AHEAD and (entry := next(entries, None)) is not None:
                name = parse_name(entry.name)
                if name.parent != folder:
                    folder = name.parent
                    await store.make_folder(folder, parents=True)
                whole, is_begun = str(below(remote, entry.name)), entry.name in begun
                coming = Download(
                    session, whole, store, name, keep_cancelled=keep_cancelled, begun=is_begun
                )
                await coming.request()
                asked.append((entry.name, coming))
            if not asked:
                break
            shown, coming = asked.popleft()
            try:
                writer = await coming.receive(
                    lambda done, _, shown=shown: run.within(shown, done),  # type: ignore[misc]
                    publishing.finish,
                )
            except FtransferError as error:
                if not session.is_in_step:
                    raise  # the connection, or our own disk: the rest would fail as well
                if isinstance(error, DigestMismatch) and error.kept:
                    # What was kept does not match, and is gone: from the start, then
                    await coming.request()
                    asked.append((shown, coming))
                else:
                    run.failed(shown, error)
            else:
                await publishing.start(_publish(shown, coming, writer, run))
        await publishing.finish()
    finally:
        await publishing.settle()


async def _publish(shown: str, coming: Download, writer: Writer, run: TreeRun) -> None:
    try:
        receipt = await coming.publish(writer)
    except FtransferError as error:
        run.failed(shown, error)
    else:
        run.item(TreeItem(shown, "copied", receipt.size, receipt.digest))


async def _remove(store: Store, entry: Entry, run: TreeRun) -> None:
    try:
        count = await store.remove(parse_name(entry.name), recursive=is_whole(entry, run))
    except NotFound:
        return  # somebody else was quicker
    except FtransferError as error:
        run.failed(entry.name, error)
    else:
        run.removed(entry, count)


async def _set_folders(
    store: Store, folders: Spool, run: TreeRun, *, deepest_first: bool = False
) -> None:
    batches = list(folders.batches(256))
    for batch in reversed(batches) if deepest_first else batches:
        ordered = list(reversed(batch)) if deepest_first else batch
        files = [SmallFile(entry.name, FOLDER, entry.mtime_ns, entry.mode) for entry in ordered]
        run.stored(files, await small_files.write_small(store, files))
