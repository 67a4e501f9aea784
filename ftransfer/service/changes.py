"""Who watches what, and the way of a change to those who may know of it. The folder is watched only
while somebody asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from ftransfer.errors import BadArgument, FtransferError, StoreFailed, UnknownVerb
from ftransfer.limits import Limits
from ftransfer.names import SafeName
from ftransfer.protocol.live import CHANGED, CREATED, MOVED, REMOVED, Change, Person, Rescan
from ftransfer.service.hub import Hub, Participant
from ftransfer.service.watched_paths import Watched
from ftransfer.storage.base import FOLDER, Entry
from ftransfer.transfer.hiding import HiddenNames

log = logging.getLogger("ftransfer.server")


class Watcher(Protocol):
    """What finds changes in the folder (watch/watcher.py)."""

    async def start(self, tell: Callable[[Change | Rescan], None]) -> None: ...
    async def stop(self) -> None: ...
    def hold(self, names: Iterable[str]) -> list[str]: ...
    def release(self, names: Iterable[str]) -> None: ...
    def record(self, entry: Entry, person: Person) -> bool: ...
    async def examine(self, names: Iterable[str], person: Person) -> None: ...


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
        self._watched: Watched[Participant] = Watched()
        self._starting = asyncio.Lock()
        self._is_running = False
        self._merging = Debouncer(limits.merge_s, self._tell)

    @property
    def is_possible(self) -> bool:
        return self._watcher is not None

    async def watch(self, participant: Participant, path: SafeName) -> None:
        """Tell a session of all changes below a folder from now on.

        Raises:
            BadArgument: It watches too many paths.
            UnknownVerb: This server does not watch its folder.
            StoreFailed: The operating system cannot watch it.
        """
        if self._watcher is None:
            raise UnknownVerb("this server does not watch its folder")
        if (
            len(participant.watches) >= self._limits.max_watches
            and str(path) not in participant.watches
        ):
            raise BadArgument(
                f"a session watches at most {self._limits.max_watches} paths; unwatch one"
            )
        async with self._starting:
            if not self._is_running:
                try:
                    await self._watcher.start(self._hear)
                except OSError as error:
                    why = error.strerror or str(error)
                    raise StoreFailed(
                        f"the folder cannot be watched: {why}; the system's limits for inotify may"
                        " be too low"
                    ) from error
                self._is_running = True
            self._hub.deal_out()
            participant.watches[str(path)] = path
            self._watched.add(str(path), participant)
            self._participants.add(participant)
        self._hub.listen(participant)

    async def unwatch(self, participant: Participant, path: SafeName | None = None) -> None:
        """Tell it no more, of that path or of any."""
        self._hub.deal_out()
        if path is None:
            participant.watches.clear()
            self._watched.forget(participant)
        else:
            participant.watches.pop(str(path), None)
            self._watched.discard(str(path), participant)
        if not participant.watches:
            await self.leave(participant)

    async def leave(self, participant: Participant) -> None:
        """Forget a session. When the last one has gone, the folder is watched no longer."""
        self._participants.discard(participant)
        self._watched.forget(participant)
        if self._watcher is None or self._participants or not self._is_running:
            return
        async with self._starting:
            if not self._participants and self._is_running:
                self._is_running = False
                await self._watcher.stop()

    async def stop(self) -> None:
        """Stop watching, whoever still asks for it."""
        self._participants.clear()
        self._merging.stop()
        if self._is_running and self._watcher is not None:
            self._is_running = False
            await self._watcher.stop()

    # What clients do.

    @contextlib.asynccontextmanager
    async def publishing(
        self, participant: Participant, names: Iterable[str]
    ) -> AsyncIterator[Callable[[Entry, str], None] | None]:
        """Hold the watcher off some names while a client's files are published there.

        Gives what is to be called with the entry and digest of each that was; None if nobody
        watches.
        """
        watcher = self._watcher if self._is_running else None
        if watcher is None:
            yield None
            return
        names = list(names)

        def stored(entry: Entry, digest: str) -> None:
            existed = watcher.record(entry, participant.person)
            if existed and entry.kind == FOLDER:
                return
            what = CHANGED if existed else CREATED
            self._hear(
                Change(
                    what,
                    entry.name,
                    entry.kind,
                    entry.size,
                    entry.mtime_ns,
                    digest,
                    person=participant.person,
                )
            )

        held = watcher.hold(names)
        try:
            yield stored
        finally:
            watcher.release(held)

    @contextlib.asynccontextmanager
    async def modifying(self, participant: Participant, *paths: str) -> AsyncIterator[None]:
        """Hold the watcher off while a client moves or removes something there, then look what it
        was and tell it as theirs.
        """
        watcher = self._watcher if self._is_running else None
        if watcher is None:
            yield
            return
        held = watcher.hold(path.rstrip("/") for path in paths)
        try:
            try:
                yield
            except FtransferError:
                await self._examine(watcher, held, participant)  # a part of it may be done
                raise
            await self._examine(watcher, held, participant)
        finally:
            watcher.release(held)

    async def _examine(self, watcher: Watcher, held: list[str], participant: Participant) -> None:
        if self._is_running:
            await watcher.examine(held, participant.person)

    # Telling.

    def _hear(self, heard: Change | Rescan) -> None:
        event = heard if self._hiding is None else _uncovered(heard, self._hiding)
        if event is None:
            return
        if isinstance(event, Rescan):
            self._hub.tell_all(event, lambda participant: bool(participant.watches))
        else:
            self._merging.put(event._replace(time_ns=self._clock_ns()))

    def _tell(self, change: Change) -> None:
        if change.kind == FOLDER:
            if change.what == REMOVED:
                for path, participants in self._watched.lose(change.name):
                    self._hub.tell_these(Rescan(path, "the folder is gone"), participants)
            else:
                self._watched.find_again(change.name)
        self._hub.tell_change(change)


def _uncovered(event: Change | Rescan, hiding: HiddenNames) -> Change | Rescan | None:
    """Give what may be told of an event where some names are hidden: of a move, perhaps one side
    only.
    """
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


class Debouncer:
    """Changes of one name that follow each other within `merge_s` are told as one: the first at
    once, then the latest state.
    """

    def __init__(self, merge_s: float, tell: Callable[[Change], None]) -> None:
        self._merge_s = merge_s
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._latest: dict[str, Change] = {}  # told within merge_s; oldest first
        self._waiting: dict[str, Change] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def put(self, change: Change) -> None:
        self._flush_related(change)
        if change.what == MOVED:
            # Both names take part, and the order counts: what waits under either is told first.
            self._flush(change.old)
            self._flush(change.name)
            self._now(change)
        elif change.name not in self._latest:
            self._now(change)
        else:
            merged = self._merged(self._latest[change.name], change)
            if merged is None:
                self._waiting.pop(change.name, None)
            else:
                self._waiting[change.name] = merged

    def _flush_related(self, change: Change) -> None:
        """Tell first what waits for a folder above, and, if this is a folder, below: the order of
        these counts.
        """
        if not self._waiting:
            return
        name = change.name
        while name := name.rpartition("/")[0]:
            self._flush(name)
        if change.kind == FOLDER:
            for below in [name for name in self._waiting if name.startswith(f"{change.name}/")]:
                self._flush(below)

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def _merged(self, told: Change, change: Change) -> Change | None:
        """Give what `change` is to those who were told `told`; None if it is nothing new to
        them.
        """
        if change.what == REMOVED:
            return None if told.what == REMOVED else change
        return change._replace(what=CREATED if told.what == REMOVED else CHANGED)

    def _now(self, change: Change) -> None:
        self._latest[change.name] = change
        timer = self._timers.pop(change.name, None)
        if timer is not None:
            timer.cancel()
        self._timers[change.name] = self._loop.call_later(self._merge_s, self._due, change.name)
        self._tell(change)

    def _due(self, name: str) -> None:
        self._latest.pop(name, None)
        self._timers.pop(name, None)
        self._flush(name)

    def _flush(self, name: str) -> None:
        change = self._waiting.pop(name, None)
        if change is not None:
            self._now(change)
