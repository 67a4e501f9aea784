"""A local folder that follows a folder of the share: first what it missed, then each change.

Changes of files alone are applied one by one. After anything else (folders, links, a folder that
was gone, missed events), the trees are compared as `sync` does, so that the folder ends as a fresh
copy would, whatever the order of the events.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ftransfer.client.client import Client
from ftransfer.client.events import Inbox
from ftransfer.client.paths import RemoteName, share_path
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeItem
from ftransfer.client.trees.reported_changes import ReportedChanges
from ftransfer.client.trees.transfers import TreeDownload
from ftransfer.errors import (
    DigestMismatch,
    FtransferError,
    NotAFolder,
    NotFound,
    RemoteProtocolError,
    SourceChanged,
    Truncated,
)
from ftransfer.names import SafeName, escape, parse_name
from ftransfer.protocol.live import CREATED, REMOVED, Change, LiveEvent
from ftransfer.storage.base import FILE
from ftransfer.storage.local import LocalStore
from ftransfer.system.threads import io_pool, run_job

# Changes of folders come in bursts: the trees are compared this long after the last change, and at
# the latest this long after the first.
_QUIET_S = 0.3
_LONGEST_S = 3.0
# How often to look for the local folder; also how long to wait before retrying a file that is being
# written, in case no event comes.
_LOOK_S = 1.0
_TRIES = 5
# This long after the first change the trees are compared to be sure: some changes cause no event,
# such as those of a file behind a link.
_CHECK_S = 60.0
_CHECKS_SHARE = 0.02  # the share of the time that may be spent on that

_KIND_OF_CHANGE = {"copied": CREATED, "removed": REMOVED}

# The file is being written, or has changed meanwhile.
_UNRIPE = (DigestMismatch, RemoteProtocolError, SourceChanged, Truncated)


class Mirror:
    """Keeps `dest` like the folder `path` of the share.

    Args:
        delete: Remove local names that are gone from the share, also since before the start.
        on_event: Called after each event has been acted on, with its local path, or "". What was
            missed is reported as created (or removed), although it may only have changed.
        on_failure: Called with the error of a name that could not be fetched; and when the folder
            is gone, on either side.
        check_s: How long after a change the trees are compared to be sure.
    """

    def __init__(
        self,
        client: Client,
        path: RemoteName,
        dest: str | os.PathLike[str],
        *,
        delete: bool = False,
        on_event: Callable[[LiveEvent, str], Awaitable[None]],
        on_failure: Callable[[FtransferError | OSError], None],
        check_s: float = _CHECK_S,
    ) -> None:
        self._client = client
        self._path = share_path(path)
        self._dest = Path(dest)
        self._delete = delete
        self._on_event = on_event
        self._on_failure = on_failure
        self._check_s = check_s
        self._store: LocalStore | None = None  # of dest, while it exists
        self._due_s: float | None = None  # when to compare the trees in any case
        self._longest_rest_s = check_s
        self._is_begun = False
        self._tries = 0
        self._failed: dict[str, str] = {}  # the reported errors of names that cannot be fetched

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            NotFound, NotAFolder: The folder does not exist at the start.
            ChannelError: The server can no longer be reached.
        """
        try:
            while True:
                try:
                    async with self._client.watching(str(self._path)) as inbox:
                        await self._compare([], is_first=not self._is_begun)
                        self._is_begun = True
                        await self._follow(inbox)
                except NotFound as error:
                    if not self._is_begun:
                        raise
                    # Gone while the connection was lost
                    self._note_failures([TreeItem("", "failed", error=error)])
                    await asyncio.sleep(_LOOK_S)
        finally:
            await self._leave_dest()

    async def _follow(self, inbox: Inbox) -> None:
        while True:
            events = await _take(inbox, _LOOK_S)
            if await self._must_compare(events):
                await self._compare(events + await _rest_of_burst(inbox))
            elif events:
                await self._apply(events)

    async def _must_compare(self, events: Sequence[LiveEvent]) -> bool:
        if self._due_s is not None and time.monotonic() >= self._due_s:
            return True
        is_gone = self._store is None
        if self._store is not None and not await self._store.is_in_place():
            is_gone = not await run_job(io_pool(), self._dest.is_dir)
            if not is_gone:
                return True  # another folder has its name
            await self._leave_dest()
            self._on_failure(
                NotFound(
                    f"{escape(str(self._dest))}: the folder is gone; the next change makes it anew"
                )
            )
        changes = _changes(events)
        return bool(events) and (
            is_gone
            or len(changes) < len(events)
            or not ReportedChanges(self._path, changes).is_plain
        )

    async def _compare(self, events: Sequence[LiveEvent], *, is_first: bool = False) -> None:
        """Make the folder like the remote one, and report what was missed as if it happened now."""
        items: list[TreeItem] = []
        began = time.monotonic()
        self._due_s = None
        try:
            await self._client.get_tree(
                str(self._path),
                self._dest,
                options=TreeOptions(delete=self._delete),
                on_item=items.append,
            )
        except (NotFound, NotAFolder) as error:
            if is_first:
                raise
            # Gone for now; an event follows when it is back
            items.append(TreeItem("", "failed", error=error))
            await self._remove_what_went(ReportedChanges(self._path, _changes(events)))
        else:
            await self._hold_dest()
        self._longest_rest_s = max(self._check_s, (time.monotonic() - began) / _CHECKS_SHARE)
        self._note_failures(items)
        reported = {event.name for event in _changes(events)}
        for item in items:
            name = str(self._whole(item.name)) if item.name else str(self._path)
            if item.error is None and item.did in _KIND_OF_CHANGE and name not in reported:
                missed = Change(
                    _KIND_OF_CHANGE[item.did], name, FILE, item.size, digest=item.digest
                )
                await self._on_event(missed, str(self._dest / item.name))
        await self._tell(events, items)

    async def _apply(self, events: Sequence[LiveEvent]) -> None:
        """Copy and remove the files that were reported."""
        assert self._store is not None
        items: list[TreeItem] = []
        changes = ReportedChanges(self._path, _changes(events))
        await self._download(items).get_reported(self._store, self._path, changes)
        errors = [
            item.error
            for item in items
            if item.error is not None and not isinstance(item.error, NotFound)
        ]
        if changes.is_surprised or not all(isinstance(error, _UNRIPE) for error in errors):
            self._due_s = time.monotonic()  # something unreported is in the way here
        elif errors:
            self._due_s = time.monotonic() + _LOOK_S
        elif self._due_s is None:
            self._due_s = time.monotonic() + self._longest_rest_s
        await self._tell(events, items)

    async def _remove_what_went(self, changes: ReportedChanges) -> None:
        """Remove only what was reported as gone: a folder that is gone cannot be compared."""
        if not self._delete or not changes.is_root_gone:
            return
        if self._store is not None:
            changes.files.clear()
            await self._download([]).get_reported(self._store, self._path, changes)
        await self._leave_dest()
        with contextlib.suppress(OSError):
            await run_job(io_pool(), self._dest.rmdir)

    def _download(self, items: list[TreeItem]) -> TreeDownload:
        # With a selection, even one of all names, a folder is removed only if it is empty: its
        # content was not reported.
        options = TreeOptions(delete=self._delete, wanted=lambda name, is_folder: True)
        return TreeDownload(self._client, options, items.append, None)

    # Reports.

    def _note_failures(self, items: Sequence[TreeItem]) -> None:
        """Report each name that could not be fetched once; retry those being written."""
        failed = {item.name: item.error for item in items if item.error is not None}
        unripe = {name for name, error in failed.items() if isinstance(error, _UNRIPE)}
        self._tries = self._tries + 1 if unripe else 0
        if unripe and self._tries < _TRIES:
            self._due_s = time.monotonic() + _LOOK_S
        else:
            unripe.clear()
        said = {name: str(error) for name, error in failed.items() if name not in unripe}
        for name, error in failed.items():
            if name in said and self._failed.get(name) != said[name]:
                self._on_failure(error)
        self._failed = said

    async def _tell(self, events: Sequence[LiveEvent], items: Sequence[TreeItem]) -> None:
        failed = {item.name for item in items if item.error is not None}
        for event in events:
            await self._on_event(
                event, self._path_of(event, failed) if isinstance(event, Change) else ""
            )

    def _path_of(self, change: Change, failed: set[str]) -> str:
        """Return the local path of a change, or "" if nothing was done about it."""
        name = parse_name(change.name)
        if not name.is_within(self._path):
            return ""
        relative = "/".join(name.parts[len(self._path.parts) :])
        target = self._dest / relative
        is_there = os.path.lexists(target)
        if change.what == REMOVED:
            return str(target) if self._delete and not is_there else ""
        return str(target) if is_there and relative not in failed else ""

    def _whole(self, name: str) -> SafeName:
        return SafeName((*self._path.parts, *parse_name(name).parts))

    # The local folder.

    async def _hold_dest(self) -> None:
        """Keep the folder open, to notice when another folder takes its name."""
        if self._store is None or not await self._store.is_in_place():
            await self._leave_dest()
            self._store = await LocalStore.open(self._dest, durable=self._client.durable)

    async def _leave_dest(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await store.close()


def _changes(events: Sequence[LiveEvent]) -> list[Change]:
    return [event for event in events if isinstance(event, Change)]


async def _take(inbox: Inbox, wait_s: float) -> list[LiveEvent]:
    """Return the events that are here, or arrive within a time."""
    try:
        async with asyncio.timeout(wait_s):
            return [await inbox.take(), *inbox.take_all()]
    except TimeoutError:
        return []


async def _rest_of_burst(inbox: Inbox) -> list[LiveEvent]:
    """Return the events that arrive until none does for a while."""
    events: list[LiveEvent] = []
    latest_s = time.monotonic() + _LONGEST_S
    while time.monotonic() < latest_s and (more := await _take(inbox, _QUIET_S)):
        events += more
    return events
