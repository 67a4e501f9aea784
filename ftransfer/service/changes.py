"""Who watches what, and how a change reaches those who may know of it.

A change comes from the folder's watcher or from a client's own operation; it passes the hidden
names, the debouncer and the broadcaster. The folder is watched only while somebody asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from ftransfer.auth.permissions import Right
from ftransfer.errors import BadArgument, Forbidden, FtransferError, StoreFailed, UnknownVerb
from ftransfer.limits import Limits
from ftransfer.names import SafeName
from ftransfer.protocol.live import CHANGED, CREATED, MOVED, REMOVED, Change, Person, Rescan
from ftransfer.service.debouncer import Debouncer
from ftransfer.service.hub import Hub
from ftransfer.service.participant import Participant
from ftransfer.service.watched_paths import WatchedPaths
from ftransfer.storage.base import FOLDER, Entry
from ftransfer.transfer.hidden_names import HiddenNames


class Watcher(Protocol):
    """Finds changes in the folder (watch/watcher.py)."""

    async def start(self, report: Callable[[Change | Rescan], None]) -> None: ...
    async def stop(self) -> None: ...
    def mute(self, names: Iterable[str]) -> list[str]: ...
    def unmute(self, names: Iterable[str]) -> None: ...
    def note_write(self, entry: Entry, person: Person) -> bool: ...
    async def recheck(self, names: Iterable[str], person: Person) -> None: ...


class Changes:
    """The changes of one share, for all its watchers.

    Args:
        watcher: None if the folder cannot be watched; then `watch` is refused.
    """

    def __init__(
        self,
        hub: Hub,
        limits: Limits,
        watcher: Watcher | None,
        clock_ns: Callable[[], int] = time.time_ns,
        *,
        hiding: HiddenNames | None = None,
    ) -> None:
        self._hub = hub
        self._limits = limits
        self._watcher = watcher
        self._clock_ns = clock_ns
        self._hiding = hiding
        self._participants: set[Participant] = set()
        self._paths: WatchedPaths[Participant] = WatchedPaths()
        self._starting = asyncio.Lock()
        self._is_running = False
        self._debouncer = Debouncer(limits.merge_s, self._broadcast)

    @property
    def is_possible(self) -> bool:
        return self._watcher is not None

    async def watch(self, participant: Participant, path: SafeName) -> None:
        """Send a session all changes below a folder from now on.

        Raises:
            BadArgument: It watches too many paths.
            Forbidden: The session has no right to watch there.
            UnknownVerb: This server does not watch its folder.
            StoreFailed: The operating system cannot watch it.
        """
        watcher = self._watcher
        if watcher is None:
            raise UnknownVerb("this server does not watch its folder")
        if not participant.member.principal.may_below(Right.WATCH, path):
            raise Forbidden.about(
                path, "you may not watch it; the owner of the share can give you that right"
            )
        if (
            len(participant.watches) >= self._limits.max_watches
            and str(path) not in participant.watches
        ):
            raise BadArgument(
                f"a session can watch at most {self._limits.max_watches} paths; unwatch one first"
            )
        async with self._starting:
            if not self._is_running:
                await self._start(watcher)
            self._hub.broadcaster.flush_changes()
            participant.watches[str(path)] = path
            self._paths.add(str(path), participant)
            self._participants.add(participant)
        self._hub.open_outbox(participant)

    async def _start(self, watcher: Watcher) -> None:
        try:
            await watcher.start(self._accept)
        except OSError as error:
            raise StoreFailed(
                f"the folder cannot be watched: {error.strerror or error}; the system's limits for"
                " inotify may be too low"
            ) from error
        self._is_running = True

    async def unwatch(self, participant: Participant, path: SafeName | None = None) -> None:
        """Stop sending it changes of that path, or of all paths."""
        self._hub.broadcaster.flush_changes()
        if path is None:
            participant.watches.clear()
            self._paths.discard_all(participant)
        else:
            participant.watches.pop(str(path), None)
            self._paths.discard(str(path), participant)
        if not participant.watches:
            await self.leave(participant)

    async def leave(self, participant: Participant) -> None:
        """Forget a session. When the last one has left, the folder is no longer watched."""
        self._participants.discard(participant)
        self._paths.discard_all(participant)
        if self._watcher is None or self._participants or not self._is_running:
            return
        async with self._starting:
            if not self._participants and self._is_running:
                self._is_running = False
                await self._watcher.stop()

    async def stop(self) -> None:
        """Stop watching, even if somebody still asks for it."""
        self._participants.clear()
        self._debouncer.stop()
        if self._is_running and self._watcher is not None:
            self._is_running = False
            await self._watcher.stop()

    # What clients do.

    @contextlib.asynccontextmanager
    async def publishing(
        self, participant: Participant, names: Iterable[str]
    ) -> AsyncIterator[Callable[[Entry, str], None] | None]:
        """Mute the watcher for some names while a client's files are published there.

        Yields a function to call with the entry and digest of each published file; None if nobody
        watches.
        """
        watcher = self._watcher if self._is_running else None
        if watcher is None:
            yield None
            return
        names = list(names)

        def note_published(entry: Entry, digest: str) -> None:
            existed = watcher.note_write(entry, participant.person)
            if existed and entry.kind == FOLDER:
                return
            what = CHANGED if existed else CREATED
            stamp = entry.size, entry.mtime_ns, digest
            self._accept(Change(what, entry.name, entry.kind, *stamp, person=participant.person))

        muted = watcher.mute(names)
        try:
            yield note_published
        finally:
            watcher.unmute(muted)

    @contextlib.asynccontextmanager
    async def modifying(self, participant: Participant, *paths: str) -> AsyncIterator[None]:
        """Mute the watcher while a client moves or removes something.

        Then find out what has changed, and report it as the client's.
        """
        watcher = self._watcher if self._is_running else None
        if watcher is None:
            yield
            return
        muted = watcher.mute(path.rstrip("/") for path in paths)
        try:
            try:
                yield
            except FtransferError:
                await self._recheck(watcher, muted, participant)  # part of it may be done
                raise
            await self._recheck(watcher, muted, participant)
        finally:
            watcher.unmute(muted)

    async def _recheck(self, watcher: Watcher, muted: list[str], participant: Participant) -> None:
        if self._is_running:
            await watcher.recheck(muted, participant.person)

    # Delivery to those who watch.

    def _accept(self, found: Change | Rescan) -> None:
        event = found if self._hiding is None else _without_hidden(found, self._hiding)
        if event is None:
            return
        if isinstance(event, Rescan):
            self._hub.broadcaster.publish(
                event,
                lambda participant: bool(participant.watches) and participant.may(Right.WATCH),
            )
        else:
            self._debouncer.add(event._replace(time_ns=self._clock_ns()))

    def _broadcast(self, change: Change) -> None:
        if change.kind == FOLDER:
            if change.what == REMOVED:
                for path, participants in self._paths.mark_lost(change.name):
                    self._hub.broadcaster.publish_to(
                        Rescan(path, "the folder is gone"), participants
                    )
            else:
                self._paths.mark_found(change.name)
        self._hub.broadcaster.publish_change(change)


def _without_hidden(event: Change | Rescan, hiding: HiddenNames) -> Change | Rescan | None:
    """Return an event without hidden names: of a move, perhaps one side only."""
    if isinstance(event, Rescan):
        return None if _is_hidden(event.path, hiding) else event
    is_hidden = _is_hidden(event.name, hiding)
    if event.what != MOVED:
        return None if is_hidden else event
    if _is_hidden(event.old, hiding):
        return None if is_hidden else event._replace(what=CREATED, old="")
    return (
        event._replace(what=REMOVED, name=event.old, old="", size=0, mtime_ns=0)
        if is_hidden
        else event
    )


def _is_hidden(name: str, hiding: HiddenNames) -> bool:
    return hiding.covers(SafeName.trusted(name))
