"""sync --watch: a folder and a folder of the share are kept in step, either way: compared, then
again after each change.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from ftransfer.cli.output import note
from ftransfer.errors import FtransferError, NotAFolder, NotFound, StoreFailed
from ftransfer.protocol.live import Change, Rescan
from ftransfer.shell.formatting import explain, printable
from ftransfer.storage.local import LocalStore
from ftransfer.watch.watcher import FolderWatcher

if TYPE_CHECKING:
    from ftransfer.client.client import Client

# Changes come in flocks; so long after the last of one, at the latest so long after the first, the
# folders are compared.
_QUIET_S = 0.3
_LONGEST_S = 3.0
_LOOK_S = 1.0  # how often it is looked whether the path still leads to the folder that is watched

Wait = Callable[[], Awaitable[object]]


async def keep_in_step(
    client: Client, direction: str, source: str, copy: Callable[[], Awaitable[None]]
) -> None:
    """Copy, wait for changes in the source, and copy again, until cancelled.

    Raises:
        NotFound, NotAFolder: The source is not there at the beginning.
        ChannelError: The server cannot be reached any more.
    """
    is_there, said = False, ""
    while True:
        try:
            async with (
                _remote_changes(client, source)
                if direction == "get"
                else _local_changes(source) as next_change
            ):
                await copy()
                if not is_there:
                    note(f"watching {printable(source)}; Ctrl-C ends it")
                is_there = True
                while True:
                    await _flock(next_change)
                    await _copy_if_there(copy)
        except NotFound as error:  # it is gone since the connection was lost
            if not is_there:
                raise
            if str(error) != said:
                said = str(error)
                _note_gone(error)
            await asyncio.sleep(_LOOK_S)


async def _copy_if_there(copy: Callable[[], Awaitable[None]]) -> None:
    try:
        await copy()
    except (NotFound, NotAFolder) as error:
        _note_gone(error)


def _note_gone(error: FtransferError) -> None:
    note(f"ftransfer: {explain(error)}; waiting until it is there again")


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
    """Watch a folder by its name: when another one gets the name, by whatever way, that is watched
    from then on.
    """
    changes: asyncio.Queue[Change | Rescan] = asyncio.Queue()
    staying = asyncio.create_task(
        _stay_with(await _Watch.start(folder, changes.put_nowait), changes.put_nowait)
    )

    async def next_change() -> None:
        getting = asyncio.create_task(changes.get())
        try:
            await asyncio.wait([getting, staying], return_when=asyncio.FIRST_COMPLETED)
        finally:
            getting.cancel()
        if staying.done():
            await staying  # raises what went wrong

    try:
        yield next_change
    finally:
        staying.cancel()
        await asyncio.wait([staying])


async def _stay_with(watch: _Watch, tell: Callable[[Change | Rescan], None]) -> None:
    """Replace a watch whenever its path no longer leads to its folder, and stop the last one when
    cancelled.
    """
    try:
        while True:
            await asyncio.sleep(_LOOK_S)
            if await watch.is_in_place():
                continue
            await watch.stop()
            tell(Rescan("", "the folder is gone"))
            watch = await _Watch.start_when_there(watch.folder, tell)
            tell(Rescan("", "another folder has the name"))
    finally:
        await watch.stop()


class _Watch:
    """A watch of the folder that a path led to when it was started."""

    def __init__(self, folder: str, store: LocalStore, watcher: FolderWatcher) -> None:
        self.folder = folder
        self._store = store
        self._watcher = watcher
        self.is_in_place = store.is_in_place

    @classmethod
    async def start(cls, folder: str, tell: Callable[[Change | Rescan], None]) -> _Watch:
        """Raises NotFound, NotAFolder, Forbidden, StoreFailed."""
        store = await LocalStore.open(folder)
        try:
            watcher = FolderWatcher(folder, store)
            await watcher.start(tell)
        except OSError as error:
            await store.close()
            raise StoreFailed(
                f"{folder}: cannot be watched: {error.strerror or error}", name=folder
            ) from error
        except BaseException:
            await store.close()
            raise
        return cls(folder, store, watcher)

    @classmethod
    async def start_when_there(cls, folder: str, tell: Callable[[Change | Rescan], None]) -> _Watch:
        said = ""
        while True:
            try:
                return await cls.start(folder, tell)
            except (NotFound, NotAFolder):
                pass  # said by whoever tries to copy it
            except FtransferError as error:
                if str(error) != said:
                    said = str(error)
                    note(f"ftransfer: {explain(error)}; trying again")
            await asyncio.sleep(_LOOK_S)

    async def stop(self) -> None:
        await self._watcher.stop()
        await self._store.close()
