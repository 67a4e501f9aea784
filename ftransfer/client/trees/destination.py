"""The mark on a folder that a get of a tree has made, until the tree is complete.

As with cp, `get -r X NEW` makes NEW like X if NEW does not exist, else NEW/X. After an interruption
NEW exists, and its content does not show that the command made it; the mark does, so that the same
command resumes in NEW. The mark is a partial download that is never published: it lies in the
staging folder, survives kill -9, is locked while the command runs, and expires after some days, as
partials do. Its source is the path on the server. `put -r` needs no mark: it always uses the name
that it is given.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from functools import partial

from ftransfer.client.paths import RemoteName, normalise_path, share_path
from ftransfer.client.transfers.download import OWNER
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import FtransferError
from ftransfer.names import RESERVED_PREFIX, ROOT, SafeName
from ftransfer.storage.base import Store, UploadSpec
from ftransfer.storage.capabilities import supports_blocking_writes
from ftransfer.storage.local import LocalStore
from ftransfer.system.threads import io_pool, run_job

_MARK = SafeName((f"{RESERVED_PREFIX}-tree",))  # a name that no content can have


async def destination_of(path: RemoteName, dest: str | os.PathLike[str]) -> str:
    """Return the local folder that `get -r` makes like the folder `path` of a share.

    As with cp: `dest`, or the folder's own name in it if `dest` is a folder or ends in a slash. But
    if an earlier get of that path made `dest` but did not finish it, return `dest` itself.

    Raises:
        NameRefused: The path is not valid.
    """
    source = share_path(path)
    folder = os.fspath(dest)
    inside = normalise_path(os.path.join(folder, source.last))
    if folder.endswith(os.sep):
        return inside
    if not await run_job(io_pool(), lambda: os.path.isdir(folder)) or await _is_unfinished(
        folder, source
    ):
        return normalise_path(folder)
    return inside


async def _is_unfinished(folder: str, source: SafeName) -> bool:
    if not await run_job(io_pool(), lambda: os.path.isdir(os.path.join(folder, RESERVED_PREFIX))):
        return False
    try:
        store = await LocalStore.open(folder, durable=False)
        try:
            return await _is_marked(store, source)
        finally:
            await store.close()
    except FtransferError:
        return False  # an error of the folder is reported when it is written to


@contextlib.asynccontextmanager
async def until_whole(
    store: Store, source: SafeName, run: TreeRun, *, is_new: bool
) -> AsyncIterator[bool]:
    """Mark a new folder, or keep its mark, until the tree is complete or nothing has arrived.

    Yields whether this command made the folder, now or in an interrupted run.

    Args:
        source: The path on the server. The root of a share has no name, so it is never
            ambiguous and needs no mark.
    """
    is_ours = not run.options.dry_run and (
        is_new or (not source.is_root and await _is_marked(store, source))
    )
    if source.is_root or not is_ours:
        yield is_ours
        return
    mark = await store.open_write(_MARK, UploadSpec(source=str(source), owner=OWNER))
    try:
        # One in each run: the mark is as old as the last run.
        if supports_blocking_writes(mark):
            write = partial(mark.write_blocking, memoryview(b"."))
            await run_job(io_pool(), write)
        else:
            await mark.write(b".")
        yield True
    except BaseException:
        await (mark.suspend() if await _has_content(store) else mark.abort())
        raise
    await (mark.suspend() if run.report.failed else mark.abort())


async def _is_marked(store: Store, source: SafeName) -> bool:
    mark = await store.find_partial(_MARK, OWNER)
    return mark is not None and mark.source == str(source)


async def is_empty(store: Store) -> bool:
    """Return whether the store has nothing but partials."""
    async with contextlib.aclosing(store.scan(ROOT, recursive=True, others=True)) as batches:
        return await anext(batches, None) is None


async def _has_content(store: Store) -> bool:
    """Return whether there is anything beside the mark; True if that is unknown."""
    try:
        return not await is_empty(store) or len(await store.partials()) > 1
    except FtransferError:
        return True
