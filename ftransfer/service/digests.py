"""The known digests of a share's files, and the computing of unknown ones.

A get of a file that was put, sent or checked before need not hash it again. One rule makes the
cache safe: a digest is remembered for the file as described before it was read, and only if that
description was old enough by then for any later change to show in it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from ftransfer.digest import Digest
from ftransfer.limits import Limits
from ftransfer.service.token_bucket import TokenBucket
from ftransfer.storage.base import Entry, Reader
from ftransfer.system.turns import Turns
from ftransfer.transfer.running_digest import STEP_BYTES, RunningDigest

_MAX_OWNERS = 1024  # whose spending is remembered, as long as it matters
_CAPACITY = 32_768  # about 15 MB
# File systems round times to ticks: 10 ms for most, 2 s for FAT. Two changes within a tick look
# like one.
_TICK_NS = 2_500_000_000
# A program that writes through a memory map may change content without changing times. An entry
# that this spoils lives no longer than this.
_MAX_AGE_NS = 3_600_000_000_000

_Stamp = tuple[str, int, int, int]


class DigestCache:
    """Name -> digest, as long as the file is unchanged. The least recently used go first.

    Args:
        now_ns: The clock of the file system, in nanoseconds since 1970.
    """

    def __init__(self, capacity: int = _CAPACITY, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.now_ns = now_ns
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[_Stamp, int, Digest]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, entry: Entry) -> Digest | None:
        """Return the known digest of the file that `entry` describes as of now, or None."""
        known = self._known.get(entry.name)
        if known is None:
            return None
        stamp, at_ns, digest = known
        if stamp != _stamp(entry) or not 0 <= self.now_ns() - at_ns <= _MAX_AGE_NS:
            del self._known[entry.name]
            return None
        self._known.move_to_end(entry.name)
        return digest

    def read(self, entry: Entry, digest: Digest, opened_ns: int) -> None:
        """Remember the digest of what was read from a file.

        A change after the file was opened sets its ctime to then or later. So if the ctime in
        `entry` was past by then, no changed file is ever taken for this one.

        Args:
            entry: The file as it was when it was opened.
            opened_ns: `now_ns` from before that.
        """
        self._remember(entry, digest, entry.ctime_ns or entry.mtime_ns, opened_ns)

    def published(self, entry: Entry, digest: Digest) -> None:
        """Remember the digest of what a put has just published.

        Its ctime is that of the rename, thus always new. But nobody could write to the file before,
        and a write from now on sets its mtime to now: if the mtime that the put set is past, the
        change shows.
        """
        self._remember(entry, digest, entry.mtime_ns, self.now_ns())

    def _remember(self, entry: Entry, digest: Digest, changed_ns: int, by_ns: int) -> None:
        self._known.pop(entry.name, None)
        if not entry.identity or changed_ns + _TICK_NS > by_ns:
            return
        self._known[entry.name] = _stamp(entry), self.now_ns(), digest
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)


def _stamp(entry: Entry) -> _Stamp:
    return entry.identity, entry.size, entry.mtime_ns, entry.ctime_ns


class DigestService:
    """What all sessions of a server share: the cache, and the limited slots for computing.

    The caller is an owner: a principal at a source. Owners take turns, a step each; of one owner's
    files, the one with the least left goes first. A step is paid for before it is done.

    Args:
        clock: Returns seconds that never go back; the loop's own by default.
        later: Calls a function after a number of seconds.
    """

    def __init__(
        self,
        limits: Limits,
        cache: DigestCache | None = None,
        clock: Callable[[], float] | None = None,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.cache = cache if cache is not None else DigestCache()
        self._limits = limits
        self._clock = clock or loop.time
        self._later = later or loop.call_later
        self._turns = Turns(limits.max_checksums, limits.max_checksums, self._may_go)
        self._budgets: dict[
            str, TokenBucket
        ] = {}  # by owner: a burst at once, then a constant rate
        self._pausing: set[str] = set()

    async def of(self, reader: Reader, opened_ns: int, owner: str) -> Digest:
        """Return the digest of a file, computed in the owner's turns if it is not known.

        Args:
            opened_ns: `cache.now_ns` from before it was opened.

        Raises:
            SourceChanged: It changed while it was read.
        """
        size = reader.entry.size
        running = RunningDigest(reader)
        try:
            known = self.cache.find(reader.entry)
            if known is not None:
                return known
            async with self._turns.take(owner, size) as turn:
                while running.position < size:
                    # Another session may have computed the same one
                    known = self.cache.find(reader.entry)
                    if known is not None:
                        return known
                    await self._step(running, size, self._budget_of(owner))
                    if running.position < size:
                        await turn.again(size - running.position)
            digest = await running.finish(size)
            await reader.check()
        finally:
            await running.close()
        self.cache.read(reader.entry, digest, opened_ns)
        return digest

    async def _step(self, running: RunningDigest, size: int, budget: TokenBucket) -> None:
        began_at = running.position
        paid = min(size - began_at, STEP_BYTES)
        budget.take(paid, self._clock())
        try:
            await running.step(size)
        finally:
            # Refund what it had no time for
            budget.give_back(paid - (running.position - began_at))

    def _may_go(self, owner: str) -> bool:
        wait_s = self._budget_of(owner).wait_s(self._clock())
        if wait_s > 0 and owner not in self._pausing:
            self._pausing.add(owner)
            self._later(wait_s, lambda: self._resume(owner))
        return wait_s <= 0

    def _resume(self, owner: str) -> None:
        self._pausing.discard(owner)
        self._turns.look()

    def _budget_of(self, owner: str) -> TokenBucket:
        budget = self._budgets.get(owner)
        if budget is None:
            if len(self._budgets) >= _MAX_OWNERS:
                now = self._clock()
                self._budgets = {
                    name: other for name, other in self._budgets.items() if not other.is_full(now)
                }
            rate, burst_s = self._limits.checksum_rate_bytes, self._limits.checksum_burst_s
            budget = self._budgets[owner] = TokenBucket(rate, burst_s)
        return budget
