"""Any tree, any grants, any call: what may not be seen cannot be told from what is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from ftransfer.auth.permissions import ALL_RIGHTS, NO_RIGHTS, Grant, Principal, Right
from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError
from ftransfer.names import ROOT, SafeName
from ftransfer.service.share import Share
from ftransfer.service.view import ShareView
from ftransfer.storage.base import Entry, SmallFile, UploadSpec
from ftransfer.storage.memory import MemoryStore

names = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(
    lambda parts: SafeName(tuple(parts))
)
trees = st.dictionaries(names, st.booleans(), max_size=8)  # name -> whether it is a folder
# A writable place that may not be seen reveals by its answers whether a name is taken: left out
# here.
rights = st.one_of(
    st.just(NO_RIGHTS),
    st.just(frozenset({Right.READ})),
    st.frozensets(st.sampled_from(Right)).map(lambda some: some | {Right.LIST}),
)
principals = st.lists(st.builds(Grant, st.one_of(st.just(ROOT), names), rights), max_size=4).map(
    lambda grants: Principal("ann", tuple(grants))
)
texts = names.map(str)
Call = Callable[[ShareView], Awaitable[Any]]


async def store_of(
    tree: dict[SafeName, bool], is_kept: Callable[[SafeName, bool], bool]
) -> MemoryStore:
    store = MemoryStore(now_ns=lambda: 0)
    for name, is_folder in sorted(tree.items()):
        folders = [SafeName(name.parts[:depth]) for depth in range(1, len(name.parts))]
        if any(tree.get(folder) is False for folder in folders):
            continue  # below a file
        for folder in [*folders, *([name] if is_folder else [])]:
            if is_kept(folder, True):
                await store.make_folder(folder, parents=True)
        if (
            not is_folder
            and is_kept(name, False)
            and not any(other.is_within(name) and other != name for other in tree)
        ):
            await store.make_folder(name.parent, parents=True)
            writer = await store.open_write(name, UploadSpec(mtime_ns=0))
            await writer.write(str(name).encode())
            await writer.commit(digest_of(str(name).encode()))
    return store


def may_be_seen(principal: Principal, name: SafeName, is_folder: bool) -> bool:
    seeing = (Right.LIST, Right.READ)
    return any(
        principal.may_below(right, name) if is_folder else principal.may(right, name)
        for right in seeing
    )


async def outcome(view: ShareView, call: Call) -> Any:
    try:
        found = await call(view)
        return plain(found)
    except FtransferError as error:
        return type(error), str(error), error.name


async def tree_of(view: ShareView, path: str, recursive: bool) -> list[Any]:
    return [entry async for batch in view.scan(path, recursive=recursive) for entry in batch]


async def content_of(view: ShareView, name: str) -> bytes:
    reader = await view.open_read(name)
    return await reader.read(0, 1000)


async def put(view: ShareView, name: str) -> Any:
    writer = await view.open_write(name, UploadSpec(mtime_ns=0))
    await writer.write(b"new")
    return plain(await writer.commit(digest_of(b"new")))


async def small(view: ShareView, some: list[SafeName]) -> Any:
    items = await view.read_small(some, 10_000)
    return [plain(item) for item in items]


def plain(item: Any) -> Any:
    """Return a value that can be compared between two stores.

    Identities are left out, since each store has its own.
    """
    if isinstance(item, FtransferError):
        return type(item), str(item)
    return item._replace(identity="") if isinstance(item, Entry) else item


async def put_small(view: ShareView, name: str) -> Any:
    (item,) = await view.write_small([SmallFile(name, "file", 0, 0o644, b"new", digest_of(b"new"))])
    return plain(item)


calls: st.SearchStrategy[Call] = st.one_of(
    st.builds(
        lambda path, recursive: lambda view: tree_of(view, path, recursive),
        st.one_of(st.just(""), texts),
        st.booleans(),
    ),
    st.builds(lambda name: lambda view: view.stat(name), texts),
    st.builds(lambda name: lambda view: content_of(view, name), texts),
    st.builds(lambda some: lambda view: small(view, some), st.lists(names, min_size=1, max_size=3)),
    st.builds(lambda name: lambda view: put(view, name), texts),
    st.builds(lambda name: lambda view: put_small(view, name), texts),
    st.builds(lambda name: lambda view: view.make_folder(name), texts),
    st.builds(
        lambda name, recursive: lambda view: view.remove(name, recursive=recursive),
        texts,
        st.booleans(),
    ),
    st.builds(
        lambda old, new, over: lambda view: view.rename(old, new, replace=over),
        texts,
        texts,
        st.booleans(),
    ),
    st.builds(lambda name: lambda view: view.set_attributes(name, mode=0o600), texts),
)


@given(trees, principals, st.lists(calls, min_size=1, max_size=4))
def test_hidden_things_might_as_well_not_exist(
    tree: dict[SafeName, bool], principal: Principal, some: list[Call]
) -> None:
    # A grant below a file is the owner's slip: that the file is none of the folders that were meant
    # comes out.
    assume(
        not any(
            not is_folder and grant.prefix.is_within(name)
            for name, is_folder in tree.items()
            for grant in principal.grants
        )
    )

    async def compare() -> None:
        real = await store_of(tree, lambda name, is_folder: True)
        stripped = await store_of(
            tree, lambda name, is_folder: may_be_seen(principal, name, is_folder)
        )
        for call in some:
            seen, expected = [
                await outcome(Share(store).view_for(principal), call) for store in (real, stripped)
            ]
            assert seen == expected

    asyncio.run(compare())


@given(trees, st.lists(calls, min_size=1, max_size=6), st.booleans())
def test_without_a_grant_nothing_can_be_seen_or_changed(
    tree: dict[SafeName, bool], some: list[Call], drop: bool
) -> None:
    async def try_all() -> None:
        store = await store_of(tree, lambda name, is_folder: True)
        everything = Share(store).view_for()
        before = await tree_of(everything, "", True)
        nobody = Share(store, drop_box=drop).view_for(Principal("nobody", ()))
        for call in some:
            found = await outcome(nobody, call)
            assert (
                found == []
                or isinstance(found, tuple)
                or all(isinstance(item, tuple) for item in found)
            )
        assert await tree_of(everything, "", True) == before

    asyncio.run(try_all())


@given(trees, names)
def test_all_rights_hide_nothing(tree: dict[SafeName, bool], prefix: SafeName) -> None:
    async def compare() -> None:
        store = await store_of(tree, lambda name, is_folder: True)
        expected = [entry async for batch in store.scan(ROOT, recursive=True) for entry in batch]
        for grants in (
            (Grant(ROOT, ALL_RIGHTS),),
            (Grant(prefix, ALL_RIGHTS), Grant(ROOT, ALL_RIGHTS)),
        ):
            assert (
                await tree_of(Share(store).view_for(Principal("ann", grants)), "", True) == expected
            )

    asyncio.run(compare())
