"""What is known of a folder: a snapshot, the names that are muted, and what clients have written.

It compares this with the folder and returns what has happened. One comparison runs at a time; while
it waits, clients may write, and what they have written is left for the next one.
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
    """The snapshot of one folder, and its comparison with the present.

    Args:
        store: What is served of the folder.
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
        """Leave these names, and what is below them, out of comparisons until `unmute`.

        The same for folders that are not there yet and will be made for them.

        Returns:
            What is muted: it must be unmuted.
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
        """Take something that a client has written into the snapshot.

        Returns:
            Whether something had the name before, and the folders that were made for it, the
            outermost first.
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
        """Begin a comparison: what clients write from now on is left out of it."""
        self._written.clear()

    async def compare(self, now: Mapping[str, Stamp | None]) -> tuple[Differences, set[str]]:
        """Compare some names with their stamps.

        Returns:
            What has happened, and the names that must be looked at again, since a client wrote
            them meanwhile and the stamps may be from before.
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
        """Compare what is in a folder that has just appeared: the system may not have reported all
        of it.
        """
        try:
            async for batch in self._store.scan(
                SafeName.trusted(folder), recursive=True, links=True
            ):
                for entry in batch:
                    if entry.name not in self._written and not self.is_muted(entry.name):
                        differences.update(self._snapshot, entry.name, stamp_of(entry))
        except FtransferError:
            return  # gone again; the hint for that is on its way

    async def compare_all(self) -> Differences:
        """List the folder, and return what has happened in all of it.

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
