"""sync --watch: a folder and a folder of the share are kept in step, either way: compared, then again after each change."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from ftransfer.cli.output import note
from ftransfer.errors import NotAFolder, NotFound, StoreFailed
from ftransfer.shell.wording import explain

if TYPE_CHECKING:
    from ftransfer.client.client import Client

# Changes come in flocks; so long after the last of one, at the latest so long after the first, the folders are compared.
_QUIET_S = 0.3
_LONGEST_S = 3.0

Wait = Callable[[], Awaitable[object]]


async def keep_in_step(client: Client, direction: str, source: str, copy: Callable[[], Awaitable[None]]) -> None:
    """Copy, wait for changes in the source, and copy again, until cancelled.

    Raises:
        NotFound, NotAFolder: The source is not there at the beginning.
        ChannelError: The server cannot be reached any more.
    """
    watching = _remote_changes(client, source) if direction == "get" else _local_changes(source)
    async with watching as next_change:
        await copy()
        while True:
            await _flock(next_change)
            try:
                await copy()
            except (NotFound, NotAFolder) as error:
                note(f"ftransfer: {explain(error)}")  # it may come again


async def _flock(next_change: Wait) -> None:
    """Wait for a change, and until no more follow."""
    await next_change()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LONGEST_S):
            while True:
                async with asyncio.timeout(_QUIET_S):
                    await next_change()


@contextlib.asynccontextmanager
async def _remote_changes(client: Client, path: str) -> AsyncIterator[Wait]:
    async with client.watching(path) as inbox:
        yield inbox.take


@contextlib.asynccontextmanager
async def _local_changes(folder: str) -> AsyncIterator[Wait]:
    from ftransfer.protocol.live import Change, Rescan
    from ftransfer.storage.local import LocalStore
    from ftransfer.watch.watcher import FolderWatcher

    changes: asyncio.Queue[Change | Rescan] = asyncio.Queue()
    store = await LocalStore.open(folder)
    try:
        watcher = FolderWatcher(folder, store)
        try:
            await watcher.start(changes.put_nowait)
        except OSError as error:
            raise StoreFailed(f"{folder}: it cannot be watched: {error.strerror or error}", name=folder) from error
        try:
            yield changes.get
        finally:
            await watcher.stop()
    finally:
        await store.close()
