"""A folder -> Change events: the system's hints, checked against a snapshot.

A hint only says where to look. The comparison decides what has happened, so that a hint that comes
twice, late or not at all (a full queue in the kernel) costs a look and never causes a wrong event;
and what a client has put is in the snapshot before the hint comes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable

from ftransfer.errors import FtransferError, NameRefused
from ftransfer.names import RESERVED_PREFIX, parse_name
from ftransfer.protocol.live import CREATED, Change, Person, Rescan
from ftransfer.storage.base import FOLDER, Entry, Store
from ftransfer.system.threads import io_pool, run_job
from ftransfer.system.turns import Pause
from ftransfer.watch.folder import WatchedFolder
from ftransfer.watch.hints import Hints, QueueOverflow
from ftransfer.watch.inotify import InotifyHints
from ftransfer.watch.portable_hints import PortableHints
from ftransfer.watch.snapshot import Differences
from ftransfer.watch.tracker import FolderTracker

log = logging.getLogger("ftransfer.watch")

Report = Callable[[Change | Rescan], None]

_RESERVED = f"/{RESERVED_PREFIX}"

# If hints were lost unnoticed, a full comparison finds the changes.
_CHECK_S = 60.0
_CHECKS_SHARE = 0.02  # the part of the time that it may take
_RESTART_S = 1.0


class FolderWatcher:
    """Reports changes below one folder, from `start` to `stop`.

    Args:
        folder: The folder as the operating system knows it; `store` is the part that is served.
        check_s: How often everything is compared, as a safeguard.
    """

    def __init__(
        self, folder: str | os.PathLike[str], store: Store, *, check_s: float = _CHECK_S
    ) -> None:
        self._folder = WatchedFolder(folder)
        self._tracker = FolderTracker(store)
        self._check_s = check_s
        self._report: Report = lambda event: None
        self._hints: Hints | None = None
        self._task: asyncio.Task[None] | None = None
        self._hinted: set[str] = set()
        self._why_rescan = ""
        self._woken = asyncio.Event()
        self._comparing = asyncio.Lock()
        self._is_displaced = False  # the path leads elsewhere now

    async def start(self, report: Report) -> None:
        """Start reporting: all changes after this returns.

        Raises:
            OSError: The system can watch no more folders.
            FtransferError: The folder cannot be listed.
        """
        self._report = report
        self._folder.remember()
        await self._arm()
        try:
            await self._tracker.load()
        except BaseException:
            await self.stop()
            raise
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop reporting, and forget the snapshot."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        hints, self._hints = self._hints, None
        if hints is not None:
            await hints.stop()
        self._tracker.clear()
        self._hinted.clear()

    # What clients do through the server.

    def mute(self, names: Iterable[str]) -> list[str]:
        """Report nothing about these names, and names below them, until `unmute`.

        The caller reports its own changes there. This includes missing parent folders that will be
        created for them.

        Returns:
            The muted names, to pass to `unmute`.
        """
        return self._tracker.mute(names)

    def unmute(self, names: Iterable[str]) -> None:
        self._tracker.unmute(names)
        if self._hinted:
            self._woken.set()

    def note_write(self, entry: Entry, person: Person) -> bool:
        """Record a client's put, so that it is reported once; return whether the name existed.

        Reports the folders that were created for it.
        """
        existed, new_folders = self._tracker.note_write(entry)
        for folder in new_folders:
            self._report(Change(CREATED, folder, FOLDER, person=person))
        return existed

    async def recheck(self, names: Iterable[str], person: Person) -> None:
        """Find out what somebody has changed there, and report it as theirs."""
        if self._task is not None:
            await self._compare(set(names), person)

    # The system's hints.

    async def _arm(self) -> None:
        kind = InotifyHints if sys.platform == "linux" else PortableHints
        hints = kind(self._folder.path, self._on_hints, self._on_watch_lost)
        self._hints = hints
        await hints.start()

    def _on_hints(self, paths: set[str]) -> None:
        prefix = f"{self._folder.path}/"
        for path in paths:
            if _RESERVED in path:  # changes there come by the thousand
                continue
            try:
                self._hinted.add(str(parse_name(path.removeprefix(prefix))))
            except NameRefused:
                if path == self._folder.path and not self._check_place():
                    self._why_rescan = "the folder is gone"
        self._woken.set()

    def _on_watch_lost(self, error: Exception) -> None:
        log.warning("the watch on the folder failed, and is set up again: %s", error)
        hints, self._hints = self._hints, None
        if hints is not None:
            hints.abandon()
        self._why_rescan = (
            str(error)
            if isinstance(error, QueueOverflow)
            else "the watch on the folder had to be set up again"
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
                await self._rescan(
                    "changes were found that the system had not reported", only_if_different=True
                )
                check_s = max(self._check_s, (loop.time() - began) / _CHECKS_SHARE)
                continue
            self._woken.clear()
            if self._hints is None:
                await self._arm_again()
            if self._why_rescan:
                why, self._why_rescan = self._why_rescan, ""
                self._hinted.clear()
                await self._rescan(why)
            names = {name for name in self._hinted if not self._tracker.is_muted(name)}
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
                await self._rescan(
                    "the folder cannot be watched; it is scanned instead", only_if_different=True
                )

    def _check_place(self) -> bool:
        """Return whether the path still leads to the folder; log a change of that."""
        is_displaced = not self._folder.is_in_place()
        if is_displaced and not self._is_displaced:
            log.warning(
                "%s: moved, removed or replaced; what has its name now is served after a restart",
                self._folder.path,
            )
        elif self._is_displaced and not is_displaced:
            self._on_watch_lost(OSError(f"{self._folder.path} is back in its place"))
        self._is_displaced = is_displaced
        return not is_displaced

    # Comparing.

    async def _compare(self, names: set[str], person: Person | None) -> None:
        """Compare some names, and report the differences."""
        async with self._comparing:
            self._tracker.begin()
            now = await run_job(io_pool(), lambda: self._folder.stamps(names))
            if not self._check_place():
                # The path leads to another folder, or none: nothing can be concluded.
                self._why_rescan = "the shared folder was moved or replaced"
                self._woken.set()
                return
            differences, uncertain = await self._tracker.compare(now)
            if uncertain:
                self._hinted |= uncertain
                self._woken.set()
            await self._report_all(differences, person)

    async def _rescan(self, why: str, *, only_if_different: bool = False) -> None:
        """Compare everything; report first that this was done, then the differences."""
        try:
            async with self._comparing:
                self._tracker.begin()
                differences = await self._tracker.compare_all()
                if not (only_if_different and differences.is_empty):
                    self._report(Rescan("", why))
                await self._report_all(differences, None)
        except FtransferError as error:
            log.warning("the folder cannot be scanned: %s", error)
            if not only_if_different:
                self._report(Rescan("", why))

    async def _report_all(self, differences: Differences, person: Person | None) -> None:
        pause = Pause()
        for change in differences.changes():
            self._report(change._replace(person=person))
            await pause()
