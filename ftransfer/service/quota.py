"""How much more a share accepts: byte and file quotas, the largest file, reserved free space.

A ledger (quota_ledger.py) knows the current usage: a put needs no walk. Before a put is refused,
the usage is counted again. An upload is admitted if it would fit as a whole; then it claims only
what has arrived and a bounded amount ahead, so that nobody locks others out by announcing a large
file.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from ftransfer.auth.permissions import Principal
from ftransfer.errors import FtransferError, NotFound, QuotaFull
from ftransfer.names import ROOT, SafeName
from ftransfer.service.metered_writer import MeteredWriter
from ftransfer.service.quota_allocator import Allocator, Totals
from ftransfer.service.quota_ledger import NOTHING, Claim, Part
from ftransfer.service.quota_limits import QuotaLimits, refuse_large
from ftransfer.storage import small_files
from ftransfer.storage.base import FOLDER, SmallFile, Store, UploadSpec, Usage, Writer, usage_of
from ftransfer.system.threads import stop_task

# How often the free space is measured while an upload of unknown size grows.
_FREE_S = 0.5
# For uploads smaller than this, a measurement that old is good enough.
_FREE_IS_CHEAP = 8 << 20
# An upload that has not grown for this long claims nothing ahead.
_LAPSE_S = 60.0


class QuotaTracker:
    """Compares a store's usage with its quotas. Without a quota nothing is counted.

    `close` ends the task that keeps the usage current.
    """

    def __init__(self, store: Store, limits: QuotaLimits | None = None) -> None:
        self._allocator = Allocator(store, limits or QuotaLimits())
        self._ledger = self._allocator.ledger
        self._task: asyncio.Task[None] | None = None

    @property
    def limits(self) -> QuotaLimits:
        """The limits, which can be replaced at any time."""
        return self._allocator.limits

    @limits.setter
    def limits(self, limits: QuotaLimits) -> None:
        self._allocator.limits = limits

    def is_bounded(self, principal: Principal) -> bool:
        """Return whether any limit applies to what a principal may put."""
        return self._allocator.is_bounded(principal)

    def invalidate(self) -> None:
        """Note that something was removed or moved: the tree is recounted before a refusal."""
        self._ledger.invalidate()

    async def close(self) -> None:
        if self._task is not None:
            await stop_task(self._task)

    # Uploads.

    async def open_write(
        self, store: Store, principal: Principal, name: SafeName, announced: UploadSpec
    ) -> Writer:
        """Begin an upload if it fits. Raises QuotaFull, and as Store.open_write."""
        if not self.is_bounded(principal):
            return await store.open_write(name, announced)
        self._keep_fresh()
        claim = Claim(announced.owner, [(name, NOTHING)], announced.source, announced.size)
        older = self._same_upload(claim)
        try:
            if older is None:
                await self._admit_upload(store, principal, claim)
            else:
                self._ledger.take_over(older, claim)
            claim.writer = await store.open_write(name, announced)
        except BaseException:
            if older is not None and claim in self._ledger.claims:
                self._ledger.take_over(claim, older)
            self._ledger.drop(claim)
            raise
        return MeteredWriter(self._allocator, principal, claim, claim.writer)

    def _same_upload(self, claim: Claim) -> Claim | None:
        """Return an older attempt at this upload that still runs and claimed the same size."""
        key = (claim.name, claim.owner, claim.source, claim.size)
        others = (
            other
            for other in self._ledger.claims
            if (other.name, other.owner, other.source, other.size) == key
        )
        return next(others, None) if claim.source else None

    async def _admit_upload(self, store: Store, principal: Principal, claim: Claim) -> None:
        """Claim space for an upload that fits as a whole. Raises QuotaFull."""
        size, allocator = claim.size or 0, self._allocator
        refuse_large(self.limits, principal, claim.name, size)
        claim.kept = min(await self._kept(store, claim), size)
        whole = Usage(1, 1) if claim.size is None else usage_of(size)
        kept = usage_of(claim.kept) if claim.kept else NOTHING
        is_cheap = claim.size is not None and size - claim.kept <= _FREE_IS_CHEAP
        totals = await allocator.totals(principal, whole - kept, _FREE_S if is_cheap else 0.0)

        def decide() -> Claim:
            for quota, total in totals:
                knows_kept = quota.owner in (None, claim.owner)
                quota.refuse(claim.name, total, whole - kept if knows_kept else whole)
            allocator.refuse_space(claim.name, whole - kept)
            ahead = min(size - claim.kept, allocator.most_ahead(claim.owner, totals))
            usage = whole if claim.size == 0 else Usage(claim.kept + ahead, 1)
            claim.parts = [(claim.name, usage)]
            return claim

        allocator.claim(decide)

    async def _kept(self, store: Store, claim: Claim) -> int:
        """Return the bytes that an older attempt has left."""
        partial = await store.find_partial(claim.name, claim.owner) if claim.source else None
        return partial.kept if partial is not None and partial.source == claim.source else 0

    # Many small files at once.

    async def write_small(
        self, store: Store, principal: Principal, files: Sequence[SmallFile]
    ) -> Sequence[FtransferError | None]:
        """Publish the files of a pack that fit; return a result for each.

        The results are those of small_files.write_small, or QuotaFull for a file that does not fit.
        The pack is one claim, whatever the number of its files.
        """
        if not self.is_bounded(principal):
            return await small_files.write_small(store, files)
        self._keep_fresh()
        names = [SafeName.trusted(file.name) for file in files]
        folders = {name for name, file in zip(names, files, strict=True) if file.kind == FOLDER}
        above = await _missing(store, {name.parent for name in names}, {ROOT, *folders})
        wanted = _sum(above) + sum((_cost(file) for file in files), NOTHING)
        totals = await self._allocator.totals(principal, wanted, _FREE_S)
        refused: dict[int, FtransferError] = {}

        def decide() -> Claim:
            refused.update(self._refusals(principal, files, totals, _sum(above)))
            return Claim(principal.name, [*above, *_by_folder(fitting(files))])

        def fitting(things: Iterable[SmallFile]) -> list[SmallFile]:
            return [file for index, file in enumerate(things) if index not in refused]

        claim = self._allocator.claim(decide)
        try:
            written = await small_files.write_small(store, fitting(files))
        except BaseException:
            self._ledger.end(claim, claim.parts)  # some of it may be there
            raise
        results = zip(fitting(files), written, strict=True)
        there = [file for file, error in results if error is None]
        self._ledger.end(claim, [*above, *_by_folder(there)])
        rest = iter(written)
        return [refused[index] if index in refused else next(rest) for index in range(len(files))]

    def _refusals(
        self, principal: Principal, files: Sequence[SmallFile], totals: Totals, wanted: Usage
    ) -> dict[int, FtransferError]:
        """Return an error for each file that does not fit beside `wanted` and earlier files."""
        refused: dict[int, FtransferError] = {}
        for index, file in enumerate(files):
            name, cost = SafeName.trusted(file.name), _cost(file)
            try:
                refuse_large(self.limits, principal, name, len(file.data))
                self._allocator.refuse(name, totals, wanted + cost)
                wanted += cost
            except QuotaFull as error:
                refused[index] = error
        return refused

    async def make_folder(
        self, store: Store, principal: Principal, name: SafeName, *, parents: bool
    ) -> None:
        """Create a folder, if it fits. Raises QuotaFull, and as Store.make_folder."""
        if not self.is_bounded(principal):
            await store.make_folder(name, parents=parents)
            return
        self._keep_fresh()
        made = await _missing(store, {name}, {ROOT}) if parents else [(name, usage_of(0))]
        wanted = _sum(made)
        totals = await self._allocator.totals(principal, wanted, _FREE_S)

        def decide() -> Claim:
            if wanted != NOTHING:
                self._allocator.refuse(name, totals, wanted)
            return Claim(principal.name, made)

        claim = self._allocator.claim(decide)
        try:
            await store.make_folder(name, parents=parents)
        except BaseException:
            self._ledger.drop(claim)
            self.invalidate()
            raise
        self._ledger.end(claim, claim.parts)

    # Periodic refresh.

    def _keep_fresh(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        """Regularly recount, measure free space while uploads grow, and expire stalled claims."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_FREE_S)
            with contextlib.suppress(FtransferError):  # the next put meets the error itself
                if self._ledger.claims:
                    self._ledger.lapse(loop.time() - _LAPSE_S, loop.time())
                    await self._allocator.look_at_space(_FREE_S)
                await self._ledger.refresh()


async def _missing(store: Store, folders: Iterable[SafeName], known: set[SafeName]) -> list[Part]:
    """Return what each missing folder would use, at or above these."""
    missing = []
    for folder in folders:
        while folder not in known:
            known.add(folder)
            try:
                await store.stat(folder)
                break
            except NotFound:
                missing.append((folder, usage_of(0)))
            except FtransferError:
                break  # the store will refuse it and say why
            folder = folder.parent
    return missing


def _cost(file: SmallFile) -> Usage:
    return usage_of(len(file.data))


def _sum(parts: Iterable[Part]) -> Usage:
    return sum((usage for _, usage in parts), NOTHING)


def _by_folder(files: Iterable[SmallFile]) -> list[Part]:
    """Return the total of what goes into each folder."""
    sums: dict[SafeName, Usage] = {}
    for file in files:
        folder = SafeName.trusted(file.name).parent
        sums[folder] = sums.get(folder, NOTHING) + _cost(file)
    return list(sums.items())
