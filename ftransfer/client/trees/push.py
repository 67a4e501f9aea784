"""A tree from a local store to the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ftransfer.client.files import fetch_partials
from ftransfer.client.request_window import Request, request_many
from ftransfer.client.session import ClientSession, require_count
from ftransfer.client.transfers.pipelined_upload import PipelinedUploads
from ftransfer.client.transfers.upload import source_of, upload
from ftransfer.client.trees.compare import compare_digests, compare_ranges, fetch_differences
from ftransfer.client.trees.run import (
    Plan,
    TreeItem,
    TreeRun,
    below,
    is_whole,
    items_of,
    left_out_item,
    name_beside,
    run_below,
    tell_plan,
    tell_untouched,
)
from ftransfer.digest import Digest
from ftransfer.errors import (
    ChannelError,
    FtransferError,
    NotFound,
    RemoteProtocolError,
    SourceChanged,
)
from ftransfer.names import ROOT, SafeName, escape, parse_name
from ftransfer.protocol.replies import Outcomes, Reply, take_count
from ftransfer.storage import small_files
from ftransfer.storage.base import FILE, FOLDER, LINK, OTHER, Entry, SmallFile, Store
from ftransfer.system.threads import stop_task
from ftransfer.transfer.below import StoreBelow
from ftransfer.transfer.packs import (
    MAX_ITEMS,
    MAX_PACKED_BYTES,
    PACK_BYTES,
    encode_files,
    in_frames,
    receipt_of_pack,
    refusal_from_wire,
    should_prefetch,
)
from ftransfer.transfer.pipeline import read_ahead
from ftransfer.transfer.spool import Spool

# The most that one item takes in the index of a pack: a long name, each byte written as six
_INDEX_BYTES = 32 * 1024


async def push_tree(session: ClientSession, store: Store, remote: SafeName, run: TreeRun) -> None:
    """Make a folder of the server like a local tree; on a new session it does what is left.

    Raises:
        FtransferError: What ends the whole: the connection, a share that takes nothing. Failures of
            single names go to `run`.
    """
    options = run.options
    with Plan(min(MAX_PACKED_BYTES, session.channel.limits.max_chunk_bytes - _INDEX_BYTES)) as plan:
        differences = await fetch_differences(session, store, remote, options, pulls=False)
        if not (differences.told or options.links or options.dry_run):
            await _push_fresh(session, store, remote, run, plan)
            return
        await compare_ranges(plan, differences, session, store, remote, options, pulls=False)
        await compare_digests(session, store, remote, plan, run)
        run.begin(plan)
        tell_untouched(plan, run)
        if options.dry_run:
            await tell_plan(plan, run, store.scan, options)
            return
        await _unlock(session, remote, plan)
        await _make_folders(session, store, remote, plan, run)
        push = _Push(session, store, remote, run)
        if plan.small or plan.links:
            await push.packs(push.contents(plan))
        await _push_large(session, store, remote, plan, run)
        for entry, count in plan.staged_with_counts():
            await _push_over(session, store, remote, entry, count, run)
        await _remove(session, remote, plan.removed, run)
        await _set_attributes(session, remote, plan.set, run)
        if plan.folders:
            await push.packs(_folders(plan))
        await _set_root(session, store, remote, run)


async def _push_fresh(
    session: ClientSession, store: Store, remote: SafeName, run: TreeRun, plan: Plan
) -> None:
    """Send all that there is, where the server has nothing: each folder is walked and read in one
    go, with no listing before.
    """
    run.find(plan)
    await _make_folders(session, store, remote, plan, run)
    push = _Push(session, store, remote, run)
    await push.packs(push.everything(plan))
    run.found(plan)
    if plan.large:
        await _make_parents(session, remote, plan)
        await _push_large(session, store, remote, plan, run)
        if plan.folders:
            await push.packs(_folders(plan, deepest_first=True))
    await _set_root(session, store, remote, run)


async def _push_over(
    session: ClientSession, store: Store, remote: SafeName, entry: Entry, count: int, run: TreeRun
) -> None:
    """Make something beside what has its name; only when that is complete, it takes the place."""
    beside, name = below(remote, str(name_beside(entry.name))), below(remote, entry.name)
    with run_below(run, entry.name) as staged:
        try:
            if entry.kind == FOLDER:
                await push_tree(session, StoreBelow(store, parse_name(entry.name)), beside, staged)
                staged.item(TreeItem("", "made"))
            else:
                await _push_one(session, store, beside, entry, staged)
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
            run.removed(entry, count)
        staged.tell()


async def _push_one(
    session: ClientSession, store: Store, beside: SafeName, entry: Entry, run: TreeRun
) -> None:
    """Send a file or a link under another name than its own."""
    if entry.kind == LINK:
        push = _Push(session, store, beside.parent, run, told={beside.last: ""})
        await push.packs(
            _given([SmallFile(beside.last, LINK, entry.mtime_ns, entry.mode, target=entry.target)])
        )
        return
    reader = await store.open_read(parse_name(entry.name))
    try:
        source = source_of(entry.name, reader)
        receipt = await upload(
            session, reader, str(beside), source, {}, lambda done, _: run.within("", done)
        )
    finally:
        await reader.close()
    run.item(TreeItem("", "copied", receipt.size, receipt.digest))


async def _given(group: Group) -> AsyncGenerator[Group, None]:
    yield group


async def _set_attributes(
    session: ClientSession, remote: SafeName, spool: Spool, run: TreeRun
) -> None:
    """Set mode and time of files whose content is right."""
    commands: Iterator[Request] = (
        (
            "setstat",
            str(below(remote, entry.name)),
            {"mtime_ns": entry.mtime_ns, "mode": entry.mode},
        )
        for entry in spool
    )
    async with contextlib.aclosing(request_many(session, commands)) as answers:
        for entry in spool:
            answer = await anext(answers)
            if isinstance(answer, FtransferError):
                run.failed(entry.name, answer)
            else:
                run.item(TreeItem(entry.name, "updated"))


async def _unlock(session: ClientSession, remote: SafeName, plan: Plan) -> None:
    """Give the owner's bits to folders in which something changes. Their mode is set at the end."""
    commands: Iterator[Request] = (
        ("setstat", str(below(remote, entry.name)), {"mode": entry.mode | 0o700})
        for entry in plan.unlocked
    )
    async for _ in request_many(session, commands):
        pass  # where that is refused, what is put there will say so


Group = list[SmallFile]


class _Sent(NamedTuple):
    """A pack: the digest of its index, and what of it has not been acknowledged yet, as it will be
    told.
    """

    digest: Digest
    items: deque[TreeItem]


class _Push:
    """The sending side of an mput: packs go out while outcomes come in."""

    def __init__(
        self,
        session: ClientSession,
        store: Store,
        remote: SafeName,
        run: TreeRun,
        told: Mapping[str, str] | None = None,
    ) -> None:
        """`told`: by what other names things are told."""
        self._told = told or {}
        self._session = session
        self._store = store
        self._run = run
        self._prefix = "" if remote.is_root else f"{remote}/"
        self._remote = remote
        self._unanswered: deque[_Sent] = deque()  # bounded by what two ends buffer: a few packs
        self._stored = self._failed = 0  # of the present mput, as the server has acknowledged

    async def contents(self, plan: Plan) -> AsyncGenerator[Group, None]:
        """Give the links and the small files."""
        for batch in plan.links.batches(MAX_ITEMS):
            yield [
                SmallFile(entry.name, LINK, entry.mtime_ns, entry.mode, target=entry.target)
                for entry in batch
            ]
        for batch in plan.small.batches(MAX_ITEMS):
            names = [parse_name(entry.name) for entry in batch]
            while names:
                items = await small_files.read_small(self._store, names[:MAX_ITEMS], PACK_BYTES)
                yield self._sort(names, items)
                names = names[len(items) :]

    async def everything(self, plan: Plan) -> AsyncGenerator[Group, None]:
        """Give all small files of the tree, and then its folders, unless large files are to come
        before; those go into the plan.
        """
        async with contextlib.aclosing(
            small_files.read_tree(self._store, ROOT, plan.packed_bytes, MAX_ITEMS, others=True)
        ) as groups:
            async for items in groups:
                files: Group = []
                for item in items:
                    if isinstance(item, SmallFile):
                        if item.kind == FILE:
                            files.append(item)
                        else:
                            plan.folders.add(Entry(item.name, FOLDER, 0, item.mtime_ns, item.mode))
                    elif isinstance(item, Entry):
                        if item.kind == OTHER:
                            self._run.item(left_out_item(item.name, item.why))
                        else:
                            plan.large.add(item)
                    else:
                        self._run.failed(item.name, item)
                yield files
        if not plan.large:
            async for group in _folders(plan, deepest_first=True):
                yield group

    def _sort(
        self, names: Sequence[SafeName], items: Sequence[SmallFile | Entry | FtransferError]
    ) -> Group:
        files: Group = []
        for name, item in zip(names, items, strict=False):
            if isinstance(item, SmallFile) and item.kind == FILE:
                files.append(item)
            elif isinstance(item, FtransferError):
                self._run.failed(str(name), item)
            else:
                self._run.failed(
                    str(name),
                    SourceChanged(f"{escape(str(name))}: changed meanwhile; run the command again"),
                )
        return files

    async def packs(self, groups: AsyncGenerator[Group, None]) -> None:
        """Send groups and take their outcomes in."""
        self._stored = self._failed = 0
        await self._session.send("mput")
        sending, receiving = (
            asyncio.create_task(self._send(groups)),
            asyncio.create_task(self._receive()),
        )
        try:
            await asyncio.wait([sending, receiving], return_when=asyncio.FIRST_EXCEPTION)
            if sending.done() and not isinstance(sending.exception(), ChannelError):
                await sending  # our own disk has failed, of which the server knows nothing
            await receiving  # what the server said last explains a broken pipe
            await sending
        finally:
            await stop_task(sending)
            await stop_task(receiving)

    async def _send(self, groups: AsyncGenerator[Group, None]) -> None:
        channel, connection = self._session.channel, self._session.connection
        async with channel.heartbeats():
            is_local = channel.transport.is_local
            async for group in read_ahead(
                groups, lambda group: should_prefetch(group, is_local=is_local)
            ):
                if not group:
                    continue
                for some, buffers, digest in in_frames(
                    group, lambda some: (some, *encode_files(connection, some, self._prefix))
                ):
                    self._unanswered.append(_Sent(digest, deque(items_of(some))))
                    await channel.send(*buffers)
        await channel.send(connection.send_finish())

    async def _receive(self) -> None:
        while True:
            event = await self._session.next_event()
            match event:
                case Outcomes(items=items):
                    for item in items:
                        self._take(item)
                case Reply(values=values):
                    if self._unanswered:
                        raise RemoteProtocolError("the server left files without an answer")
                    require_count(values, "stored", self._stored)
                    require_count(values, "failed", self._failed)
                    return
                case _:
                    raise self._session.unexpected(event)

    def _take(self, outcome: Any) -> None:
        """Take in what became of the next item, or of the whole next pack."""
        if not self._unanswered:
            raise _not_sent()
        sent = self._unanswered[0]
        if isinstance(outcome, dict) and "index" in outcome:
            if outcome != {**outcome, **receipt_of_pack(len(sent.items), sent.digest)}:
                raise _not_sent()
            self._stored += len(sent.items)
            self._tell(*sent.items)
            self._unanswered.popleft()
            return
        error = refusal_from_wire(outcome)
        if outcome["name"] != self._prefix + sent.items[0].name:
            raise _not_sent()
        item = sent.items.popleft()
        if error is not None:
            self._failed += 1
            self._tell(item._replace(did="failed", size=0, digest="", error=error))
        elif outcome.get("digest", "") != item.digest:
            message = "the server acknowledges another content than was sent"
            raise RemoteProtocolError.about(item.name, message)
        else:
            self._stored += 1
            self._tell(item)
        if not sent.items:
            self._unanswered.popleft()

    def _tell(self, *items: TreeItem) -> None:
        self._run.items(
            [item._replace(name=self._told.get(item.name, item.name)) for item in items]
            if self._told
            else items
        )


def _not_sent() -> RemoteProtocolError:
    return RemoteProtocolError("the server acknowledges something that was not sent")


async def _make_folders(
    session: ClientSession, store: Store, remote: SafeName, plan: Plan, run: TreeRun
) -> None:
    """Make the root of the tree, and the folders for large files; those for small files are made
    with them.
    """
    if not remote.is_root:
        above = [] if remote.parent.is_root else [("mkdir", str(remote.parent), {"parents": True})]
        # The second fails if it is there already; the third then if that is no folder.
        commands = [*above, ("mkdir", str(remote), {}), ("mkdir", str(remote), {"parents": True})]
        answers = [answer async for answer in request_many(session, commands)]
        for answer in (*answers[:-2], answers[-1]):
            if isinstance(answer, FtransferError):
                raise answer
        if not isinstance(answers[-2], FtransferError):
            run.sets_root = True
            mode = (await store.stat(ROOT)).mode
            # Before there is anything to be seen in it
            await session.request_or_error("setstat", str(remote), {"mode": mode})
    await _make_parents(session, remote, plan)


async def _make_parents(session: ClientSession, remote: SafeName, plan: Plan) -> None:
    commands: Iterator[Request] = (
        ("mkdir", str(SafeName(remote.parts + parent.parts)), {"parents": True})
        for parent in _parents(plan)
    )
    async for answer in request_many(session, commands):
        if isinstance(answer, FtransferError):
            raise answer


async def _set_root(session: ClientSession, store: Store, remote: SafeName, run: TreeRun) -> None:
    """Give the root of the tree its mode and time, if this command has made it."""
    if run.sets_root and not remote.is_root:
        about = await store.stat(ROOT)
        await session.request_or_error(
            "setstat", str(remote), {"mtime_ns": about.mtime_ns, "mode": about.mode}
        )


def _parents(plan: Plan) -> Iterator[SafeName]:
    """Give the folders that large files go into, each once in a row."""
    last: SafeName | None = None
    for entry in plan.large:
        parent = parse_name(entry.name).parent
        if parent != last and not parent.is_root:
            yield parent
        last = parent


async def _folders(plan: Plan, *, deepest_first: bool = False) -> AsyncGenerator[Group, None]:
    """Give the folders with their mode and mtime, after all that is in them."""
    batches = plan.folders.batches(MAX_ITEMS)
    if deepest_first:  # the only way that holds all of them in memory; folders are few beside files
        batches = (batch[::-1] for batch in reversed(list(batches)))
    for batch in batches:
        yield [SmallFile(entry.name, FOLDER, entry.mtime_ns, entry.mode) for entry in batch]


async def _push_large(
    session: ClientSession, store: Store, remote: SafeName, plan: Plan, run: TreeRun
) -> None:
    if plan.large:
        begun = {partial.name for partial in await fetch_partials(session, str(remote))}
        await PipelinedUploads(session, store, remote, run).send(plan.large, begun)


async def _remove(session: ClientSession, remote: SafeName, spool: Spool, run: TreeRun) -> None:
    def options(entry: Entry) -> dict[str, Any]:
        return {"recursive": True} if is_whole(entry, run) else {}

    commands = (("rm", str(below(remote, entry.name)), options(entry)) for entry in spool)
    async with contextlib.aclosing(request_many(session, commands)) as answers:
        for entry in spool:
            answer = await anext(answers)
            if isinstance(answer, NotFound):
                continue  # somebody else was quicker
            if isinstance(answer, FtransferError):
                run.failed(entry.name, answer)
            else:
                run.removed(entry, take_count(answer, "removed", 1))
