"""The totals of a tree, counted while it is being transferred: for the percentage on the screen.

A tree that the other side does not have yet is sent without a listing first. If that takes longer
than a moment, and progress is reported, its files are counted meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from ftransfer.client.transfers.stream_count import Connect
from ftransfer.client.trees.compare import Entries, remote_entries
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import FtransferError
from ftransfer.names import ROOT, SafeName
from ftransfer.storage.base import FILE, Store
from ftransfer.system.threads import stop_task

COUNT_AFTER_S = 1.0


@contextlib.asynccontextmanager
async def counted(run: TreeRun, count: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Call `count` during the block if it takes long and the totals are still unknown."""

    async def later() -> None:
        await asyncio.sleep(COUNT_AFTER_S)
        await run.is_finding.wait()  # not still being compared, or known in full
        with contextlib.suppress(FtransferError):  # the transfer itself meets every relevant error
            await count()

    if not run.is_watched:
        yield
        return
    counting = asyncio.create_task(later())
    try:
        yield
    finally:
        await stop_task(counting)


async def count_remote(connect: Connect, remote: SafeName, run: TreeRun) -> None:
    """Count the files below a folder of the share, over a further connection."""
    session = await connect()
    try:
        await _count(remote_entries(session, remote, links=False), run)
        await session.close()
    finally:
        session.abort()


async def count_local(store: Store, run: TreeRun) -> None:
    """Count the files of a local tree."""
    await _count(store.scan(ROOT, recursive=True), run)


async def _count(batches: Entries, run: TreeRun) -> None:
    files = size_bytes = 0
    async for entries in batches:
        sizes = [entry.size for entry in entries if entry.kind == FILE]
        files, size_bytes = files + len(sizes), size_bytes + sum(sizes)
    run.counted(files, size_bytes)
