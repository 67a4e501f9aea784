"""Which digests are remembered, for how long, and how their computing is rationed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import SourceChanged
from ftransfer.limits import Limits
from ftransfer.names import SafeName
from ftransfer.service.digests import DigestCache, DigestService
from ftransfer.storage.base import FILE, Entry, UploadSpec
from ftransfer.storage.memory import MemoryStore
from ftransfer.storage.memory_files import MemoryReader

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOW = 1_000_000 * SECOND
DIGEST = digest_of(b"x")
OLD = Entry("a", FILE, 1, NOW - HOUR, 0o644, "identity", ctime_ns=NOW - HOUR)


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def cache(clock: Clock) -> DigestCache:
    return DigestCache(capacity=3, now_ns=lambda: int(clock()))


def test_digest_of_what_was_read_is_known(cache: DigestCache) -> None:
    assert cache.find(OLD) is None
    cache.read(OLD, DIGEST, NOW)
    assert cache.find(OLD) == DIGEST


@pytest.mark.parametrize(
    "changed",
    [
        OLD._replace(identity="other"),
        OLD._replace(size=2),
        OLD._replace(mtime_ns=OLD.mtime_ns + 1),
        OLD._replace(ctime_ns=OLD.ctime_ns + 1),  # content written, mtime set back
    ],
)
def test_digest_of_a_changed_file_is_not_known(cache: DigestCache, changed: Entry) -> None:
    cache.read(OLD, DIGEST, NOW)
    assert cache.find(changed) is None
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("age_ns", "is_kept"), [(0, False), (SECOND, False), (2 * SECOND, False), (3 * SECOND, True)]
)
def test_file_that_changed_just_before_it_was_opened_is_not_remembered(
    cache: DigestCache, age_ns: int, is_kept: bool
) -> None:
    """Whoever writes in the same tick of the file system's clock leaves no trace in it."""
    fresh = OLD._replace(ctime_ns=NOW - age_ns)
    cache.read(fresh, DIGEST, NOW)
    assert (cache.find(fresh) == DIGEST) is is_kept


def test_time_counts_from_the_opening_and_not_from_the_end_of_the_reading(
    cache: DigestCache, clock: Clock
) -> None:
    fresh = OLD._replace(ctime_ns=NOW)
    clock.now += HOUR
    cache.read(fresh, DIGEST, NOW)
    assert cache.find(fresh) is None


def test_old_mtime_does_not_make_a_new_file_old(cache: DigestCache) -> None:
    touched = OLD._replace(ctime_ns=NOW)
    cache.read(touched, DIGEST, NOW)
    assert cache.find(touched) is None


def test_without_ctime_the_mtime_has_to_be_old(cache: DigestCache) -> None:
    old, fresh = OLD._replace(ctime_ns=0), OLD._replace(name="b", ctime_ns=0, mtime_ns=NOW)
    for entry in (old, fresh):
        cache.read(entry, DIGEST, NOW)
    assert cache.find(old) == DIGEST and cache.find(fresh) is None


def test_put_is_remembered_if_its_mtime_is_old(cache: DigestCache) -> None:
    published = OLD._replace(ctime_ns=NOW)
    cache.published(published, DIGEST)
    assert cache.find(published) == DIGEST
    fresh = published._replace(mtime_ns=NOW)
    cache.published(fresh, DIGEST)
    assert cache.find(fresh) is None
    assert len(cache) == 0  # and the old one is not kept either


def test_entry_without_identity_is_not_remembered(cache: DigestCache) -> None:
    cache.read(OLD._replace(identity=""), DIGEST, NOW)
    assert len(cache) == 0


def test_longest_unused_goes_first(cache: DigestCache) -> None:
    entries = [OLD._replace(name=name) for name in "abcd"]
    for entry in entries[:3]:
        cache.read(entry, DIGEST, NOW)
    assert cache.find(entries[0])
    cache.read(entries[3], DIGEST, NOW)
    assert [cache.find(entry) is not None for entry in entries] == [True, False, True, True]
    assert len(cache) == 3


def test_nothing_is_believed_for_ever(cache: DigestCache, clock: Clock) -> None:
    cache.read(OLD, DIGEST, NOW)
    clock.now = NOW + HOUR
    assert cache.find(OLD) == DIGEST
    clock.now += 1000
    assert cache.find(OLD) is None


def test_clock_set_back_forgets(cache: DigestCache, clock: Clock) -> None:
    cache.read(OLD, DIGEST, NOW)
    clock.now = NOW - 1000
    assert cache.find(OLD) is None


# Rationing.

LIMITS = Limits(checksum_rate_bytes=100, checksum_burst_s=10, max_checksums=2)


class GatedReader(MemoryReader):
    """A file whose first read waits to be let go."""

    def __init__(self, store: MemoryStore, name: SafeName, running: list[str]) -> None:
        super().__init__(name, store._file(name))
        self.go = asyncio.Event()
        self._running = running

    async def read(self, offset: int, size: int) -> bytes:
        self._running.append(self.entry.name)
        await self.go.wait()
        return await super().read(offset, size)


async def store_with(*names: str, content: bytes = b"content") -> MemoryStore:
    store = MemoryStore()
    for name in names:
        writer = await store.open_write(SafeName((name,)), UploadSpec(mtime_ns=1))
        await writer.write(content)
        await writer.commit(digest_of(content))
    return store


async def turns() -> None:
    """Run every task as far as it goes: nothing here waits for a thread."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_only_so_many_are_computed_at_once() -> None:
    store = await store_with("a", "b", "c")
    running: list[str] = []
    readers = [GatedReader(store, SafeName((name,)), running) for name in "abc"]
    digests = DigestService(LIMITS)
    tasks = [asyncio.create_task(digests.of(reader, NOW, "ann")) for reader in readers]
    await turns()
    assert running == ["a", "b"]
    readers[0].go.set()
    assert await tasks[0] == digest_of(b"content")
    await turns()
    assert running == ["a", "b", "c"]
    readers[1].go.set()
    readers[2].go.set()
    assert set(await asyncio.gather(*tasks)) == {digest_of(b"content")}


async def test_what_two_sessions_want_at_once_is_computed_once() -> None:
    store = await store_with("a")
    running: list[str] = []
    digests = DigestService(LIMITS._replace(max_checksums=1))
    readers = [GatedReader(store, SafeName(("a",)), running) for _ in range(2)]
    tasks = [asyncio.create_task(digests.of(reader, 2**62, "ann")) for reader in readers]
    for reader in readers:
        reader.go.set()
    assert len(set(await asyncio.gather(*tasks))) == 1
    assert running == ["a"]


class Pauses:
    """Calls that come later, when the test says so; and how long each was to wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._calls: list[Callable[[], None]] = []

    def __call__(self, wait_s: float, call: Callable[[], None]) -> None:
        self.waits.append(wait_s)
        self._calls.append(call)

    def end(self, clock: Clock) -> None:
        clock.now += self.waits[-1]
        self._calls.pop()()


async def test_owner_beyond_their_allowance_pauses_first() -> None:
    store = await store_with("a", "b", content=bytes(1500))
    clock, pauses = Clock(), Pauses()
    digests = DigestService(LIMITS, clock=clock, later=pauses)
    await digests.of(await store.open_read(SafeName(("a",))), NOW, "ann")
    second = asyncio.create_task(digests.of(await store.open_read(SafeName(("b",))), NOW, "ann"))
    await turns()
    assert pauses.waits == [pytest.approx(5)] and not second.done()
    # Others do not wait for it
    assert await digests.of(await store.open_read(SafeName(("b",))), NOW, "bob")
    pauses.end(clock)
    assert await second


async def test_known_digest_costs_no_allowance() -> None:
    store = await store_with("a", content=bytes(1500))
    clock = Clock()
    digests = DigestService(LIMITS, clock=clock, later=Pauses())
    for _ in range(10):
        await digests.of(await store.open_read(SafeName(("a",))), 2**62, "ann")
    assert digests._budget_of("ann").wait_s(clock()) == pytest.approx(5)


async def test_allowance_belongs_to_the_owner_and_not_to_the_session() -> None:
    clock = Clock()
    digests = DigestService(LIMITS, clock=clock, later=Pauses())
    digests._budget_of("ann").take(5000, clock())
    for number in range(3000):  # owners who have nothing to pay back are forgotten, and no others
        digests._budget_of(f"{number}")
    assert digests._budget_of("ann").wait_s(clock()) > 0
    assert len(digests._budgets) <= 1024


class SteppedReader(MemoryReader):
    """A file that is long by its entry, and has as many steps as it has bytes."""

    def __init__(self, store: MemoryStore, name: SafeName, order: list[str]) -> None:
        super().__init__(name, store._file(name))
        self._order = order

    async def read(self, offset: int, size: int) -> bytes:
        self._order.append(self.entry.name)
        await asyncio.sleep(0)
        return await super().read(offset, 1)


async def test_small_files_go_first_and_nobody_waits_for_all_that_another_wants() -> None:
    store = await store_with("big1", "big2", content=bytes(200))
    for name in ("small", "other"):
        await (writer := await store.open_write(SafeName((name,)), UploadSpec(mtime_ns=1))).write(
            bytes(3)
        )
        await writer.commit(digest_of(bytes(3)))
    digests = DigestService(Limits(max_checksums=1))
    order: list[str] = []

    def want(name: str, owner: str) -> asyncio.Task[str]:
        return asyncio.create_task(
            digests.of(SteppedReader(store, SafeName((name,)), order), 0, owner)
        )

    long = [want("big1", "ann"), want("big2", "ann")]
    await turns()
    at = len(order)
    short = [want("small", "ann"), want("other", "bob")]
    await asyncio.gather(*short)
    # They took turns with bob, and the small one of ann went before her large ones
    assert len(order) - at <= 10
    await asyncio.gather(*long)
    assert order.index("big2") == len(order) - 200  # what is nearest to its end goes first


async def test_file_that_changes_while_it_is_read_is_reported_and_forgotten() -> None:
    store = await store_with("a")
    running: list[str] = []
    reader = GatedReader(store, SafeName(("a",)), running)
    digests = DigestService(LIMITS)
    task = asyncio.create_task(digests.of(reader, 2**62, "ann"))
    await turns()
    assert running == ["a"]
    await store.set_attributes(SafeName(("a",)), mtime_ns=2)
    reader.go.set()
    with pytest.raises(SourceChanged):
        await task
    assert len(digests.cache) == 0
