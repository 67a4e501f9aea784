"""A folder -> Change events: the system's hints, checked against a snapshot of what was there.

A hint only says where to look. What has happened is told by the comparison, so that a hint that
comes twice, late or not at all (a full queue in the kernel) costs a look and never a wrong event;
and what a client has put is in the snapshot before the hint comes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from ftransfer.errors import FtransferError, NameRefused
from ftransfer.limits import clamp_time
from ftransfer.names import RESERVED_PREFIX, ROOT, SafeName, parse_name
from ftransfer.protocol.live import CREATED, Change, Person, Rescan
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry, Store
from ftransfer.system.threads import io_pool, run_job
from ftransfer.system.turns import Pause
from ftransfer.watch.hints import Hints, QueueOverflow
from ftransfer.watch.inotify import InotifyHints
from ftransfer.watch.portable import PortableHints
from ftransfer.watch.snapshot import Differences, Snapshot, Stamp, stamp_of

log = logging.getLogger("ftransfer.watch")

Tell = Callable[[Change | Rescan], None]

_RESERVED = f"/{RESERVED_PREFIX}"

# Should hints have been lost all the same, a look at everything finds what they were about.
_CHECK_S = 60.0
_CHECKS_SHARE = 0.02  # of the time may be spent on that
_RESTART_S = 1.0
_MOVED = "the shared folder was moved or replaced"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FolderWatcher:
    """Tells what happens below one folder, from `start` to `stop`.

    Args:
        folder: The folder as the operating system knows it; `store` is what is served of it.
        check_s: How often everything is looked at, to be sure.
    """

    def __init__(
        self, folder: str | os.PathLike[str], store: Store, *, check_s: float = _CHECK_S
    ) -> None:
        self._folder = os.path.realpath(folder)
        self._store = store
        self._check_s = check_s
        self._tell: Tell = lambda event: None
        self._hints: Hints | None = None
        self._task: asyncio.Task[None] | None = None
        self._snapshot = Snapshot()
        self._hinted: set[str] = set()
        self._why_rescan = ""
        self._woken = asyncio.Event()
        self._comparing = asyncio.Lock()
        self._held: Counter[str] = Counter()
        self._recorded: set[str] = set()
        self._identity: tuple[int, int] | None = None  # of the folder that is watched
        self._is_lost = False  # whether its path leads elsewhere now

    async def start(self, report: Tell) -> None:
        """Begin to tell; what happens after this has returned is told.

        Raises:
            OSError: The system can watch no more folders.
            FtransferError: The folder cannot be listed.
        """
        self._tell = report
        self._identity = _identity_of(self._folder)
        await self._arm()
        try:
            self._snapshot = await self._look()
        except BaseException:
            await self.stop()
            raise
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Tell no more, and forget what was there."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        hints, self._hints = self._hints, None
        if hints is not None:
            await hints.stop()
        self._snapshot = Snapshot()
        self._hinted.clear()

    # What clients do through the server.

    def mute(self, names: Iterable[str]) -> list[str]:
        """Look at these names, and what is below them, no more until `unmute`: whoever is at work
        there will say what it did.

        The same for folders that are not there yet and will be made for them. Give what is held: it
        is to be released.
        """
        held = list({name for given in names for name in self._with_new_folders(given)})
        self._held.update(held)
        return held

    def _with_new_folders(self, name: str) -> Iterator[str]:
        yield name
        while (name := name.rpartition("/")[0]) and not self._snapshot.has_folder(name):
            yield name

    def unmute(self, names: Iterable[str]) -> None:
        self._held.subtract(names)
        self._held = +self._held
        if self._hinted:
            self._woken.set()

    def note_write(self, entry: Entry, person: Person) -> bool:
        """Take note of what a client has put, so that it is told once; whether something had the
        name before.

        The folders that were made for it are told here.
        """
        existed = self._snapshot.get(entry.name) is not None
        self._recorded.add(entry.name)
        self._record_folders(entry.name.rpartition("/")[0], person)
        self._snapshot.set(entry.name, stamp_of(entry))
        return existed

    def _record_folders(self, name: str, person: Person) -> None:
        """Tell of the folders that were made for something new to be in."""
        new = []
        while not self._snapshot.has_folder(name):
            new.append(name)
            name = name.rpartition("/")[0]
        for folder in reversed(new):
            self._snapshot.set(folder, Stamp(FOLDER, 0, 0))
            self._tell(Change(CREATED, folder, FOLDER, person=person))

    async def recheck(self, names: Iterable[str], person: Person) -> None:
        """Look at what somebody has done there, and tell it as theirs."""
        if self._task is not None:
            await self._compare(set(names), person)

    # The system's hints.

    async def _arm(self) -> None:
        kind = InotifyHints if sys.platform == "linux" else PortableHints
        hints = kind(self._folder, self._hear, self._lose)
        self._hints = hints
        await hints.start()

    def _hear(self, paths: set[str]) -> None:
        prefix = f"{self._folder}/"
        for path in paths:
            if _RESERVED in path:  # what is under way there comes by the thousand
                continue
            try:
                self._hinted.add(str(parse_name(path.removeprefix(prefix))))
            except NameRefused:
                if path == self._folder and not self._is_in_place():
                    self._why_rescan = "the folder is gone"
        self._woken.set()

    def _lose(self, error: Exception) -> None:
        log.warning("the watch of the folder broke off, and is set up again: %s", error)
        hints, self._hints = self._hints, None
        if hints is not None:
            hints.abandon()
        self._why_rescan = (
            str(error)
            if isinstance(error, QueueOverflow)
            else "the watch of the folder had to be set up again"
        )
        self._woken.set()

    async def _run(self) -> None:
        check_s = self._check_s
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(check_s):
                    await self._woken.wait()
            except TimeoutError:
                began = loop.time()
                await self._guarded_rescan(
                    "changes were found that the system had not told of", only_if_different=True
                )
                check_s = max(self._check_s, (loop.time() - began) / _CHECKS_SHARE)
                continue
            self._woken.clear()
            if self._hints is None:
                await self._arm_again()
            if self._why_rescan:
                why, self._why_rescan = self._why_rescan, ""
                self._hinted.clear()
                await self._guarded_rescan(why)
            names = {name for name in self._hinted if not self._is_held(name)}
            self._hinted -= names
            if names:
                await self._compare(names, None)

    async def _arm_again(self) -> None:
        while self._hints is None:
            await asyncio.sleep(_RESTART_S)
            try:
                await self._arm()
            except OSError as error:
                self._hints = None
                log.warning("the folder cannot be watched: %s", error)
                await self._guarded_rescan(
                    "the folder cannot be watched; it is looked through", only_if_different=True
                )

    def _is_held(self, name: str) -> bool:
        if not self._held:
            return False
        while name:
            if name in self._held:
                return True
            name = name.rpartition("/")[0]
        return False

    # Comparing.

    async def _compare(self, names: set[str], person: Person | None) -> None:
        """Look at some names and tell the differences."""
        async with self._comparing:
            self._recorded.clear()
            now = await run_job(io_pool(), lambda: {name: self._stamp_now(name) for name in names})
            if not self._is_in_place():
                self._why_rescan = (
                    _MOVED  # by its path there is another folder, or none: nothing can be concluded
                )
                self._woken.set()
                return
            differences, pause = Differences(), Pause()
            for name in sorted(names):
                await pause()
                if name in self._recorded:  # what we saw may be from before
                    self._hinted.add(name)
                    self._woken.set()
                    continue
                was_folder = self._snapshot.has_folder(name)
                differences.update(self._snapshot, name, now[name])
                if not was_folder and self._snapshot.has_folder(name):
                    await self._enter(name, differences)
            for change in differences.changes():
                self._tell(change._replace(person=person))
                await pause()

    async def _enter(self, folder: str, differences: Differences) -> None:
        """Look at what is in a folder that has just appeared: the system may not have told of all
        of it.
        """
        try:
            async for batch in self._store.scan(
                SafeName.trusted(folder), recursive=True, links=True
            ):
                for entry in batch:
                    if entry.name in self._recorded or self._is_held(entry.name):
                        continue
                    differences.update(self._snapshot, entry.name, stamp_of(entry))
        except FtransferError:
            return  # gone again; the hint for that is on its way

    def _stamp_now(self, name: str) -> Stamp | None:
        """Look at one name, in a thread. Links are not followed."""
        try:
            about = _lstat(self._folder, name)
        except (OSError, ValueError):
            return None
        kind = about.st_mode
        if stat.S_ISREG(kind):
            return Stamp(FILE, about.st_size, clamp_time(about.st_mtime_ns))
        if stat.S_ISDIR(kind):
            return Stamp(FOLDER, 0, clamp_time(about.st_mtime_ns))
        return Stamp(LINK, 0, clamp_time(about.st_mtime_ns)) if stat.S_ISLNK(kind) else None

    def _is_in_place(self) -> bool:
        """Whether the path still leads to the folder that is watched; what the store has open is
        that folder in any case.
        """
        is_lost = _identity_of(self._folder) != self._identity
        if is_lost and not self._is_lost:
            log.warning(
                "%s: moved, removed or replaced; what has its name now is served after a restart",
                self._folder,
            )
        elif self._is_lost and not is_lost:
            self._lose(OSError(f"{self._folder} is back in its place"))
        self._is_lost = is_lost
        return not is_lost

    async def _guarded_rescan(self, why: str, *, only_if_different: bool = False) -> None:
        try:
            await self._rescan(why, only_if_different=only_if_different)
        except FtransferError as error:
            log.warning("the folder cannot be looked through: %s", error)
            if not only_if_different:
                self._tell(Rescan("", why))

    async def _rescan(self, why: str, *, only_if_different: bool) -> None:
        """Look at everything, and tell the differences after a word that this was done."""
        async with self._comparing:
            self._recorded.clear()
            now = await self._look()
            differences, pause = Differences(), Pause()
            for snapshot in (now, self._snapshot):
                for folder in snapshot.folders():
                    for name in snapshot.children(folder):
                        await pause()
                        is_compared = snapshot is self._snapshot and now.get(name) is not None
                        if not (is_compared or name in self._recorded or self._is_held(name)):
                            differences.update(self._snapshot, name, now.get(name))
            found = list(differences.changes())
            if found or not only_if_different:
                self._tell(Rescan("", why))
            for change in found:
                self._tell(change)
                await pause()

    async def _look(self) -> Snapshot:
        snapshot = Snapshot()
        async for batch in self._store.scan(ROOT, recursive=True, links=True):
            for entry in batch:
                if snapshot.has_folder(entry.name.rpartition("/")[0]):
                    snapshot.set(entry.name, stamp_of(entry))
        return snapshot


def _identity_of(folder: str) -> tuple[int, int] | None:
    try:
        about = os.stat(folder)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _lstat(folder: str, name: str) -> os.stat_result:
    """Return what lstat says of a name below a folder, also where the whole path is too long for
    one call. Raises OSError.
    """
    try:
        return os.lstat(os.path.join(folder, name))
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    *above, last = name.split("/")
    handle = os.open(folder, _FOLDER)
    try:
        for part in above:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        return os.lstat(last, dir_fd=handle)
    finally:
        os.close(handle)
