"""Small files to the server, many in one command: the sending side of an mput."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple

from ftransfer.client.session import ClientSession, require_count
from ftransfer.client.trees.plan import Plan
from ftransfer.client.trees.report import TreeItem, items_of, left_out_item
from ftransfer.client.trees.run import TreeRun
from ftransfer.digest import Digest
from ftransfer.errors import ChannelError, FtransferError, RemoteProtocolError, SourceChanged
from ftransfer.names import ROOT, SafeName, escape, parse_name
from ftransfer.protocol.replies import Outcomes, Reply
from ftransfer.storage import small_files
from ftransfer.storage.base import FILE, FOLDER, LINK, OTHER, Entry, SmallFile, Store
from ftransfer.system.threads import stop_task
from ftransfer.transfer.packs import (
    MAX_ITEMS,
    PACK_BYTES,
    encode_files,
    in_frames,
    receipt_of_pack,
    refusal_from_wire,
    should_prefetch,
)
from ftransfer.transfer.pipeline import read_ahead
from ftransfer.transfer.spool import Spool

Group = list[SmallFile]


class _SentPack(NamedTuple):
    """A pack: the digest of its index, and the outcomes that are not acknowledged yet."""

    digest: Digest
    items: deque[TreeItem]


class PackSender:
    """The sending side of an mput: packs are sent while results arrive.

    Args:
        renamed: Names under which some items are reported, by the names under which they are sent.
    """

    def __init__(
        self,
        session: ClientSession,
        store: Store,
        remote: SafeName,
        run: TreeRun,
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self._renamed = renamed or {}
        self._session = session
        self._store = store
        self._run = run
        self._prefix = "" if remote.is_root else f"{remote}/"
        self._remote = remote
        self._unanswered: deque[_SentPack] = deque()  # bounded by what two ends buffer: a few packs
        self._stored = self._failed = 0  # of the current mput, as the server has acknowledged

    async def contents(self, small: Spool) -> AsyncGenerator[Group, None]:
        """Yield small files with their content."""
        for batch in small.batches(MAX_ITEMS):
            names = [parse_name(entry.name) for entry in batch]
            while names:
                items = await small_files.read_small(self._store, names[:MAX_ITEMS], PACK_BYTES)
                yield self._readable(names, items)
                names = names[len(items) :]

    async def everything(self, plan: Plan) -> AsyncGenerator[Group, None]:
        """Yield all small files of the tree, and then its folders; add large files to the plan.

        If there are large files, the folders are left for the caller to send after them.
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
            async for group in folders_of(plan, deepest_first=True):
                yield group

    def _readable(
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

    async def send(self, groups: AsyncGenerator[Group, None]) -> None:
        """Send groups, and receive their results."""
        self._stored = self._failed = 0
        await self._session.send("mput")
        sending, receiving = (
            asyncio.create_task(self._send_groups(groups)),
            asyncio.create_task(self._receive()),
        )
        try:
            await asyncio.wait([sending, receiving], return_when=asyncio.FIRST_EXCEPTION)
            if sending.done() and not isinstance(sending.exception(), ChannelError):
                await sending  # our own disk failed, which the server does not know
            await receiving  # the server's last error explains a broken pipe
            await sending
        finally:
            await stop_task(sending)
            await stop_task(receiving)

    async def _send_groups(self, groups: AsyncGenerator[Group, None]) -> None:
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
                    self._unanswered.append(_SentPack(digest, deque(items_of(some))))
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
        """Take the result for the next item, or for the whole next pack."""
        if not self._unanswered:
            raise _not_sent()
        sent = self._unanswered[0]
        if isinstance(outcome, dict) and "index" in outcome:
            if outcome != {**outcome, **receipt_of_pack(len(sent.items), sent.digest)}:
                raise _not_sent()
            self._stored += len(sent.items)
            self._report(*sent.items)
            self._unanswered.popleft()
            return
        error = refusal_from_wire(outcome)
        if outcome["name"] != self._prefix + sent.items[0].name:
            raise _not_sent()
        item = sent.items.popleft()
        if error is not None:
            self._failed += 1
            self._report(item._replace(did="failed", size=0, digest="", error=error))
        elif outcome.get("digest", "") != item.digest:
            message = "the server acknowledges another content than was sent"
            raise RemoteProtocolError.about(item.name, message)
        else:
            self._stored += 1
            self._report(item)
        if not sent.items:
            self._unanswered.popleft()

    def _report(self, *items: TreeItem) -> None:
        self._run.items(
            [item._replace(name=self._renamed.get(item.name, item.name)) for item in items]
            if self._renamed
            else items
        )


def _not_sent() -> RemoteProtocolError:
    return RemoteProtocolError("the server acknowledges something that was not sent")


async def links_of(links: Spool) -> AsyncGenerator[Group, None]:
    """Yield links."""
    for batch in links.batches(MAX_ITEMS):
        yield [
            SmallFile(entry.name, LINK, entry.mtime_ns, entry.mode, target=entry.target)
            for entry in batch
        ]


async def folders_of(plan: Plan, *, deepest_first: bool = False) -> AsyncGenerator[Group, None]:
    """Yield the folders with mode and mtime, to be sent after all their content."""
    batches = plan.folders.batches(MAX_ITEMS)
    if deepest_first:  # this order needs all of them in memory; folders are few compared with files
        batches = (batch[::-1] for batch in reversed(list(batches)))
    for batch in batches:
        yield [SmallFile(entry.name, FOLDER, entry.mtime_ns, entry.mode) for entry in batch]


async def one_group(group: Group) -> AsyncGenerator[Group, None]:
    """Yield one group."""
    yield group
