"""The open uploads of one store: one writer for each; a newer writer takes its upload over."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

from ftransfer.errors import ShareError
from ftransfer.names import SafeName
from ftransfer.storage.base import UploadSpec
from ftransfer.storage.local.partials import PartialFile, Partials, key_of
from ftransfer.storage.local.root import Root
from ftransfer.storage.local.target import Target, aim
from ftransfer.storage.local.threads import Jobs
from ftransfer.storage.local.writer import LocalWriter
from ftransfer.storage.oserrors import translated

_log = logging.getLogger(__name__)


class Uploads:
    """The writers of one store, and of its views."""

    def __init__(self, jobs: Jobs, partials: Partials) -> None:
        self._jobs = jobs
        self._partials = partials
        self._writers: set[LocalWriter] = set()
        self._writer_of_key: dict[str, LocalWriter] = {}
        self._lock_of_key: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open(self, root: Root, name: SafeName, announced: UploadSpec) -> LocalWriter:
        """Begin an upload, or take it over from its older writer. See base.Store.open_write.

        Must not be cancelled: nothing else closes the file between the old writer and the new one.
        """
        key = key_of(str(name), announced)
        lock = self._lock_of_key.setdefault(key, asyncio.Lock()) if key else asyncio.Lock()
        async with lock:
            older = self._writer_of_key.get(key)
            if older is None:
                target, upload = await self._jobs.run(self._aim_and_begin, root, name, announced)
            else:
                target = await self._jobs.run(aim, root, name, announced)
                try:
                    upload = await self._jobs.run(
                        self._begin, name, announced, await older.surrender()
                    )
                except BaseException:
                    await self._jobs.run(target.close)
                    raise
            writer = LocalWriter(self._jobs, self._partials, target, upload, self._forget_writer)
            self._writers.add(writer)
            if upload.key:
                self._writer_of_key[upload.key] = writer
            return writer

    def _aim_and_begin(
        self, root: Root, name: SafeName, announced: UploadSpec
    ) -> tuple[Target, PartialFile]:
        target = aim(root, name, announced)
        try:
            return target, self._begin(name, announced, None)
        except BaseException:
            target.close()
            raise

    def _begin(
        self, name: SafeName, announced: UploadSpec, taken: PartialFile | None
    ) -> PartialFile:
        with translated(name):
            return self._partials.begin(str(name), announced, taken)

    def _forget_writer(self, writer: LocalWriter) -> None:
        self._writers.discard(writer)
        for key, live in list(self._writer_of_key.items()):
            if live is writer:
                del self._writer_of_key[key]

    async def suspend_all(self) -> None:
        """Suspend all writers."""
        for writer in list(self._writers):
            try:
                await writer.suspend()
            except ShareError as error:
                _log.warning("an upload could not be kept: %s", error)
