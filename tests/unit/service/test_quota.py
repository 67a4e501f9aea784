"""The account of a share: what fits, what does not, and that a put costs no walk."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ftransfer.auth.permissions import ALL_RIGHTS, ANYONE, Allowance, Grant, Principal
from ftransfer.digest import digest_of
from ftransfer.errors import QuotaFull
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.service.quota import QuotaTracker
from ftransfer.service.quota_limits import QuotaLimits
from ftransfer.service.share import Share
from ftransfer.storage.base import THING_BYTES, Entry, SmallFile, Space, UploadSpec, Usage
from ftransfer.storage.capabilities import reserved_bytes
from ftransfer.storage.memory import MemoryStore
from ftransfer.storage.memory_files import MemoryWriter

HOMES = 2 * THING_BYTES  # what two folders take


class CountingStore(MemoryStore):
    """It counts its walks."""

    walks = 0

    async def usage(self, folder: SafeName = ROOT) -> Usage:
        self.walks += 1
        return await super().usage(folder)

    async def space(self) -> Space:
        return Space(1 << 40)


@pytest.fixture(name="store")
async def make_store() -> AsyncIterator[CountingStore]:
    store = CountingStore()
    yield store
    await store.close()


@pytest.fixture(name="homes")
async def make_homes(store: CountingStore) -> CountingStore:
    """The same store with folders of two users; they take 8 KiB."""
    for folder in ("ann", "bob"):
        await store.make_folder(parse_name(folder))
    return store


def share_of(store: MemoryStore, **bounds: object) -> Share:
    return Share(store, quota_limits=QuotaLimits(**bounds))  # type: ignore[arg-type]  # each test gives what fits


def home(name: str, **allowance: int) -> Principal:
    return Principal(name, (Grant(parse_name(name), ALL_RIGHTS),), allowance=Allowance(**allowance))


async def put(
    share: Share, name: str, size: int, *, principal: Principal = ANYONE, announced: bool = True
) -> Entry:
    writer = await share.view_for(principal).open_write(
        name, UploadSpec(size=size if announced else None)
    )
    data = bytes(size)
    try:
        await writer.write(data)
        return await writer.commit(digest_of(data))
    except QuotaFull:
        await writer.abort()
        raise


def small(name: str, size: int) -> SmallFile:
    return SmallFile(name, "file", 0, 0o644, bytes(size), digest_of(bytes(size)))


async def test_without_bounds_nothing_is_counted(store: CountingStore) -> None:
    share = Share(store)
    await put(share, "a", 1000)
    assert not share.quota.is_bounded(ANYONE) and store.walks == 0


@pytest.mark.parametrize("announced", [True, False])
async def test_quota_is_full_to_the_byte(store: CountingStore, announced: bool) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000))
    await put(share, "a", 600, announced=announced)
    with pytest.raises(QuotaFull, match="b: does not fit into the share's quota of 1000"):
        await put(share, "b", 401, announced=announced)
    await put(share, "b", 400, announced=announced)
    with pytest.raises(QuotaFull):
        await put(share, "c", 1, announced=announced)
    assert (await MemoryStore.usage(store)).bytes == 1000


async def test_what_was_there_before_counts(store: CountingStore) -> None:
    await put(Share(store), "old", 900)
    with pytest.raises(QuotaFull):
        await put(share_of(store, all=Allowance(quota_bytes=1000)), "new", 101)


async def test_puts_walk_once_and_not_each(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1 << 20))
    for number in range(50):
        await put(share, f"{number}", 100)
    assert store.walks == 1


async def test_uploads_under_way_count_with_all_that_they_announced(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000))
    first = await share.view_for().open_write("a", UploadSpec(size=700))
    with pytest.raises(QuotaFull):
        await put(share, "b", 301)
    await first.write(bytes(100))
    with pytest.raises(QuotaFull):
        await put(share, "b", 301)
    await first.abort()
    await put(share, "b", 1000)


async def test_upload_that_was_counted_and_then_aborted_gives_its_room_back_without_a_walk(
    store: CountingStore,
) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000))
    first = await share.view_for().open_write("a", UploadSpec(size=700))
    await put(share, "b", 300)
    await first.write(bytes(100))
    with pytest.raises(QuotaFull):
        await put(share, "c", 301)
    for total in share.quota._ledger._totals.values():
        total.took_s = 3600.0  # walks are rare where they take long
    await first.abort()
    await put(share, "c", 700)


async def test_two_of_unknown_size_cannot_have_the_same_room(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000))
    one, two = [await share.view_for().open_write(name, UploadSpec()) for name in ("a", "b")]
    await one.write(bytes(600))
    with pytest.raises(QuotaFull):
        await two.write(bytes(401))
    await two.write(bytes(400))
    for writer in (one, two):
        await writer.abort()


async def test_partials_count_and_going_on_with_one_does_not_count_it_twice(
    store: CountingStore,
) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000))
    announced = UploadSpec(size=900, source="s")
    writer = await share.view_for().open_write("a", announced)
    await writer.write(bytes(800))
    await writer.suspend()
    with pytest.raises(QuotaFull):
        await put(share, "b", 201)
    writer = await share.view_for().open_write("a", announced)
    assert writer.resumed_bytes == 800
    await writer.write(bytes(100))
    await writer.commit(digest_of(bytes(900)))
    await put(share, "b", 100)


async def test_session_that_takes_over_does_not_need_the_room_again(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000))
    announced = UploadSpec(size=900, source="s")
    older = await share.view_for().open_write("a", announced)
    await older.write(bytes(500))
    newer = await share.view_for().open_write("a", announced)
    assert newer.resumed_bytes == 500
    await older.suspend()
    with pytest.raises(QuotaFull):
        await put(share, "b", 101)
    await newer.write(bytes(400))
    await newer.commit(digest_of(bytes(900)))


async def test_room_that_was_given_back_is_found_before_a_put_is_refused(
    store: CountingStore,
) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000))
    await put(share, "a", 900)
    await share.view_for().remove("a")
    await put(share, "b", 900)
    await put(share, "b", 100)  # smaller, in its place
    await put(share, "c", 900)


async def test_packs_are_counted_file_by_file(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000), each=Allowance(max_file_bytes=700))
    results = await share.view_for().write_small(
        [small("a", 600), small("b", 500), small("c", 400), small("d", 701), small("e", 1)]
    )
    assert [type(result) for result in results] == [
        type(None),
        QuotaFull,
        type(None),
        QuotaFull,
        QuotaFull,
    ]


async def test_largest_file(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(max_file_bytes=100))
    await put(share, "a", 100)
    for announced in (True, False):
        with pytest.raises(QuotaFull, match="b: is larger than the 100 that one file may have"):
            await put(share, "b", 101, announced=announced)


async def test_quota_of_a_user_counts_where_they_may_write(homes: CountingStore) -> None:
    share = share_of(homes, each=Allowance(quota_bytes=500))
    ann, bob = home("ann"), home("bob", quota_bytes=2000)
    await put(share, "ann/a", 500, principal=ann)
    with pytest.raises(QuotaFull, match="your quota of 500"):
        await put(share, "ann/b", 1, principal=ann)
    await put(share, "bob/a", 2000, principal=bob)
    with pytest.raises(QuotaFull):
        await put(share, "bob/b", 1, principal=bob)


async def test_walk_for_one_quota_does_not_make_another_forget_what_is_under_way(
    homes: CountingStore,
) -> None:
    """What a walk saw of an upload counts there alone: the whole quota was not walked again."""
    share = share_of(homes, all=Allowance(quota_bytes=HOMES + 2000))
    ann = home("ann", quota_bytes=1000)
    writer = await share.view_for(ann).open_write("ann/a", UploadSpec(size=900))
    await writer.write(bytes(500))
    for (_, owner), total in share.quota._ledger._totals.items():
        total.took_s = 0.0 if owner == "ann" else 3600.0
    with pytest.raises(QuotaFull, match="your quota"):
        await put(share, "ann/b", 200, principal=ann)
    bob = home("bob", quota_bytes=5000)
    with pytest.raises(QuotaFull, match="the share's quota"):
        await put(share, "bob/a", 1101, principal=bob)
    await writer.write(bytes(400))
    await writer.commit(digest_of(bytes(900)))
    with pytest.raises(QuotaFull, match="the share's quota"):
        await put(share, "bob/a", 1101, principal=bob)
    await put(share, "bob/a", 1100, principal=bob)


async def test_partial_that_is_under_way_again_counts_once_for_its_user(
    homes: CountingStore,
) -> None:
    share = share_of(homes, each=Allowance(quota_bytes=1000))
    ann, announced = home("ann"), UploadSpec(size=900, source="s", owner="ann")
    for data in (bytes(300), bytes(200)):
        writer = await share.view_for(ann).open_write("ann/a", announced)
        await writer.write(data)
        for total in share.quota._ledger._totals.values():
            total.walked_at = -1e9
        with pytest.raises(QuotaFull):  # for which it is walked anew
            await put(share, "ann/b", 101, principal=ann)
        await writer.suspend()
    await put(share, "ann/b", 500, principal=ann)
    with pytest.raises(QuotaFull):
        await put(share, "ann/c", 1, principal=ann)


async def test_quota_of_all_holds_beside_that_of_a_user(homes: CountingStore) -> None:
    share = share_of(homes, all=Allowance(quota_bytes=HOMES + 1000))
    await put(share, "ann/a", 800, principal=home("ann", quota_bytes=5000))
    with pytest.raises(QuotaFull, match="the share's quota"):
        await put(share, "bob/a", 300, principal=home("bob", quota_bytes=5000))


@pytest.mark.parametrize("announced", [True, False])
async def test_room_is_kept_free_on_the_disk(announced: bool) -> None:
    store = MemoryStore(capacity_bytes=1000)
    share = share_of(store, keep_free_bytes=300)
    await put(share, "a", 700, announced=announced)
    with pytest.raises(QuotaFull, match="b: does not fit: 300 of the server's disk are kept free"):
        await put(share, "b", 1, announced=announced)


async def test_what_is_announced_counts_where_no_room_was_set_aside() -> None:
    share = share_of(MemoryStore(capacity_bytes=1000), keep_free_bytes=300)
    writer = await share.view_for(ANYONE).open_write("a", UploadSpec(size=700))
    assert not reserved_bytes(writer)
    with pytest.raises(QuotaFull):
        await put(share, "b", 1, announced=False)
    await writer.abort()
    await put(share, "b", 1, announced=False)


async def test_bounds_can_be_set_anew(store: CountingStore) -> None:
    share = share_of(store)
    await put(share, "a", 5000)
    share.quota.limits = QuotaLimits(all=Allowance(quota_bytes=5500))
    with pytest.raises(QuotaFull):
        await put(share, "b", 501)
    await put(share, "b", 500)


async def test_account_can_be_closed_unused_and_twice(store: CountingStore) -> None:
    account = QuotaTracker(store)
    await account.close()
    await account.close()


# Announcements.

MEBI = 1 << 20


async def test_announcement_without_content_locks_nobody_out(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=100 * MEBI), keep_free_bytes=1)
    idle = [
        await share.view_for().open_write(f"idle{number}", UploadSpec(size=90 * MEBI))
        for number in range(20)
    ]
    await put(share, "honest", 80 * MEBI)
    for writer in idle:
        await writer.abort()


async def test_what_an_announcement_claims_is_bounded_for_each_user_and_not_for_each_upload(
    store: CountingStore,
) -> None:
    share = share_of(store, all=Allowance(quota_bytes=100 * MEBI))
    for number in range(20):
        await share.view_for().open_write(f"{number}", UploadSpec(size=50 * MEBI))
    total = share.quota._ledger.find((ROOT,), None)
    assert total is not None and total.used.bytes <= 10 * MEBI


async def test_quota_holds_for_what_comes_beyond_the_claim(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=20 * MEBI))
    one, two = [
        await share.view_for().open_write(name, UploadSpec(size=15 * MEBI)) for name in "ab"
    ]
    await one.write(bytes(15 * MEBI))
    await two.write(bytes(5 * MEBI))
    with pytest.raises(QuotaFull):
        await two.write(bytes(1))
    await two.abort()
    await one.commit(digest_of(bytes(15 * MEBI)))
    assert (await MemoryStore.usage(store)).bytes == 15 * MEBI


async def test_claim_that_does_not_grow_lapses(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1000))
    idle = await share.view_for().open_write("idle", UploadSpec(size=900))
    await idle.write(bytes(100))
    with pytest.raises(QuotaFull):
        await put(share, "honest", 200)
    ledger = share.quota._ledger
    ledger.lapse(before_s=0.0, now_s=100.0)  # it has grown since it was last looked at
    ledger.lapse(before_s=99.0, now_s=160.0)
    with pytest.raises(QuotaFull):
        await put(share, "honest", 200)
    ledger.lapse(before_s=100.0, now_s=161.0)
    await put(share, "honest", 200)
    await idle.write(bytes(700))  # it claims again what it needs
    with pytest.raises(QuotaFull):
        await idle.write(bytes(100))
    await idle.abort()


# The number of things.


@pytest.mark.parametrize("whose", ["all", "each"])
async def test_quota_of_files_counts_each_thing(store: CountingStore, whose: str) -> None:
    share = share_of(store, **{whose: Allowance(quota_files=4)})
    view = share.view_for()
    await view.make_folder("d")
    await put(share, "f", 10)
    assert await view.write_small([small("g", 1)]) == [None]
    await put(share, "h", 0)
    for attempt in (
        lambda: view.make_folder("e"),
        lambda: put(share, "i", 1),
        lambda: view.make_folder("x/y", parents=True),
    ):
        with pytest.raises(QuotaFull, match="4 files and folders"):
            await attempt()
    assert [type(result) for result in await view.write_small([small("j", 1)])] == [QuotaFull]
    await view.make_folder("d", parents=True)  # it is there
    await view.remove("f")
    await view.make_folder("e")


async def test_quota_of_a_user_counts_files_where_they_may_write(homes: CountingStore) -> None:
    share = share_of(homes)
    ann = home("ann", quota_files=1)
    await put(share, "ann/a", 1, principal=ann)
    with pytest.raises(QuotaFull, match="your quota of 1 files"):
        await put(share, "ann/b", 1, principal=ann)


async def test_things_without_content_cost_something_in_a_quota_of_bytes(
    store: CountingStore,
) -> None:
    share = share_of(store, all=Allowance(quota_bytes=10 * THING_BYTES))
    view = share.view_for()
    await view.make_folder("a/b/c", parents=True)
    results = await view.write_small([small(f"{number}", 0) for number in range(20)])
    assert results.count(None) == 7
    with pytest.raises(QuotaFull):
        await view.make_folder("z")


async def test_folders_that_a_pack_makes_by_the_way_count(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_files=10))
    results = await share.view_for().write_small([small("a/b/c/d/e/f/g/h/i/j", 1)])
    assert results == [None]
    results = await share.view_for().write_small([small("k", 1)])
    assert [type(result) for result in results] == [QuotaFull]


async def test_quota_of_bytes_bounds_the_number_of_tiny_files(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=2 * MEBI))
    for start in range(0, 3000, 500):
        results = await share.view_for().write_small(
            [small(f"{number}", 1) for number in range(start, start + 500)]
        )
    assert results.count(None) == 0
    assert (await MemoryStore.usage(store)).things == 2048


async def test_things_are_kept_possible_on_the_disk() -> None:
    class SmallDisk(MemoryStore):
        async def space(self) -> Space:
            used = (await MemoryStore.usage(self)).things
            return Space(1 << 40, 120 - used, 2000)

    share = share_of(SmallDisk(), keep_free_bytes=1 << 30)  # a twentieth of all: 100
    for number in range(20):
        await share.view_for().make_folder(f"{number}")
    with pytest.raises(QuotaFull, match="room for 100 files is kept free"):
        await share.view_for().make_folder("one more")


# What it costs.


async def test_pack_is_one_claim_however_many_files_it_has(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1 << 40), each=Allowance(quota_bytes=1 << 39))
    ledger = share.quota._ledger
    most = 0

    class Watched(MemoryStore):
        async def open_write(self, name: SafeName, announced: UploadSpec) -> MemoryWriter:
            nonlocal most
            most = max(most, len(ledger.claims))
            return await super().open_write(name, announced)

    share.store = Watched()
    began = time.thread_time()
    assert set(
        await share.view_for().write_small([small(f"{number}", 0) for number in range(5000)])
    ) == {None}
    assert most == 1 and not ledger.claims
    assert time.thread_time() - began < 5.0  # one by one, as it once was, it takes half a minute


async def test_upload_grows_at_the_same_cost_whatever_is_under_way(store: CountingStore) -> None:
    share = share_of(store, all=Allowance(quota_bytes=1 << 40))
    writers = [
        await share.view_for().open_write(f"{number}", UploadSpec()) for number in range(500)
    ]
    total = share.quota._ledger.find((ROOT,), None)
    assert total is not None
    touched = 0

    class Counting(set[Any]):
        def __iter__(self) -> Iterator[Any]:
            nonlocal touched
            touched += 1
            return super().__iter__()

    share.quota._ledger.claims = Counting(share.quota._ledger.claims)
    for writer in writers:
        await writer.write(b"x")
    assert touched == 0
    for writer in writers:
        await writer.abort()
    assert total.pending == Usage()
