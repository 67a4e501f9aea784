"""The claims on a share's space: what fits into the quotas and beside the reserved free space."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ftransfer.auth.permissions import Principal
from ftransfer.names import SafeName
from ftransfer.service.free_space import FreeSpace
from ftransfer.service.quota_ledger import Claim, Ledger, Total
from ftransfer.service.quota_limits import (
    Quota,
    QuotaLimits,
    max_file_of,
    quotas_of,
    refuse_large,
)
from ftransfer.storage.base import Store, Usage

# The running uploads of one user together claim at most this part of the remaining space for bytes
# that are announced and have not arrived ...
_AHEAD_PART = 10
# ... but always at least this many bytes, and at most this many.
_LEAST_AHEAD = 1 << 20
_MOST_AHEAD = 1 << 30

Totals = Sequence[tuple[Quota, Total]]  # each quota that applies, with the current total


class Allocator:
    """The claims on one store. `grow` may be called in any thread, everything else on the loop."""

    def __init__(self, store: Store, limits: QuotaLimits) -> None:
        self.limits = limits
        self.ledger = Ledger(store)
        self._space = FreeSpace(store)
        # Held from the check of the remaining space to the claim: uploads grow in threads
        self._deciding = threading.Lock()

    def is_bounded(self, principal: Principal) -> bool:
        """Return whether any limit applies to what a principal may put."""
        most = max_file_of(self.limits, principal)
        quotas = quotas_of(self.limits, principal)
        return bool(quotas) or most is not None or self.limits.keep_free_bytes is not None

    async def totals(self, principal: Principal, wanted: Usage, age_s: float) -> Totals:
        """Return each quota with its current total, recounted if `wanted` does not fit.

        Args:
            age_s: The maximum age of the last measurement of the free space.
        """
        await self.look_at_space(age_s)
        found = []
        for quota in quotas_of(self.limits, principal):
            total = await self.ledger.total(quota.place, quota.owner)
            if not quota.holds(total, wanted):
                await self.ledger.recount(total)
            found.append((quota, total))
        return found

    async def look_at_space(self, age_s: float) -> None:
        """Measure the free space, if some is reserved."""
        if self.limits.keep_free_bytes is not None:
            await self._space.look(self.ledger.claims, age_s)

    def claim(self, decide: Callable[[], Claim]) -> Claim:
        """Add the claim that `decide` returns; it raises an error if the claim does not fit.

        Nothing else is claimed meanwhile.
        """
        with self._deciding:
            claim = decide()
            self.ledger.add(claim)
            self._space.take(sum((usage for _, usage in claim.parts), Usage(-claim.kept)))
            return claim

    def refuse(self, name: SafeName, totals: Totals, wanted: Usage) -> None:
        """Raise QuotaFull if something does not fit."""
        for quota, total in totals:
            quota.refuse(name, total, wanted)
        self.refuse_space(name, wanted)

    def refuse_space(self, name: SafeName, wanted: Usage) -> None:
        """Raise QuotaFull if something does not fit beside what is kept free."""
        if self.limits.keep_free_bytes is not None:
            self._space.refuse(name, wanted, self.limits.keep_free_bytes)

    def most_ahead(self, owner: str, totals: Totals) -> int:
        """Return how many bytes an upload of this user may claim before they arrive."""
        left = [
            quota.bytes - total.used.bytes for quota, total in totals if quota.bytes is not None
        ]
        if self.limits.keep_free_bytes is not None:
            left.append(self._space.left_bytes(self.limits.keep_free_bytes))
        most = max(_LEAST_AHEAD, min(_MOST_AHEAD, min(left, default=0) // _AHEAD_PART))
        ahead = sum(claim.ahead for claim in self.ledger.claims if claim.owner == owner)
        return max(0, most - ahead)

    def grow(self, principal: Principal, claim: Claim, size: int) -> None:
        """Let an upload claim bytes up to `size`. Raises QuotaFull."""
        refuse_large(self.limits, principal, claim.name, size)
        with self._deciding:
            more = Usage(size - claim.usage.bytes)
            for quota in quotas_of(self.limits, principal):
                total = self.ledger.find(quota.place, quota.owner)
                if total is not None:
                    quota.refuse(claim.name, total, more)
            self.refuse_space(claim.name, more)
            self.ledger.grow(claim, size)
            self._space.take(more)
