"""What a store keeps of interrupted uploads, and who may resume them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    Superseded,
)
from ftransfer.storage import listings
from ftransfer.storage.base import (
    Store,
    Usage,
)
from ftransfer.storage.local import LocalStore
from tests.support.stores import SOURCE, begin, get, leave_partial, named


async def test_suspended_upload_is_resumed(store: Store) -> None:
    await leave_partial(store, "a", b"01234")
    partial = await store.find_partial(named("a"), "ann")
    assert partial is not None
    assert (partial.name, partial.owner, partial.source, partial.kept, partial.size) == (
        "a",
        "ann",
        SOURCE,
        5,
        10,
    )
    writer = await begin(store, "a")
    assert (writer.offset, writer.resumed_bytes, writer.restarted) == (5, 5, False)
    assert await writer.read(0, 100) == b"01234"
    await writer.write(b"56789")
    assert writer.resumed_bytes == 5
    await writer.commit(digest_of(b"0123456789"))
    assert await get(store, "a") == b"0123456789"
    assert list(await store.partials()) == []


async def test_upload_without_source_leaves_nothing(store: Store) -> None:
    writer = await begin(store, "a", "")
    await writer.write(b"abc")
    await writer.suspend()
    assert list(await store.partials()) == []
    assert await listings.usage(store) == Usage()


async def test_upload_without_a_byte_leaves_nothing(store: Store) -> None:
    await leave_partial(store, "a", b"")
    assert list(await store.partials()) == []


async def test_partial_of_another_source_is_dropped(store: Store) -> None:
    await leave_partial(store, "a", b"abc")
    writer = await begin(store, "a", "other version")
    assert (writer.offset, writer.restarted) == (0, True)
    await writer.abort()
    assert list(await store.partials()) == []


@pytest.mark.parametrize(("name", "owner"), [("a", "bob"), ("b", "ann")])
async def test_partials_of_others_are_left_alone(store: Store, name: str, owner: str) -> None:
    await leave_partial(store, "a", b"abc")
    writer = await begin(store, name, owner=owner)
    assert (writer.offset, writer.restarted) == (0, False)
    await writer.abort()
    assert [partial.kept for partial in await store.partials()] == [3]


async def test_partial_larger_than_announced_is_restarted(store: Store) -> None:
    await leave_partial(store, "a", b"0123456789")
    writer = await begin(store, "a", size=9)
    assert (writer.offset, writer.resumed_bytes, writer.restarted) == (0, 0, True)
    await writer.abort()


@pytest.mark.parametrize(("discard_tail", "kept"), [(0, 6), (2, 4), (100, 3)])
async def test_doubtful_bytes_are_not_kept_those_of_earlier_attempts_are(
    store: Store, discard_tail: int, kept: int
) -> None:
    await leave_partial(store, "a", b"abc")
    writer = await begin(store, "a")
    await writer.write(b"def")
    await writer.suspend(discard_tail=discard_tail)
    assert [partial.kept for partial in await store.partials()] == [kept]


async def test_partial_as_large_as_announced_is_kept(store: Store) -> None:
    await leave_partial(store, "a", b"0123456789")
    writer = await begin(store, "a", size=10)
    assert (writer.offset, writer.restarted) == (10, False)
    await writer.commit(digest_of(b"0123456789"))
    assert await get(store, "a") == b"0123456789"


async def test_newer_writer_takes_over_and_fences_the_older(store: Store) -> None:
    older = await begin(store, "a")
    await older.write(b"01234")
    newer = await begin(store, "a")
    assert (newer.offset, newer.restarted) == (5, False)
    with pytest.raises(Superseded):
        await older.write(b"xxxxx")
    with pytest.raises(Superseded):
        await older.commit(digest_of(b"01234"))
    await older.suspend()
    await older.abort()
    await newer.write(b"56789")
    await newer.commit(digest_of(b"0123456789"))
    assert await get(store, "a") == b"0123456789"


async def test_live_writer_of_another_source_goes_on_beside(store: Store) -> None:
    one = await begin(store, "a", "one")
    await one.write(b"1111111111")
    two = await begin(store, "a", "two")
    assert (two.offset, two.restarted) == (0, False)
    await two.write(b"2222222222")
    await one.commit(digest_of(b"1111111111"))
    assert await get(store, "a") == b"1111111111"
    await two.commit(digest_of(b"2222222222"))
    assert await get(store, "a") == b"2222222222"


async def test_live_partial_is_neither_found_nor_cleared(store: Store) -> None:
    writer = await begin(store, "a")
    await writer.write(b"abc")
    assert await store.find_partial(named("a"), "ann") is None
    assert list(await store.clear_partials(lambda partial: False)) == []
    assert [partial.kept for partial in await store.partials()] == [3]
    await writer.suspend()
    assert await store.find_partial(named("a"), "ann") is not None


async def test_clear_partials_removes_those_not_wanted(store: Store) -> None:
    await leave_partial(store, "a", b"abc")
    await leave_partial(store, "b", b"abcd")
    gone = await store.clear_partials(lambda partial: partial.name == "b")
    assert [partial.name for partial in gone] == ["a"]
    assert [partial.name for partial in await store.partials()] == ["b"]


async def test_partials_come_oldest_first(store: Store) -> None:
    for name in ("b", "c", "a"):
        await leave_partial(store, name, b"abc")
    assert [partial.name for partial in await store.partials()] == ["b", "c", "a"]


async def test_close_keeps_open_writers(tmp_path: Path) -> None:
    store = await LocalStore.open(tmp_path)
    writer = await begin(store, "a")
    await writer.write(b"abc")
    await store.close()
    again = await LocalStore.open(tmp_path)
    partial = await again.find_partial(named("a"), "ann")
    assert partial is not None and partial.kept == 3
    await again.close()
