"""The folders of a job over many files: each resolved once and held, and noted if it changed."""

from __future__ import annotations

import os

from ftransfer.names import SafeName
from ftransfer.storage.local.mutations import ensure_folder
from ftransfer.storage.local.root import Root
from ftransfer.storage.local.syscalls import release

# From this number of files or folders on, one sync of the whole file system is cheaper than one for
# each; not measured
GROUP = 8
MAX_HELD = 64  # handles of folders


class HeldFolder:
    """A folder that is open."""

    __slots__ = ("about", "handle", "is_noted", "is_ours")

    def __init__(self, handle: int, about: os.stat_result, is_ours: bool) -> None:
        self.handle = handle
        self.about = about
        # Made by this store, so that nothing special can be in it; it saves a check of each name
        self.is_ours = is_ours
        self.is_noted = False  # as changed


class Folders:
    """Handles of a job's folders, each resolved once; with too many, the oldest is closed."""

    def __init__(self, root: Root, flags: int = 0) -> None:
        self._root = root
        self._flags = flags
        self._held: dict[tuple[str, ...], HeldFolder] = {}
        # Handles of folders to sync, by device and inode. Not names: a link in the path may lead
        # elsewhere by then.
        self._changed: dict[tuple[int, int], int] = {}
        self._needs_sync_all = False

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._held.values():
            release(folder.handle)
        for handle in self._changed.values():
            release(handle)

    def open(self, name: SafeName) -> HeldFolder:
        """Open a folder to look up names in it. Raises OSError."""
        return self._held.get(name.parts) or self._hold(
            name, self._root.resolver.open(name.parts, self._flags)
        )

    def make(self, name: SafeName) -> HeldFolder:
        """Open a folder to change it; make it if it is missing. Raises OSError, NotAFolder."""
        return self._held.get(name.parts) or self._hold(
            name, ensure_folder(self._root, name, self.note_handle)
        )

    def holds(self, name: SafeName) -> bool:
        """Return whether a folder is open here."""
        return name.parts in self._held

    def note(self, folder: HeldFolder) -> None:
        """Remember to sync a folder that has changed."""
        if not folder.is_noted:
            folder.is_noted = self._note(folder.handle, (folder.about.st_dev, folder.about.st_ino))

    def note_handle(self, handle: int) -> None:
        """Remember as `note`, for a folder that is not held here."""
        found = os.fstat(handle)
        self._note(handle, (found.st_dev, found.st_ino))

    def _note(self, handle: int, key: tuple[int, int]) -> bool:
        """Return whether `sync` will sync the folder, whatever else changes in it."""
        if not self._root.durable or self._needs_sync_all or key in self._changed:
            return True
        if len(self._changed) < GROUP:
            self._changed[key] = os.dup(handle)
        elif self._root.kernel.has_sync_all:
            self._needs_sync_all = True
        else:
            self._root.sync_folder(handle)
            return False
        return True

    def sync(self) -> None:
        """Sync what has changed. Raises OSError."""
        if self._needs_sync_all:
            self._root.kernel.sync_all(self._root.handle)
            return
        for handle in self._changed.values():
            self._root.sync_folder(handle)

    def _hold(self, name: SafeName, handle: int) -> HeldFolder:
        if len(self._held) >= MAX_HELD:
            release(self._held.pop(next(iter(self._held))).handle)
        try:
            about = os.fstat(handle)
            folder = self._held[name.parts] = HeldFolder(handle, about, self._root.has_made(about))
        except BaseException:
            release(handle)
            raise
        return folder
