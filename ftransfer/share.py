"""The policy door over a store: what the owner of the folder allows, decided in one place for every verb.

Wire text comes in, checked names go to the store. It knows nothing of sessions or sockets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ftransfer.errors import FtransferError, ReadOnly
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.names import SafeName, escape, parse_name, parse_path
from ftransfer.storage.base import Announcement, Entry, Reader, SmallFile, Store, Writer


class Share:
    """One folder as its owner offers it.

    Args:
        read_only: Nothing may be changed.
    """

    def __init__(self, store: Store, *, read_only: bool = False, limits: Limits = DEFAULT_LIMITS) -> None:
        self.store = store
        self.read_only = read_only
        self.limits = limits

    @property
    def durable(self) -> bool:
        return self.store.durable

    def list(self, path: str, *, recursive: bool = False, links: bool = False) -> AsyncIterator[Sequence[Entry]]:
        """Give the entries below a folder in batches. Raises as Store.list, and NameRefused."""
        return self.store.list(parse_path(path, self.limits), recursive=recursive, links=links)

    async def open_read(self, name: str) -> Reader:
        """Open a file. Raises as Store.open_read, and NameRefused."""
        return await self.store.open_read(parse_name(name, self.limits))

    async def open_write(self, name: str, announced: Announcement) -> Writer:
        """Begin an upload. Raises as Store.open_write, NameRefused and ReadOnly."""
        return await self.store.open_write(self._changed(name), announced)

    async def read_small(self, names: Sequence[SafeName], room_bytes: int) -> Sequence[SmallFile | Entry | FtransferError]:
        """Read small files for a pack. Gives as Store.read_small."""
        return await self.store.read_small(names, room_bytes)

    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[Entry | FtransferError]:
        """Publish the files of a pack. Gives as Store.write_small; for a read-only share, ReadOnly for each."""
        if self.read_only:
            return [ReadOnly(f"{escape(file.name)}: this share is read-only", name=file.name) for file in files]
        return await self.store.write_small(files)

    async def close(self) -> None:
        await self.store.close()

    def _changed(self, name: str) -> SafeName:
        safe = parse_name(name, self.limits)
        if self.read_only:
            raise ReadOnly(f"{escape(name)}: this share is read-only", name=name)
        return safe
