"""What is known of a folder: a snapshot, the muted names, and what clients have written.

It compares this with the folder and returns what has happened. One comparison runs at a time; what
clients write while it waits is left for the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ftransfer.errors import FtransferError
from ftransfer.names import ROOT, SafeName
from ftransfer.storage.base import FOLDER, Entry, Store
from ftransfer.system.turns import Pause
from ftransfer.watch.snapshot import Differences, Snapshot, Stamp, stamp_of


class FolderTracker:
    """The snapshot of one folder, and its comparison with the current state.

    Args:
        store: The part of the folder that is served.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._snapshot = Snapshot()
        self._muted: Counter[str] = Counter()
        self._written: set[str] = set()  # since the comparison began

    async def load(self) -> None:
        """List the folder.

        Raises:
            FtransferError: It cannot be listed.
        """
        self._snapshot = await self._list()

    def clear(self) -> None:
        self._snapshot = Snapshot()

    async def _list(self) -> Snapshot:
        snapshot = Snapshot()
        async for batch in self._store.scan(ROOT, recursive=True, links=True):
            for entry in batch:
                if snapshot.has_folder(entry.name.rpartition("/")[0]):
                    snapshot.set(entry.name, stamp_of(entry))
        return snapshot

    # Muted names.

    def mute(self, names: Iterable[str]) -> list[str]:
        """Exclude these names, and everything below them, from comparisons until `unmute`.

        This includes missing parent folders that will be created for them.

        Returns:
            The muted names, to pass to `unmute`.
        """
        muted = list(
            {muted for name in names for muted in (name, *self._snapshot.missing_folders(name))}
        )
        self._muted.update(muted)
        return muted

    def unmute(self, names: Iterable[str]) -> None:
        self._muted.subtract(names)
        self._muted = +self._muted

    def is_muted(self, name: str) -> bool:
        if not self._muted:
            return False
        while name:
            if name in self._muted:
                return True
            name = name.rpartition("/")[0]
        return False

    # What clients have written.

    def note_write(self, entry: Entry) -> tuple[bool, list[str]]:
        """Record in the snapshot what a client has written.

        Returns:
            Whether the name existed before, and the folders that were created for it, the outermost
            first.
        """
        existed = self._snapshot.get(entry.name) is not None
        self._written.add(entry.name)
        new_folders = [*self._snapshot.missing_folders(entry.name)][::-1]
        for folder in new_folders:
            self._snapshot.set(folder, Stamp(FOLDER, 0, 0))
        self._snapshot.set(entry.name, stamp_of(entry))
        return existed, new_folders

    # Comparing.

    def begin(self) -> None:
        """Begin a comparison, which leaves out what clients write from now on."""
        self._written.clear()

    async def compare(self, now: Mapping[str, Stamp | None]) -> tuple[Differences, set[str]]:
        """Compare some names with their stamps.

        Returns:
            What has happened, and the names to look at again, since a client wrote them meanwhile
            and the stamps may be older.
        """
        differences, pause = Differences(), Pause()
        uncertain: set[str] = set()
        for name in sorted(now):
            await pause()
            if name in self._written:
                uncertain.add(name)
                continue
            was_folder = self._snapshot.has_folder(name)
            differences.update(self._snapshot, name, now[name])
            if not was_folder and self._snapshot.has_folder(name):
                await self._enter(name, differences)
        return differences, uncertain

    async def _enter(self, folder: str, differences: Differences) -> None:
        """Compare the content of a new folder: the system may not have reported all of it."""
        try:
            async for batch in self._store.scan(
                SafeName.trusted(folder), recursive=True, links=True
            ):
                for entry in batch:
                    if entry.name not in self._written and not self.is_muted(entry.name):
                        differences.update(self._snapshot, entry.name, stamp_of(entry))
        except FtransferError:
            return  # removed again; the hint for that will follow

    async def compare_all(self) -> Differences:
        """List the folder, and return everything that has happened in it.

        Raises:
            FtransferError: The folder cannot be listed.
        """
        now, before = await self._list(), self._snapshot
        differences, pause = Differences(), Pause()
        for snapshot in (now, before):
            for folder in snapshot.folders():
                for name in snapshot.children(folder):
                    await pause()
                    is_compared = snapshot is before and now.get(name) is not None
                    if not (is_compared or name in self._written or self.is_muted(name)):
                        differences.update(before, name, now.get(name))
        return differences
