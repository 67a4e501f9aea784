"""A local folder that follows a folder of the share: what it missed first, then each change as it is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from ftransfer.client.client import Client
from ftransfer.client.paths import RemoteName, share_path
from ftransfer.client.trees import TreeItem, TreeOptions
from ftransfer.errors import (
    AlreadyThere,
    DigestMismatch,
    Forbidden,
    FtransferError,
    NotAFile,
    NotAFolder,
    NotFound,
    SourceChanged,
    Truncated,
)
from ftransfer.jobs import movers, run_job
from ftransfer.names import SafeName, parse_name
from ftransfer.protocol.live import CREATED, MOVED, REMOVED, Change, LiveEvent
from ftransfer.storage.base import FILE, FOLDER

# A file that is still being written is asked for again after a while, should no further change be told of it.
_AGAIN_S = 1.0
_TRIES = 5

_KIND_OF_CHANGE = {"copied": CREATED, "removed": REMOVED}

# What is no reason to stop following: one name could not be had, the others can.
_PASSING = (AlreadyThere, DigestMismatch, Forbidden, NotAFile, NotAFolder, SourceChanged, Truncated)


class Follower:
    """Keeps `dest` like the folder `path` of the share.

    Args:
        delete: Remove here what is gone there, also from the time before.
        on_event: Called after each event has been acted on, with the local path it is about, or "". What is caught up with is
            told as created (or removed), although it may only have changed.
        on_failure: Told of a name that could not be fetched, and why.
    """

    def __init__(
        self,
        client: Client,
        path: RemoteName,
        dest: str | os.PathLike[str],
        *,
        delete: bool = False,
        on_event: Callable[[LiveEvent, str], Awaitable[None]],
        on_failure: Callable[[FtransferError | OSError], None],
    ) -> None:
        self._client = client
        self._path = share_path(path)
        self._dest = Path(dest)
        self._delete = delete
        self._on_event = on_event
        self._on_failure = on_failure

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            NotFound, NotAFolder: The folder is not there at the beginning.
            ChannelError: The server cannot be reached any more.
        """
        async with self._client.watching(str(self._path)) as inbox:
            await self._catch_up()
            async for event in inbox:
                if isinstance(event, Change):
                    await self._on_event(event, await self._act(event))
                else:
                    # Something may have been left out.
                    await self._catch_up()
                    await self._on_event(event, "")

    async def _catch_up(self) -> None:
        """Make the folder like the one there, and tell what was missed as if it had happened now."""
        items: list[TreeItem] = []
        options = TreeOptions(delete=self._delete)
        try:
            await self._client.get_tree(str(self._path), self._dest, options=options, on_item=items.append)
        except NotFound as error:
            if not self._dest.is_dir():  # noqa: ASYNC240 - asks the kernel only
                raise
            self._on_failure(error)  # gone for now; it is told when it comes again
        for item in items:
            name = SafeName((*self._path.parts, *parse_name(item.name).parts))
            if item.error is not None:
                self._on_failure(item.error)
            elif item.did in _KIND_OF_CHANGE:
                missed = Change(_KIND_OF_CHANGE[item.did], str(name), FILE, item.size, digest=item.digest)
                await self._on_event(missed, str(self._here(name)))

    async def _act(self, change: Change) -> str:
        """Do here what was done there; give the local path that the change is about, or "" if nothing was done."""
        name = parse_name(change.name)
        target = self._here(name)
        try:
            if change.what == REMOVED:
                return await self._remove(target, change) if self._delete else ""
            if change.what == MOVED and await self._move(change, target):
                return str(target)
            if change.kind == FOLDER:
                await run_job(movers(), lambda: target.mkdir(parents=True, exist_ok=True))
                return str(target)
            return str(target) if await self._fetch(name, target) else ""
        except (*_PASSING, OSError) as error:
            self._on_failure(error)
            return ""

    def _here(self, name: SafeName) -> Path:
        return self._dest.joinpath(*name.parts[len(self._path.parts) :])

    async def _fetch(self, name: SafeName, target: Path) -> bool:
        await run_job(movers(), lambda: target.parent.mkdir(parents=True, exist_ok=True))
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._client.get(str(name), target)
                return True
            except NotFound:
                return False  # gone again, which will be told
            except SourceChanged:
                if not tries_left:
                    raise
            await asyncio.sleep(_AGAIN_S)
        return False

    async def _move(self, change: Change, target: Path) -> bool:
        """Move here what moved there, if it is the same; else it has to be fetched."""
        old = parse_name(change.old)
        if not self._delete or not old.is_within(self._path) or change.kind != FILE:
            return False
        return await run_job(movers(), lambda: _move_same(self._here(old), target, change))

    async def _remove(self, target: Path, change: Change) -> str:
        def remove() -> str:
            if change.kind == FOLDER:
                os.rmdir(target)  # what else is in it was not ours to remove
            else:
                os.unlink(target)
            return str(target)

        try:
            return await run_job(movers(), remove)
        except FileNotFoundError:
            return ""


def _move_same(source: Path, target: Path, change: Change) -> bool:
    try:
        about = source.stat()
        if (about.st_size, about.st_mtime_ns) != (change.size, change.mtime_ns):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    except FileNotFoundError:
        return False
    return True
