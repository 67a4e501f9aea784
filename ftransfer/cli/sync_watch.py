"""sync --watch: copy a folder, and copy it again after each change in it."""

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

# Changes come in bursts: the folders are compared this long after the last change of a burst, and
# at the latest this long after the first.
_QUIET_S = 0.3
_LONGEST_S = 3.0
_CHECK_S = 1.0  # how often to check that the path still leads to the watched folder

Wait = Callable[[], Awaitable[object]]


async def sync_on_changes(
    client: Client, direction: str, source: str, copy: Callable[[], Awaitable[None]]
) -> None:
    """Copy, wait for changes in the source, and copy again, until cancelled.

    Raises:
        NotFound, NotAFolder: The source does not exist at the start.
        ChannelError: The server can no longer be reached.
    """
    has_begun, reported = False, ""
    while True:
        try:
            async with (
                _remote_changes(client, source)
                if direction == "get"
                else _local_changes(source) as next_change
            ):
                await copy()
                if not has_begun:
                    note(f"watching {printable(source)}; Ctrl-C stops")
                has_begun = True
                while True:
                    await _debounce(next_change)
                    await _copy_if_there(copy)
        except NotFound as error:  # it was removed while the connection was lost
            if not has_begun:
                raise
            if str(error) != reported:
                reported = str(error)
                _note_gone(error)
            await asyncio.sleep(_CHECK_S)


async def _copy_if_there(copy: Callable[[], Awaitable[None]]) -> None:
    try:
        await copy()
    except (NotFound, NotAFolder) as error:
        _note_gone(error)


def _note_gone(error: FtransferError) -> None:
    note(f"ftransfer: {explain(error)}; waiting until it exists again")


async def _debounce(next_change: Wait) -> None:
    """Wait for a change, and then until no more follow."""
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
    """Watch a folder by its path: if another folder takes the path, that one is watched."""
    changes: asyncio.Queue[Change | Rescan] = asyncio.Queue()
    following = asyncio.create_task(
        _follow_path(await _Watch.start(folder, changes.put_nowait), changes.put_nowait)
    )

    async def next_change() -> None:
        getting = asyncio.create_task(changes.get())
        try:
            await asyncio.wait([getting, following], return_when=asyncio.FIRST_COMPLETED)
        finally:
            getting.cancel()
        if following.done():
            await following  # raises its error

    try:
        yield next_change
    finally:
        following.cancel()
        await asyncio.wait([following])


async def _follow_path(watch: _Watch, on_change: Callable[[Change | Rescan], None]) -> None:
    """Replace the watch whenever its path leads to another folder. Stop it when cancelled."""
    try:
        while True:
            await asyncio.sleep(_CHECK_S)
            if await watch.is_in_place():
                continue
            await watch.stop()
            on_change(Rescan("", "the folder is gone"))
            watch = await _Watch.start_when_there(watch.folder, on_change)
            on_change(Rescan("", "another folder took its place"))
    finally:
        await watch.stop()


class _Watch:
    """A watch of the folder that a path led to when the watch started."""

    def __init__(self, folder: str, store: LocalStore, watcher: FolderWatcher) -> None:
        self.folder = folder
        self._store = store
        self._watcher = watcher
        self.is_in_place = store.is_in_place

    @classmethod
    async def start(cls, folder: str, on_change: Callable[[Change | Rescan], None]) -> _Watch:
        """Raise NotFound, NotAFolder, Forbidden or StoreFailed if the folder cannot be watched."""
        store = await LocalStore.open(folder)
        try:
            watcher = FolderWatcher(folder, store)
            await watcher.start(on_change)
        except OSError as error:
            await store.close()
            raise StoreFailed(
                f"{folder}: cannot watch the folder: {error.strerror or error}", name=folder
            ) from error
        except BaseException:
            await store.close()
            raise
        return cls(folder, store, watcher)

    @classmethod
    async def start_when_there(
        cls, folder: str, on_change: Callable[[Change | Rescan], None]
    ) -> _Watch:
        reported = ""
        while True:
            try:
                return await cls.start(folder, on_change)
            except (NotFound, NotAFolder):
                pass  # reported by the copy that fails
            except FtransferError as error:
                if str(error) != reported:
                    reported = str(error)
                    note(f"ftransfer: {explain(error)}; trying again")
            await asyncio.sleep(_CHECK_S)

    async def stop(self) -> None:
        await self._watcher.stop()
        await self._store.close()
