"""Many small files at once: read for a pack or with a whole tree, and published from a pack.

A store may offer each of these functions as a method, to do it in fewer steps. Otherwise they use
base.Store alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol, TypeGuard

from ftransfer.digest import Digest, digest_of
from ftransfer.errors import DigestMismatch, FtransferError, NameRefused, SourceChanged
from ftransfer.names import SafeName, parse_name
from ftransfer.storage.base import (
    FILE,
    FOLDER,
    LINK,
    OTHER,
    Entry,
    Reader,
    SmallFile,
    Store,
    UploadSpec,
)

PackItem = SmallFile | Entry | FtransferError


class OpensWhole(Protocol):
    async def open_whole(self, name: SafeName, max_bytes: int) -> Reader: ...


class ReadsPacks(Protocol):
    async def read_small(self, names: Sequence[SafeName], max_bytes: int) -> Sequence[PackItem]: ...


class ReadsTrees(Protocol):
    def read_tree(
        self, folder: SafeName, max_bytes: int, max_items: int, *, others: bool = False
    ) -> AsyncGenerator[Sequence[PackItem], None]: ...


class WritesPacks(Protocol):
    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]: ...


def _opens_whole(store: Store) -> TypeGuard[OpensWhole]:
    return hasattr(store, "open_whole")


def _reads_packs(store: Store) -> TypeGuard[ReadsPacks]:
    return hasattr(store, "read_small")


def _reads_trees(store: Store) -> TypeGuard[ReadsTrees]:
    return hasattr(store, "read_tree")


def _writes_packs(store: Store) -> TypeGuard[WritesPacks]:
    return hasattr(store, "write_small")


async def open_whole(store: Store, name: SafeName, max_bytes: int) -> Reader:
    """Open a file as Store.open_read; one of up to `max_bytes` may be read at once.

    It is then checked and closed, and its reader serves it from memory.

    Raises:
        SourceChanged: The file was read at once, and changed meanwhile.
    """
    if _opens_whole(store):
        return await store.open_whole(name, max_bytes)
    return await store.open_read(name)


async def read_small(store: Store, names: Sequence[SafeName], max_bytes: int) -> Sequence[PackItem]:
    """Read small files, in order, each with its digest.

    Returns one item for each name, in the same order. The result is shorter when it reaches
    `max_bytes` of content, but has at least one item. A file larger than `max_bytes` is returned as
    its Entry, to be sent by open_read; a folder as a SmallFile of kind "dir"; what cannot be read
    as the error.
    """
    if _reads_packs(store):
        return await store.read_small(names, max_bytes)
    items: list[PackItem] = []
    left = max_bytes
    for name in names:
        try:
            item = await _read_one(store, name, max_bytes, left if items else max_bytes)
        except FtransferError as error:
            items.append(error)
            continue
        if item is None:
            break
        items.append(item)
        if isinstance(item, SmallFile):
            left -= len(item.data)
    return items


async def _read_one(
    store: Store, name: SafeName, max_bytes: int, left: int
) -> SmallFile | Entry | None:
    """Read one thing; return None if its content exceeds `left` bytes."""
    about = await store.stat(name)
    if about.kind == FOLDER:
        return SmallFile(str(name), FOLDER, about.mtime_ns, about.mode)
    if about.size > left:
        return about if about.size > max_bytes else None
    reader = await store.open_read(name)
    try:
        about = reader.entry
        if about.size > left:  # it has grown since
            return about if about.size > max_bytes else None
        data = b""
        while len(data) < about.size:
            piece = await reader.read(len(data), about.size - len(data))
            if not piece:
                raise SourceChanged.about(name, "changed while it was being read; get it again")
            data += piece
        await reader.check()
    finally:
        await reader.close()
    return SmallFile(str(name), FILE, about.mtime_ns, about.mode, data, digest_of(data))


def read_tree(
    store: Store, folder: SafeName, max_bytes: int, max_items: int, *, others: bool = False
) -> AsyncGenerator[Sequence[PackItem], None]:
    """Read everything below a folder, in groups as from read_small.

    Each folder comes before its content; the order is otherwise undefined. Links are read as their
    targets; a link to a folder is not descended into. With `others`, such a link, and what would be
    omitted, is returned as an Entry of kind "other". Close it if you stop early.

    Contents may be views of memory that is reused: they are valid until the next group but one is
    requested.

    Raises:
        NotFound, NotAFolder, Forbidden: At the first step.
    """
    if _reads_trees(store):
        return store.read_tree(folder, max_bytes, max_items, others=others)
    return read_listed(
        store.scan(folder, recursive=True, others=others),
        lambda names: read_small(store, names[:max_items], max_bytes),
    )


async def read_listed(
    batches: AsyncGenerator[Sequence[Entry], None],
    read: Callable[[Sequence[SafeName]], Awaitable[Sequence[PackItem]]],
) -> AsyncGenerator[Sequence[PackItem], None]:
    """Read the files of a listing, and close the listing.

    Args:
        batches: A recursive listing, without links.
        read: Returns items for the first of these names, at least one.
    """
    async with contextlib.aclosing(batches):
        async for batch in batches:
            if left_out := [entry for entry in batch if entry.kind == OTHER]:
                yield left_out
            names = [SafeName.trusted(entry.name) for entry in batch if entry.kind != OTHER]
            while names:
                items = await read(names)
                names = names[len(items) :]
                yield items


async def write_small(store: Store, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
    """Verify and publish small files, folders and links.

    Returns for each, in order, the error, or None if it is published as its SmallFile says, and
    durable. Each file is atomic on its own. Missing parent folders are made.
    """
    if _writes_packs(store):
        return await store.write_small(files)
    results = [await _result_of(_write_one(store, file)) for file in files]
    # Adding content to a folder changes its mtime, so folders get their attributes last.
    for index, file in enumerate(files):
        if file.kind == FOLDER and results[index] is None and not file.if_absent:
            results[index] = await _result_of(_set_folder(store, file))
    return results


async def _result_of(step: Awaitable[None]) -> FtransferError | None:
    try:
        await step
    except FtransferError as error:
        return error
    return None


async def _write_one(store: Store, file: SmallFile) -> None:
    name = parse_name(file.name)
    if file.kind == LINK:
        raise NameRefused.about(name, "this store has no links")
    if file.kind == FOLDER:
        await store.make_folder(name, parents=True)
        return
    actual = digest_of(file.data)
    if actual != file.digest:
        raise content_differs(file.name, file.digest, actual)
    await store.make_folder(name.parent, parents=True)
    writer = await store.open_write(
        name,
        UploadSpec(
            size=len(file.data),
            mtime_ns=file.mtime_ns,
            mode=file.mode,
            if_absent=file.if_absent,
        ),
    )
    try:
        await writer.write(file.data)
        await writer.commit(actual)
    except BaseException:
        await writer.abort()
        raise


async def _set_folder(store: Store, file: SmallFile) -> None:
    await store.set_attributes(parse_name(file.name), mtime_ns=file.mtime_ns, mode=file.mode)


def content_differs(name: str, expected: Digest, actual: Digest) -> DigestMismatch:
    """Return the error for a file that did not arrive as it was sent."""
    message = "the content that came is not the content that was sent; send it again"
    return DigestMismatch.about(name, message, expected=expected, actual=actual)
