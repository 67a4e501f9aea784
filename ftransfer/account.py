"""How much the share holds, and whether an upload still fits: quotas, the largest file, the room that is to stay free.

What is there is counted by walking the tree in the background, now and then; between two walks a running account is kept of what
has been published and of what uploads under way will need. So a put costs no walk, and the account errs on the safe side: what it
may count twice until the next walk, it never forgets. A put that would be refused is counted anew first.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from ftransfer.amounts import format_size
from ftransfer.digest import Digest
from ftransfer.errors import FtransferError, QuotaFull
from ftransfer.jobs import stop_task
from ftransfer.names import ROOT, SafeName, escape
from ftransfer.rights import Allowance, Principal
from ftransfer.storage.base import Announcement, Entry, Part, SmallFile, Store, Writer

# A walk is not begun again before so many times its own duration have passed: it takes at most a twentieth of one thread; half of
# one if something has changed since, and a put depends on it.
_REST = 20
_REST_IF_CHANGED = 2
# A put waits so long for that rather than be refused.
_PATIENCE_S = 1.0
_REFRESH_S = 60.0
# How often the free room is looked at while an upload of unknown size grows.
_FREE_S = 0.5
# Below this, a look at the free room of so long ago is good enough.
_FREE_IS_CHEAP = 8 << 20

Place = tuple[SafeName, ...]  # folders, none below another
_EVERYWHERE: Place = (ROOT,)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the owner of a share allows; None for no bound.

    `all` is for everybody together, `each` for each user who has no allowance of their own; `keep_free_bytes` is to stay free on
    the file system.
    """

    all: Allowance = Allowance()
    each: Allowance = Allowance()
    keep_free_bytes: int | None = None


@dataclass(eq=False, slots=True)
class _Upload:
    """One upload under way. `size` bytes will be there in the end, as far as is known; `kept` of them an older attempt has left."""

    name: SafeName
    owner: str
    source: str
    size: int
    kept: int = 0
    writer: Writer | None = None

    @property
    def coming(self) -> int:
        return max(0, self.size - self.kept)

    @property
    def unseen(self) -> int:
        """What it will take of the disk, and the system does not know of yet."""
        if self.writer is None:
            return self.coming
        return 0 if self.writer.has_room else max(0, self.size - self.writer.offset)


@dataclass(slots=True)
class _Sum:
    """What lies at one place. `walked` by the last walk; `added` since that walk began.

    `seen` has how many bytes of an upload under way are in `walked`; each place is walked at times of its own.
    """

    owner: str | None  # whose partials count as well
    walked: int = -1
    added: int = 0
    walked_at: float = -1e9
    took_s: float = 0.0
    has_changed: bool = False
    seen: dict[_Upload, int] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def counted(self, upload: _Upload) -> int:
        """Give how many bytes of an upload are in `walked` and `added`."""
        kept = upload.kept if self.owner in (None, upload.owner) else 0
        return min(self.seen.get(upload, kept), upload.size)


class Account:
    """The account of one store. `start` keeps it fresh, `close` ends that; without a bound nothing is counted at all."""

    def __init__(self, store: Store, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._store = store
        self._uploads: set[_Upload] = set()
        self._sums: dict[tuple[Place, str | None], _Sum] = {}
        self._free: float = 0.0  # the free room when it was last looked at, less what has been written since
        self._free_at = -1e9
        self._lock = threading.Lock()  # uploads of unknown size grow in threads
        self._task: asyncio.Task[None] | None = None

    def is_bounded(self, principal: Principal) -> bool:
        quota, most = self._quotas(principal), self._max_file(principal)
        return bool(quota) or most is not None or self.bounds.keep_free_bytes is not None

    async def close(self) -> None:
        if self._task is not None:
            await stop_task(self._task)

    async def open_write(self, store: Store, principal: Principal, name: SafeName, announced: Announcement) -> Writer:
        """Begin an upload if it fits. Raises QuotaFull, and as Store.open_write."""
        if not self.is_bounded(principal):
            return await store.open_write(name, announced)
        self._keep_fresh()
        upload = _Upload(name, announced.owner, announced.source, announced.size or 0)
        older = self._same_upload(upload)
        if older is not None:
            self._take_over(older, upload)
        try:
            if older is None:
                upload.kept = min(await self._kept(store, upload), upload.size)
                await self._admit(principal, upload, unknown=announced.size is None)
            upload.writer = await store.open_write(name, announced)
        except BaseException:
            if older is not None and upload in self._uploads:
                self._take_over(upload, older)
            self._drop(upload)
            raise
        return _MeteredWriter(self, principal, upload, upload.writer, grows=announced.size is None)

    async def write_small(self, store: Store, principal: Principal, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
        """Publish the files of a pack that fit; QuotaFull for each that does not. Gives as Store.write_small."""
        if not self.is_bounded(principal):
            return await store.write_small(files)
        self._keep_fresh()
        admitted: dict[int, _Upload] = {}
        refused: dict[int, FtransferError] = {}
        for index, file in enumerate(files):
            upload = _Upload(SafeName(tuple(file.name.split("/"))), principal.name, "", len(file.data))
            try:
                await self._admit(principal, upload)
                admitted[index] = upload
            except QuotaFull as error:
                refused[index] = error
        try:
            written = iter(await store.write_small([files[index] for index in admitted]))
        finally:
            self._uploads.difference_update(admitted.values())
        results = [refused[index] if index in refused else next(written) for index in range(len(files))]
        self.note_change()
        for index, upload in admitted.items():
            if results[index] is None:
                for total in self._sums_of(upload.name):
                    total.added += upload.size
        return results

    def note_change(self) -> None:
        """Take note that something was removed or replaced: before a put is refused, the tree is counted anew."""
        for total in self._sums.values():
            total.has_changed = True

    def _same_upload(self, upload: _Upload) -> _Upload | None:
        """Give an older attempt at an upload that is still under way, and that needed as much room."""
        key = (upload.name, upload.owner, upload.source, upload.size)
        others = (other for other in self._uploads if (other.name, other.owner, other.source, other.size) == key)
        return next(others, None) if upload.source else None

    def _take_over(self, older: _Upload, newer: _Upload) -> None:
        """Let an upload have the room that another was admitted with."""
        newer.kept, newer.writer = older.kept, older.writer
        self._uploads.add(newer)
        for total in self._sums.values():
            if older in total.seen:
                total.seen[newer] = total.seen[older]
        self._drop(older)

    def _drop(self, upload: _Upload) -> None:
        self._uploads.discard(upload)
        for total in self._sums.values():
            total.seen.pop(upload, None)

    async def _kept(self, store: Store, upload: _Upload) -> int:
        """Give the bytes that an older attempt has left, and that have been counted."""
        partial = await store.find_partial(upload.name, upload.owner) if upload.source else None
        return partial.kept if partial is not None and partial.source == upload.source else 0

    async def _admit(self, principal: Principal, upload: _Upload, *, unknown: bool = False) -> None:
        """Take an upload into the account. Raises QuotaFull."""
        most = self._max_file(principal)
        if most is not None and upload.size > most:
            raise _too_large(upload.name, most)
        await self._look_at_free(0.0 if upload.coming > _FREE_IS_CHEAP or unknown else _FREE_S)
        for place, owner, quota in self._quotas(principal):
            total = await self._sum(place, owner)
            if self._used(place, total) + upload.size - total.counted(upload) > quota:
                await self._walk(place, owner, total)
        # From here to the end nothing is awaited: two uploads cannot both have the last room.
        for place, owner, quota in self._quotas(principal):
            total = self._sums[place, owner]
            if self._used(place, total) + upload.size - total.counted(upload) + unknown > quota:
                raise _quota_full(upload.name, quota, owner)
        self._refuse_free(upload.name, upload.coming + unknown)
        self._free -= upload.coming
        self._uploads.add(upload)

    def grow(self, principal: Principal, upload: _Upload, count: int) -> None:
        """Take more bytes of an upload of unknown size into the account, in any thread. Raises QuotaFull."""
        most = self._max_file(principal)
        with self._lock:
            if most is not None and upload.size + count > most:
                raise _too_large(upload.name, most)
            for place, owner, quota in self._quotas(principal):
                if self._used(place, self._sums[place, owner]) + count > quota:
                    raise _quota_full(upload.name, quota, owner)
            self._refuse_free(upload.name, count)
            upload.size += count
            self._free -= count

    def end(self, upload: _Upload, left: int) -> None:
        """Take an upload out of the account that has left so many bytes behind, as a file or a partial."""
        if upload in self._uploads:
            for total in self._sums_of(upload.name):
                total.added += left - total.counted(upload)
            self._drop(upload)
            self.note_change()  # it may have replaced something, or left less than was expected

    def _sums_of(self, name: SafeName) -> list[_Sum]:
        return [total for (place, _), total in self._sums.items() if any(name.is_within(folder) for folder in place)]

    def _refuse_free(self, name: SafeName, count: int) -> None:
        keep = self.bounds.keep_free_bytes
        if keep is not None and self._free - count < keep:
            shown = escape(str(name))
            raise QuotaFull(f"{shown}: does not fit: {format_size(keep)} of the server's disk are kept free", name=str(name))

    def _max_file(self, principal: Principal) -> int | None:
        own = principal.allowance.max_file_bytes
        each = self.bounds.each.max_file_bytes if own is None else own
        bounds = [bound for bound in (each, self.bounds.all.max_file_bytes) if bound is not None]
        return min(bounds) if bounds else None

    def _quotas(self, principal: Principal) -> list[tuple[Place, str | None, int]]:
        quotas: list[tuple[Place, str | None, int]] = []
        if self.bounds.all.quota_bytes is not None:
            quotas.append((_EVERYWHERE, None, self.bounds.all.quota_bytes))
        own = principal.allowance.quota_bytes
        each = self.bounds.each.quota_bytes if own is None else own
        if each is not None:
            quotas.append((principal.places_to_write(), principal.name, each))
        return quotas

    def _used(self, place: Place, total: _Sum) -> int:
        pending = 0
        for upload in tuple(self._uploads):
            if any(upload.name.is_within(folder) for folder in place):
                pending += upload.size - total.counted(upload)
        return total.walked + total.added + pending

    async def _sum(self, place: Place, owner: str | None) -> _Sum:
        total = self._sums.get((place, owner))
        if total is None:
            total = self._sums[place, owner] = _Sum(owner)
        if total.walked < 0:
            await self._walk(place, owner, total)
        return total

    async def _walk(self, place: Place, owner: str | None, total: _Sum) -> None:
        """Count anew, unless that has just been done."""
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
            under_way = set(self._uploads)
            seen = {upload: upload.writer.offset for upload in under_way if upload.writer is not None}
            apart = ROOT not in place
            if apart:
                # What is under way lies elsewhere, and is not counted there: what ends meanwhile is added as a whole.
                seen = total.seen = dict.fromkeys(under_way, 0)
            walked = 0
            for folder in place:
                walked += await self._store.used_bytes(folder)
            if apart:
                keys = {(str(upload.name), upload.source) for upload in under_way if upload.owner == owner}
                kept = (each for each in await self._store.partials() if each.owner == owner)
                walked += sum(each.kept for each in kept if (each.name, each.source) not in keys)
            total.walked, total.walked_at, total.took_s = walked, began, loop.time() - began
            total.added -= added_before
            # What has ended is in `added` as well, until the next walk.
            total.seen = {upload: offset for upload, offset in seen.items() if upload in self._uploads}

    async def _look_at_free(self, age_s: float) -> None:
        now = asyncio.get_running_loop().time()
        if self.bounds.keep_free_bytes is not None and now - self._free_at >= age_s:
            self._free_at = now
            free = await self._store.free_bytes()
            self._free = free - sum(upload.unseen for upload in self._uploads)

    def _keep_fresh(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        """Count anew now and then, since other programs change the folder too; look at the free room while something grows."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_FREE_S)
            with contextlib.suppress(FtransferError):  # whoever puts next meets the error itself
                if self._uploads:
                    await self._look_at_free(_FREE_S)
                for (place, owner), total in list(self._sums.items()):
                    if loop.time() - total.walked_at > max(_REFRESH_S, _REST * total.took_s):
                        await self._walk(place, owner, total)


class _MeteredWriter:
    """A Writer whose bytes are in the account. See base.Writer."""

    def __init__(self, account: Account, principal: Principal, upload: _Upload, writer: Writer, *, grows: bool) -> None:
        self.name = writer.name
        self.kept = writer.kept
        self.restarted = writer.restarted
        self.has_room = writer.has_room
        self.fast = writer.fast
        self._account = account
        self._principal = principal
        self._upload = upload
        self._writer = writer
        self._grows = grows
        if grows:
            upload.size = upload.kept = writer.kept

    @property
    def offset(self) -> int:
        return self._writer.offset

    @property
    def takes_parts(self) -> bool:
        return self._writer.takes_parts  # only where the size is announced, and in the account from the start

    async def open_part(self, offset: int, length: int) -> Part:
        return await self._writer.open_part(offset, length)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._grows:
            self._account.grow(self._principal, self._upload, len(data))
        await self._writer.write(data)

    async def read(self, offset: int, size: int) -> bytes:
        return await self._writer.read(offset, size)

    def write_now(self, data: memoryview) -> None:
        if self._grows:
            self._account.grow(self._principal, self._upload, len(data))
        self._writer.write_now(data)

    def read_now(self, offset: int, view: memoryview) -> int:
        return self._writer.read_now(offset, view)

    async def commit(self, digest: Digest) -> Entry:
        entry = await self._writer.commit(digest)
        self._account.end(self._upload, entry.size)
        return entry

    async def keep(self, *, doubtful: int = 0) -> None:
        self._account.end(self._upload, max(self.kept, self.offset - doubtful) if self._upload.source else 0)
        await self._writer.keep(doubtful=doubtful)

    async def abort(self) -> None:
        self._account.end(self._upload, 0)
        await self._writer.abort()


def _quota_full(name: SafeName, quota: int, owner: str | None) -> QuotaFull:
    whose = "the share's quota" if owner is None else "your quota"
    return QuotaFull(f"{escape(str(name))}: does not fit into {whose} of {format_size(quota)}", name=str(name))


def _too_large(name: SafeName, most: int) -> QuotaFull:
    return QuotaFull(f"{escape(str(name))}: is larger than the {format_size(most)} that one file may have", name=str(name))
