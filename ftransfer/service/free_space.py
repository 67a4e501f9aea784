"""The free space of the file system below a share, some of which stays reserved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ftransfer.errors import QuotaFull
from ftransfer.names import SafeName
from ftransfer.service.quota_ledger import NOTHING, Claim
from ftransfer.storage import listings
from ftransfer.storage.base import Space, Store, Usage
from ftransfer.units import format_limit

# For each of this many bytes kept free, one more file or folder stays possible, up to a part of
# all.
_BYTES_FOR_A_THING = 16_384
_THINGS_PART = 20


class FreeSpace:
    """The free space as last measured, minus what has been claimed since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._space = Space(0)
        self._looked_at = -1e9

    async def look(self, claims: Iterable[Claim], age_s: float) -> None:
        """Ask the file system, unless that was done within the last `age_s` seconds.

        Args:
            claims: Running uploads that are not yet complete on disk.
        """
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= age_s:
            self._looked_at = now
            self._space = await listings.space(self._store)
            self.take(sum((claim.unseen for claim in claims), NOTHING))

    def take(self, usage: Usage) -> None:
        """Subtract what has been claimed."""
        free_bytes, free_things, all_things = self._space
        things = None if free_things is None else free_things - usage.things
        self._space = Space(free_bytes - usage.bytes, things, all_things)

    def left_bytes(self, keep_bytes: int) -> int:
        """Return how many bytes may be claimed if `keep_bytes` stay free."""
        return self._space.free_bytes - keep_bytes

    def refuse(self, name: SafeName, wanted: Usage, keep_bytes: int) -> None:
        """Raise QuotaFull if something does not fit beside what is kept free."""
        if self.left_bytes(keep_bytes) < wanted.bytes:
            kept = format_limit(keep_bytes)
            raise QuotaFull.about(name, f"does not fit: {kept} of the server's disk are kept free")
        _, free_things, all_things = self._space
        keep_things = min(keep_bytes // _BYTES_FOR_A_THING, all_things // _THINGS_PART)
        if free_things is not None and free_things - wanted.things < keep_things:
            raise QuotaFull.about(
                name,
                f"does not fit: room for {keep_things} files is kept free on the server's disk",
            )
