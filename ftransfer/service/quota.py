"""How much may still be put into a share: quotas of bytes and of files, the largest file, the room
that is to stay free.

What is there is known by a ledger (ledger.py): a put costs no walk. A put that would be refused is
counted anew first. An upload is admitted if it would fit as a whole; what it claims from then on is
what has come and a bounded piece more, so that nobody locks others out by an announcement.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ftransfer.auth.permissions import Allowance, Principal
from ftransfer.digest import Digest
from ftransfer.errors import FtransferError, NotFound, QuotaFull
from ftransfer.names import ROOT, SafeName
from ftransfer.service.quota_ledger import NOTHING, Claim, Ledger, Part, Scope, Total
from ftransfer.storage import listings, small_files
from ftransfer.storage.base import (
    FOLDER,
    Entry,
    SmallFile,
    Space,
    Store,
    UploadSpec,
    Usage,
    Writer,
    usage_of,
)
from ftransfer.storage.capabilities import Part as FilePart
from ftransfer.storage.capabilities import (
    reserved_bytes,
    supports_blocking_writes,
    supports_threads,
    takes_parts,
)
from ftransfer.system.threads import stop_task
from ftransfer.units import format_size

# How often the free room is looked at while an upload of unknown size grows.
_FREE_S = 0.5
# Below this, a look at the free room of so long ago is good enough.
_FREE_IS_CHEAP = 8 << 20
# Of what is announced and has not come, all uploads of one user together claim at most this part of
# what is left ...
_AHEAD_PART = 10
# ... but so many bytes in any case, and no more than these. What has not grown for so long claims
# nothing ahead.
_LEAST_AHEAD = 1 << 20
_MOST_AHEAD = 1 << 30
_LAPSE_S = 60.0
# A quota of bytes allows one thing for so many of them, and so many in any case, where no number of
# files is given: a file of one byte takes more of a disk than that byte.
_BYTES_FOR_A_THING = 1024
_LEAST_THINGS = 1024
# For so many bytes that are kept free, one thing more stays possible, but no more than a part of
# all.
_FREE_BYTES_FOR_A_THING = 16_384
_FREE_THINGS_PART = 20

_EVERYWHERE: Scope = (ROOT,)


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What the owner of a share allows; None for no bound.

    `all` is for everybody together, `each` for each user who has no allowance of their own;
    `keep_free_bytes` is to stay free on the file system.
    """

    all: Allowance = Allowance()
    each: Allowance = Allowance()
    keep_free_bytes: int | None = None


class _Quota(NamedTuple):
    """A bound on what lies at a place, of which `total` is there. `owner` is None if it is for all
    together.
    """

    place: Scope
    owner: str | None
    bytes: int | None
    things: int

    def holds(self, total: Total, wanted: Usage) -> bool:
        used = total.used + wanted
        return (self.bytes is None or used.bytes <= self.bytes) and used.things <= self.things

    def refuse(self, name: SafeName, total: Total, wanted: Usage) -> None:
        """Raise QuotaFull if it does not fit."""
        if not self.holds(total, wanted):
            whose = "the share's quota" if self.owner is None else "your quota"
            is_bytes = self.bytes is not None and total.used.bytes + wanted.bytes > self.bytes
            most = (
                format_size(self.bytes)
                if is_bytes and self.bytes is not None
                else f"{self.things} files and folders"
            )
            raise _full(name, f"does not fit into {whose} of {most}")


class QuotaTracker:
    """The account of one store. `close` ends what keeps it fresh; without a bound nothing is
    counted at all.
    """

    def __init__(self, store: Store, bounds: QuotaLimits | None = None) -> None:
        self.bounds = bounds or QuotaLimits()
        self._store = store
        self._ledger = Ledger(store)
        self._space = Space(0)  # when it was last looked at, less what has been claimed since
        self._space_at = -1e9
        # From a look at what is left to the claim: uploads grow in threads
        self._deciding = threading.Lock()
        self._task: asyncio.Task[None] | None = None

    def is_bounded(self, principal: Principal) -> bool:
        quota, most = self._quotas(principal), self._max_file(principal)
        return bool(quota) or most is not None or self.bounds.keep_free_bytes is not None

    def invalidate(self) -> None:
        """Take note that something was removed or moved: before a put is refused, the tree is
        counted anew.
        """
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
        return _MeteredWriter(self, principal, claim, claim.writer)

    def _same_upload(self, claim: Claim) -> Claim | None:
        """Return an older attempt at an upload that is still under way, and that needed as much
        room.
        """
        key = (claim.name, claim.owner, claim.source, claim.size)
        others = (
            other
            for other in self._ledger.claims
            if (other.name, other.owner, other.source, other.size) == key
        )
        return next(others, None) if claim.source else None

    async def _admit_upload(self, store: Store, principal: Principal, claim: Claim) -> None:
        """Claim room for an upload that fits as a whole. Raises QuotaFull."""
        size = claim.size or 0
        self._refuse_large(principal, claim.name, size)
        claim.kept = min(await self._kept(store, claim), size)
        whole = Usage(1, 1) if claim.size is None else usage_of(size)
        kept = usage_of(claim.kept) if claim.kept else NOTHING
        await self._look_at_space(
            0.0 if size - claim.kept > _FREE_IS_CHEAP or claim.size is None else _FREE_S
        )
        totals = await self._totals(principal, whole - kept)
        with self._deciding:
            for quota, total in totals:
                quota.refuse(
                    claim.name, total, whole - kept if quota.owner in (None, claim.owner) else whole
                )
            self._refuse_space(claim.name, whole - kept)
            if claim.size == 0:
                usage = whole
            else:
                usage = Usage(
                    claim.kept + min(size - claim.kept, self._most_ahead(claim.owner, totals)), 1
                )
            claim.parts = [(claim.name, usage)]
            self._claim(claim)

    async def _kept(self, store: Store, claim: Claim) -> int:
        """Return the bytes that an older attempt has left."""
        partial = await store.find_partial(claim.name, claim.owner) if claim.source else None
        return partial.kept if partial is not None and partial.source == claim.source else 0

    def _most_ahead(self, owner: str, totals: Sequence[tuple[_Quota, Total]]) -> int:
        """Return how many bytes that have not come yet an upload of this user may claim."""
        left = [
            quota.bytes - total.used.bytes for quota, total in totals if quota.bytes is not None
        ]
        if self.bounds.keep_free_bytes is not None:
            left.append(self._space.free_bytes - self.bounds.keep_free_bytes)
        most = max(_LEAST_AHEAD, min(_MOST_AHEAD, min(left, default=0) // _AHEAD_PART))
        return max(
            0, most - sum(claim.ahead for claim in self._ledger.claims if claim.owner == owner)
        )

    def grow(self, principal: Principal, claim: Claim, size: int) -> None:
        """Let an upload claim bytes up to `size`, in any thread. Raises QuotaFull."""
        self._refuse_large(principal, claim.name, size)
        with self._deciding:
            more = Usage(size - claim.usage.bytes)
            for quota in self._quotas(principal):
                total = self._ledger.find(quota.place, quota.owner)
                if total is not None:
                    quota.refuse(claim.name, total, more)
            self._refuse_space(claim.name, more)
            self._ledger.grow(claim, size)
            self._take_space(more)

    def end(self, claim: Claim, left_bytes: int | None) -> None:
        """End the claim of an upload that has left so many bytes behind, as a file or a partial;
        None for nothing at all.
        """
        self._ledger.end(claim, [] if left_bytes is None else [(claim.name, usage_of(left_bytes))])

    # Many small things at once.

    async def write_small(
        self, store: Store, principal: Principal, files: Sequence[SmallFile]
    ) -> Sequence[FtransferError | None]:
        """Publish the files of a pack that fit; QuotaFull for each that does not. Gives as
        Store.write_small.

        The pack is one claim, whatever the number of its files.
        """
        if not self.is_bounded(principal):
            return await small_files.write_small(store, files)
        self._keep_fresh()
        names = [SafeName.trusted(file.name) for file in files]
        costs = [usage_of(len(file.data)) for file in files]
        known = {
            ROOT,
            *(name for name, file in zip(names, files, strict=True) if file.kind == FOLDER),
        }
        above = await self._missing(store, {name.parent for name in names}, known)
        await self._look_at_space(_FREE_S)
        totals = await self._totals(principal, _sum(above) + sum(costs, NOTHING))
        with self._deciding:
            wanted, refused = _sum(above), dict[int, FtransferError]()
            for index, (name, cost) in enumerate(zip(names, costs, strict=True)):
                try:
                    self._refuse_large(principal, name, len(files[index].data))
                    for quota, total in totals:
                        quota.refuse(name, total, wanted + cost)
                    self._refuse_space(name, wanted + cost)
                    wanted += cost
                except QuotaFull as error:
                    refused[index] = error
            items = [
                (name.parent, cost)
                for index, (name, cost) in enumerate(zip(names, costs, strict=True))
                if index not in refused
            ]
            claim = Claim(principal.name, [*above, *_by_folder(items)])
            self._claim(claim)
        try:
            written = await small_files.write_small(
                store, [file for index, file in enumerate(files) if index not in refused]
            )
        except BaseException:
            self._ledger.end(claim, claim.parts)  # some of it may be there
            raise
        self._ledger.end(
            claim,
            [
                *above,
                *_by_folder(
                    item for item, error in zip(items, written, strict=True) if error is None
                ),
            ],
        )
        rest = iter(written)
        return [refused[index] if index in refused else next(rest) for index in range(len(files))]

    async def make_folder(
        self, store: Store, principal: Principal, name: SafeName, *, parents: bool
    ) -> None:
        """Make a folder, if it fits. Raises QuotaFull, and as Store.make_folder."""
        if not self.is_bounded(principal):
            await store.make_folder(name, parents=parents)
            return
        self._keep_fresh()
        claim = Claim(
            principal.name,
            await self._missing(store, {name}, {ROOT}) if parents else [(name, usage_of(0))],
        )
        await self._look_at_space(_FREE_S)
        wanted = _sum(claim.parts)
        totals = await self._totals(principal, wanted)
        with self._deciding:
            if wanted != NOTHING:
                for quota, total in totals:
                    quota.refuse(name, total, wanted)
                self._refuse_space(name, wanted)
            self._claim(claim)
        try:
            await store.make_folder(name, parents=parents)
        except BaseException:
            self._ledger.drop(claim)
            self.invalidate()
            raise
        self._ledger.end(claim, claim.parts)

    async def _missing(
        self, store: Store, folders: Iterable[SafeName], known: set[SafeName]
    ) -> list[Part]:
        """Return what the folders take that would have to be made for these."""
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
                    break  # the store will refuse it, and say why
                folder = folder.parent
        return missing

    # The bounds.

    def _quotas(self, principal: Principal) -> list[_Quota]:
        own, each, all_ = principal.allowance, self.bounds.each, self.bounds.all
        size = each.quota_bytes if own.quota_bytes is None else own.quota_bytes
        files = each.quota_files if own.quota_files is None else own.quota_files
        quotas = []
        if all_.quota_bytes is not None or all_.quota_files is not None:
            quotas.append(
                _Quota(
                    _EVERYWHERE,
                    None,
                    all_.quota_bytes,
                    _most_things(all_.quota_bytes, all_.quota_files),
                )
            )
        if size is not None or files is not None:
            quotas.append(
                _Quota(principal.places_to_write(), principal.name, size, _most_things(size, files))
            )
        return quotas

    async def _totals(self, principal: Principal, wanted: Usage) -> list[tuple[_Quota, Total]]:
        """Return each quota with what is there, counted anew if that does not fit."""
        found = []
        for quota in self._quotas(principal):
            total = await self._ledger.total(quota.place, quota.owner)
            if not quota.holds(total, wanted):
                await self._ledger.recount(total)
            found.append((quota, total))
        return found

    def _max_file(self, principal: Principal) -> int | None:
        own = principal.allowance.max_file_bytes
        each = self.bounds.each.max_file_bytes if own is None else own
        bounds = [bound for bound in (each, self.bounds.all.max_file_bytes) if bound is not None]
        return min(bounds) if bounds else None

    def _refuse_large(self, principal: Principal, name: SafeName, size: int) -> None:
        most = self._max_file(principal)
        if most is not None and size > most:
            raise _full(name, f"is larger than the {format_size(most)} that one file may have")

    # The room on the disk.

    def _refuse_space(self, name: SafeName, wanted: Usage) -> None:
        keep = self.bounds.keep_free_bytes
        if keep is None:
            return
        if self._space.free_bytes - wanted.bytes < keep:
            raise _full(
                name, f"does not fit: {format_size(keep)} of the server's disk are kept free"
            )
        keep_things = min(
            keep // _FREE_BYTES_FOR_A_THING, self._space.all_things // _FREE_THINGS_PART
        )
        if (
            self._space.free_things is not None
            and self._space.free_things - wanted.things < keep_things
        ):
            raise _full(
                name,
                f"does not fit: room for {keep_things} files is kept free on the server's disk",
            )

    def _claim(self, claim: Claim) -> None:
        self._ledger.add(claim)
        self._take_space(_sum(claim.parts) - Usage(claim.kept))

    def _take_space(self, usage: Usage) -> None:
        free_bytes, free_things, all_things = self._space
        things = None if free_things is None else free_things - usage.things
        self._space = Space(free_bytes - usage.bytes, things, all_things)

    async def _look_at_space(self, age_s: float) -> None:
        now = asyncio.get_running_loop().time()
        if self.bounds.keep_free_bytes is not None and now - self._space_at >= age_s:
            self._space_at = now
            self._space = await listings.space(self._store)
            self._take_space(sum((claim.unseen for claim in self._ledger.claims), NOTHING))

    def _keep_fresh(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        """Count anew now and then; look at the free room while something grows; let claims lapse
        that do not grow.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_FREE_S)
            with contextlib.suppress(FtransferError):  # whoever puts next meets the error itself
                if self._ledger.claims:
                    self._ledger.lapse(loop.time() - _LAPSE_S, loop.time())
                    await self._look_at_space(_FREE_S)
                await self._ledger.refresh()


class _MeteredWriter:
    """A Writer whose bytes are in the account. See base.Writer."""

    def __init__(
        self, quota: QuotaTracker, principal: Principal, claim: Claim, writer: Writer
    ) -> None:
        self.name = writer.name
        self.resumed_bytes = writer.resumed_bytes
        self.restarted = writer.restarted
        self.supports_threads = supports_threads(writer)
        self._quota = quota
        self._principal = principal
        self._claim = claim
        self._writer = writer
        # Bytes that have come, or are to come in parts that were begun
        self._in_parts = writer.resumed_bytes

    @property
    def reserved(self) -> int:
        return reserved_bytes(self._writer)

    @property
    def replaced(self) -> bool:
        return self._writer.replaced

    @property
    def offset(self) -> int:
        return self._writer.offset

    @property
    def takes_parts(self) -> bool:
        return takes_parts(self._writer)

    async def open_part(self, offset: int, length: int) -> FilePart:
        writer = self._writer
        assert takes_parts(writer)
        part = await writer.open_part(offset, length)
        try:
            # One that is sent twice counts twice, but no upload needs more than it has announced.
            self._in_parts = min(self._in_parts + length, self._claim.size or 0)
            self._need(self._in_parts)
        except BaseException:
            await part.drop()
            raise
        return part

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._need(self._writer.offset + len(data))
        await self._writer.write(data)

    async def read(self, offset: int, size: int) -> bytes:
        return await self._writer.read(offset, size)

    def write_blocking(self, data: memoryview) -> None:
        writer = self._writer
        self._need(writer.offset + len(data))
        assert supports_blocking_writes(writer)
        writer.write_blocking(data)

    def _need(self, size: int) -> None:
        """Have room for so many bytes in all. Raises QuotaFull."""
        if size > self._claim.usage.bytes:
            self._quota.grow(self._principal, self._claim, size)

    def read_blocking(self, offset: int, view: memoryview) -> int:
        writer = self._writer
        assert supports_threads(writer)
        return writer.read_blocking(offset, view)

    async def commit(self, digest: Digest) -> Entry:
        entry = await self._writer.commit(digest)
        self._quota.end(self._claim, entry.size)
        return entry

    async def suspend(self, *, discard_tail: int = 0) -> None:
        left = max(self.resumed_bytes, self.offset - discard_tail) if self._claim.source else 0
        self._quota.end(self._claim, left or None)
        await self._writer.suspend(discard_tail=discard_tail)

    async def abort(self) -> None:
        self._quota.end(self._claim, None)
        await self._writer.abort()


def _most_things(quota_bytes: int | None, quota_files: int | None) -> int:
    """Return how many things a quota allows; some number follows from the bytes, where none is
    given.
    """
    if quota_files is not None or quota_bytes is None:
        return quota_files or 0
    return max(_LEAST_THINGS, quota_bytes // _BYTES_FOR_A_THING)


def _sum(parts: Iterable[Part]) -> Usage:
    return sum((usage for _, usage in parts), NOTHING)


def _by_folder(items: Iterable[Part]) -> list[Part]:
    """Return the sums of what goes into each folder."""
    sums: dict[SafeName, Usage] = {}
    for folder, usage in items:
        sums[folder] = sums.get(folder, NOTHING) + usage
    return list(sums.items())


def _full(name: SafeName, why: str) -> QuotaFull:
    return QuotaFull.about(name, why)
