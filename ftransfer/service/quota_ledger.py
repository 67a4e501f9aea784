"""The usage of some places in a share: the count of the last walk, plus changes since.

A leaf above storage. The account errs on the safe side: it may count something twice until the next
walk, but never forgets anything. Totals are maintained, not summed again: reading the usage costs
the same whatever is running.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from ftransfer.names import ROOT, SafeName
from ftransfer.storage import listings
from ftransfer.storage.base import Store, Usage, Writer, usage_of
from ftransfer.storage.capabilities import reserved_bytes

# After a walk starts, the next one waits at least this many times its duration: walks take at most
# a twentieth of one thread; half of one if something has changed since and a put needs it.
_REST = 20
_REST_IF_CHANGED = 2
# A put waits this long for a walk before it is refused.
_PATIENCE_S = 1.0
_REFRESH_S = 60.0

Scope = tuple[SafeName, ...]  # folders, none below another
Part = tuple[SafeName, Usage]  # what will lie at a name, or directly in the folder of that name
NOTHING = Usage()


@dataclass(eq=False, slots=True)
class Claim:
    """What somebody is about to put: `parts` name where it goes, and how much.

    For an upload that is one part, of which `kept` bytes remain from an older attempt; its claim
    may grow.
    """

    owner: str
    parts: list[Part]
    source: str = ""
    size: int | None = None  # as announced
    kept: int = 0
    writer: Writer | None = None
    # The number of bytes when it last changed, and the time of that change
    seen_at: tuple[int, float] = (
        -1,
        0.0,
    )

    @property
    def name(self) -> SafeName:
        return self.parts[0][0] if self.parts else ROOT

    @property
    def usage(self) -> Usage:
        return self.parts[0][1]

    @property
    def came(self) -> int:
        """The bytes that have arrived."""
        return self.kept if self.writer is None else self.writer.offset

    @property
    def ahead(self) -> int:
        """The bytes that an upload claims and that have not arrived."""
        return 0 if self.size is None else max(0, self.usage.bytes - self.came)

    @property
    def unseen(self) -> Usage:
        """The disk space that it will use and that the system does not know of yet."""
        if self.writer is None:
            return sum((usage for _, usage in self.parts), Usage(-self.kept))
        return Usage(max(0, self.usage.bytes - max(self.came, reserved_bytes(self.writer))))


@dataclass(eq=False, slots=True)
class Total:
    """The usage of one place.

    `walked` is from the last walk; `added` has come since that began; `pending` is claimed and in
    neither. `seen` has how much of a claim is in `walked`; each place is walked at its own times.
    """

    place: Scope
    owner: str | None  # whose partials count as well; None: everybody's
    walked: Usage | None = field(default=None, init=False)
    added: Usage = field(default=NOTHING, init=False)
    pending: Usage = field(default=NOTHING, init=False)
    walked_at: float = field(default=-1e9, init=False)
    took_s: float = field(default=0.0, init=False)
    has_changed: bool = field(default=False, init=False)
    seen: dict[Claim, Usage] = field(default_factory=dict, init=False)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def used(self) -> Usage:
        return (self.walked or NOTHING) + self.added + self.pending

    def covers(self, name: SafeName) -> bool:
        return any(name.is_within(folder) for folder in self.place)


class Ledger:
    """The totals of one store, and the claims on it.

    `grow` may be called in any thread, everything else on the loop.
    """

    def __init__(self, store: Store) -> None:
        self.claims: set[Claim] = set()
        self._store = store
        self._totals: dict[tuple[Scope, str | None], Total] = {}
        self._at: dict[SafeName, list[Total]] = {}  # by each folder of their places
        self._lock = threading.Lock()  # uploads grow in threads

    def find(self, place: Scope, owner: str | None) -> Total | None:
        """Return a total that was requested before."""
        return self._totals.get((place, owner))

    async def total(self, place: Scope, owner: str | None) -> Total:
        """Return the total of a place, walked at least once."""
        total = self._totals.get((place, owner))
        if total is None:
            total = self._totals[place, owner] = Total(place, owner)
            for folder in place:
                self._at.setdefault(folder, []).append(total)
            self._sum_pending(total, {claim: self._kept(total, claim) for claim in self.claims})
        if total.walked is None:
            await self.recount(total)
        return total

    # Claims.

    def add(self, claim: Claim) -> None:
        """Count a claim from now on, until it is dropped or ended."""
        with self._lock:
            self.claims.add(claim)
            for name, usage in claim.parts:
                for total in self._totals_at(name):
                    total.pending += usage
                    if (kept := self._kept(total, claim)) != NOTHING:
                        total.seen[claim] = kept
                        total.pending -= kept

    def grow(self, claim: Claim, size: int) -> None:
        """Let an upload claim more bytes, or fewer. The caller holds no lock."""
        with self._lock:
            if claim in self.claims:
                more = Usage(size - claim.usage.bytes)
                claim.parts[0] = (claim.name, claim.usage + more)
                for total in self._totals_at(claim.name):
                    total.pending += more

    def lapse(self, before_s: float, now_s: float) -> None:
        """Reduce the claims of uploads that have not grown since a time to what has arrived."""
        for claim in [claim for claim in self.claims if claim.ahead]:
            came, at_s = claim.seen_at
            if came != claim.came:
                claim.seen_at = claim.came, now_s
            elif at_s <= before_s:
                self.grow(claim, came)

    def drop(self, claim: Claim) -> None:
        """Forget a claim whose operation failed."""
        self._end(claim, None)

    def end(self, claim: Claim, left: Sequence[Part]) -> None:
        """Replace a claim by what it has left behind, as files or a partial."""
        self._end(claim, left)
        self.invalidate()  # it may have replaced something, or left less than expected

    def _end(self, claim: Claim, left: Sequence[Part] | None) -> None:
        with self._lock:
            if claim not in self.claims:
                return
            self.claims.discard(claim)
            for name, usage in claim.parts:
                for total in self._totals_at(name):
                    seen = total.seen.pop(claim, NOTHING)
                    total.pending += seen - usage
                    if left is not None:
                        total.added -= seen
            for name, usage in left or ():
                for total in self._totals_at(name):
                    total.added += usage

    def take_over(self, older: Claim, newer: Claim) -> None:
        """Transfer the space of a claim to another."""
        with self._lock:
            newer.kept, newer.writer, newer.parts = older.kept, older.writer, older.parts
            self.claims.discard(older)
            self.claims.add(newer)
            for total in self._totals_at(newer.name):
                if older in total.seen:
                    total.seen[newer] = total.seen.pop(older)

    def invalidate(self) -> None:
        """Note that something was removed or replaced: the tree is recounted before a refusal."""
        for total in self._totals.values():
            total.has_changed = True

    def _totals_at(self, name: SafeName) -> list[Total]:
        """Return the totals whose place contains a name, found at each of the folders above it."""
        return [
            total
            for depth in range(len(name.parts) + 1)
            for total in self._at.get(SafeName(name.parts[:depth]), ())
        ]

    @staticmethod
    def _kept(total: Total, claim: Claim) -> Usage:
        """Return how much of an upload is counted already, since an older attempt left it."""
        return (
            usage_of(claim.kept) if claim.kept and total.owner in (None, claim.owner) else NOTHING
        )

    # Walks.

    async def recount(self, total: Total) -> None:
        """Count again, unless the last count is recent enough."""
        loop = asyncio.get_running_loop()
        async with total.lock:
            rest_s = total.took_s * (_REST_IF_CHANGED if total.has_changed else _REST)
            left_s = total.walked_at + rest_s - loop.time()
            if left_s > 0:
                if not total.has_changed or left_s > _PATIENCE_S:
                    return
                await asyncio.sleep(left_s)
            total.has_changed = False
            began, added_before = loop.time(), total.added
            under_way = {claim for claim in self.claims if claim.writer is not None}
            seen = {claim: usage_of(claim.came) for claim in under_way}
            if total.owner is not None and ROOT not in total.place:
                # Running uploads lie elsewhere and are not counted there: one that ends meanwhile
                # is added as a whole.
                seen = dict.fromkeys(under_way, NOTHING)
                self._sum_pending(total, seen)
            walked = await self._walk(total, under_way)
            total.walked, total.walked_at, total.took_s = walked, began, loop.time() - began
            total.added -= added_before
            # Uploads that have ended are also in `added`, until the next walk.
            self._sum_pending(
                total, {claim: usage for claim, usage in seen.items() if claim in self.claims}
            )

    async def _walk(self, total: Total, under_way: set[Claim]) -> Usage:
        walked = NOTHING
        for folder in total.place:
            walked += await listings.usage(self._store, folder)
        if total.owner is not None and ROOT not in total.place:
            keys = {
                (str(claim.name), claim.source) for claim in under_way if claim.owner == total.owner
            }
            for partial in await self._store.partials():
                if partial.owner == total.owner and (partial.name, partial.source) not in keys:
                    walked += usage_of(partial.kept)
        return walked

    def _sum_pending(self, total: Total, seen: dict[Claim, Usage]) -> None:
        with self._lock:
            total.seen = {
                claim: usage
                for claim, usage in seen.items()
                if usage != NOTHING and total.covers(claim.name)
            }
            total.pending = NOTHING
            for claim in self.claims:
                for name, usage in claim.parts:
                    if total.covers(name):
                        total.pending += usage
                total.pending -= total.seen.get(claim, NOTHING)

    async def refresh(self) -> None:
        """Recount totals that are old, since other programs change the folder too."""
        now = asyncio.get_running_loop().time
        for total in list(self._totals.values()):
            if now() - total.walked_at > max(_REFRESH_S, _REST * total.took_s):
                await self.recount(total)
