"""Small files from the server, many in one command: the receiving side of an mget."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ftransfer.client.paths import relative_entry
from ftransfer.client.session import ClientSession, require_count
from ftransfer.client.trees.plan import Plan
from ftransfer.client.trees.report import left_out_item
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import NameRefused, RemoteProtocolError, SourceChanged
from ftransfer.names import NameReader, SafeName, escape
from ftransfer.protocol.connection import Payload
from ftransfer.protocol.replies import Outcomes, Reply
from ftransfer.storage import small_files
from ftransfer.storage.base import FILE, FOLDER, LINK, OTHER, Entry, SmallFile, Store
from ftransfer.system.threads import stop_task
from ftransfer.transfer.packs import MAX_ITEMS, in_frames, refusal_from_wire, unpack
from ftransfer.transfer.records import entry_from_wire
from ftransfer.transfer.spool import Spool

# Names that are requested and not yet answered. Enough for a long path, and a bound on the memory
# that they take.
_WINDOW = 8192


async def pull_small(
    session: ClientSession, store: Store, remote: SafeName, small: Spool, run: TreeRun
) -> None:
    """Receive small files by their names, relative to `remote`."""
    if not small:
        return
    await session.send("mget")
    packs = PackReceiver(session, store, remote, run, None)
    requesting = asyncio.create_task(packs.request(small))
    try:
        await packs.receive()
        await requesting
    finally:
        await stop_task(requesting)


class PackReceiver:
    """The receiving side of an mget: packs arrive while names are sent.

    A server is not trusted to send only what was requested: each name must be an awaited one or, if
    the whole folder was requested (`plan`), lie below it.
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
        self._folder: SafeName | None = None  # of the last name, if it lies below `remote`
        # What has arrived, to be compared with the reply.
        self._sent = self._failed = self._bytes = 0

    async def request(self, small: Spool) -> None:
        """Send the names, at most _WINDOW ahead of the answers."""
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
        """Store what arrives until the reply.

        Raises:
            RemoteProtocolError: The reply does not match what arrived, or requested files did not
                arrive.
        """
        channel = self._session.channel
        while True:
            event = await self._session.next_event()
            match event:
                case Payload():
                    # While a pack is stored, the next one gathers in the socket buffer: two threads
                    # would only take turns.
                    files, _ = unpack(await channel.payload.whole(), channel.limits, self._relative)
                    self._sent += len(files)
                    self._bytes += sum(len(file.data) for file in files)
                    await self._store_files(files)
                case Outcomes(items=items):
                    self._take_results(items)
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
        """Check names from the server; return them relative to the root of the tree."""
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
                # All names in a folder share the same folder object, so it is checked only once.
                if found[0] is not self._folder:
                    if not found[0].is_within(self._remote):
                        raise _not_asked_for(name)
                    self._folder = found[0]
        return [name[len(self._prefix) :] for name in names]

    async def _store_files(self, files: list[SmallFile]) -> None:
        others = [file for file in files if file.kind != FILE]
        for file in others:
            # Links are made from listings, and folders arrive only if no files were named.
            if file.kind == LINK:
                raise _not_asked_for(file.name)
            if self._plan is None:
                message = "has become a folder meanwhile; run the command again"
                self._run.failed(file.name, SourceChanged.about(file.name, message))
                continue
            # Folders get their mode and mtime at the end, when nothing more is put into them.
            self._plan.folders.add(Entry(file.name, FOLDER, 0, file.mtime_ns, file.mode))
        if others:
            files = [file for file in files if file.kind == FILE]
        if files:
            self._run.stored(files, await small_files.write_small(self._store, files))

    def _take_results(self, items: list[Any]) -> None:
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
