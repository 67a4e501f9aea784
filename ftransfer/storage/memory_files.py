"""Files of the store in memory: nodes, and readers and writers of their content."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ftransfer.digest import Digest
from ftransfer.errors import (
    DiskFull,
    FtransferError,
    LocalProtocolError,
    SourceChanged,
    StoreFailed,
    Superseded,
    Truncated,
)
from ftransfer.names import SafeName
from ftransfer.storage.base import LINK, Entry, Space, UploadSpec

_serials = itertools.count(1)


@dataclass(slots=True)
class Node:
    """One version of a file, folder or link. Nodes are replaced whole; an open one stays as is."""

    kind: str
    mtime_ns: int
    mode: int
    data: bytes = b""
    target: str = ""
    serial: int = field(default_factory=lambda: next(_serials))

    def entry(self, name: SafeName, *, identity: bool = True) -> Entry:
        word = (
            f"{self.serial}-{len(self.data)}-{self.mtime_ns}"
            if identity and self.kind != LINK
            else ""
        )
        return Entry(
            str(name), self.kind, len(self.data), self.mtime_ns, self.mode, word, self.target
        )


@dataclass(slots=True)
class KeptContent:
    """The bytes of an upload, complete or not."""

    data: bytearray
    size: int | None
    mtime_ns: int


class MemoryReader:
    """See base.Reader."""

    def __init__(self, name: SafeName, node: Node) -> None:
        self.entry = node.entry(name)
        self._name = name
        self._node: Node | None = node

    async def read(self, offset: int, size: int) -> bytes:
        return self._opened().data[offset : offset + size]

    async def check(self) -> None:
        """Check as base.Reader.check. A node's content never changes, but its mtime can be set."""
        if self._opened().mtime_ns != self.entry.mtime_ns:
            raise SourceChanged.about(self._name, "changed while it was being sent; get it again")

    async def close(self) -> None:
        self._node = None

    def _opened(self) -> Node:
        if self._node is None:
            raise StoreFailed.about(self._name, "is not open any more")
        return self._node


class _Publisher(Protocol):
    """The store that a writer belongs to."""

    def has(self, name: SafeName) -> bool: ...
    def publish(self, name: SafeName, announced: UploadSpec, data: bytes) -> Entry: ...
    def release(self, writer: MemoryWriter, kept: KeptContent | None) -> None: ...
    async def space(self) -> Space: ...


class MemoryWriter:
    """See base.Writer."""

    def __init__(
        self,
        store: _Publisher,
        name: SafeName,
        announced: UploadSpec,
        content: KeptContent,
        restarted: bool,
    ) -> None:
        self.name = name
        self.announced = announced
        self.content = content
        self.offset = self.resumed_bytes = len(content.data)
        self.restarted = restarted
        self.replaced = False
        self._store = store
        self._ended: Callable[[], FtransferError] | None = None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._refuse_ended()
        if len(data) > (await self._store.space()).free_bytes:
            raise disk_full(self.name)
        self._append(data)

    async def read(self, offset: int, size: int) -> bytes:
        self._refuse_ended()
        return bytes(self.content.data[offset : offset + size])

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        size = self.announced.size
        if size is not None and self.offset + len(data) > size:
            message = f"{size} bytes were announced and more came"
            raise Truncated.about(self.name, message, expected=size, actual=self.offset + len(data))
        self.content.data += data
        self.offset += len(data)

    async def commit(self, digest: Digest) -> Entry:
        self._refuse_ended()
        if self.announced.size is not None and self.announced.size != self.offset:
            message = f"{self.announced.size} bytes were announced and {self.offset} came"
            raise Truncated.about(
                self.name, message, expected=self.announced.size, actual=self.offset
            )
        replaced = self._store.has(self.name)
        entry = self._store.publish(self.name, self.announced, bytes(self.content.data))
        self.replaced = replaced
        self._end(self._over, None)
        return entry

    async def suspend(self, *, discard_tail: int = 0) -> None:
        if self._ended is None:
            del self.content.data[max(self.resumed_bytes, self.offset - discard_tail) :]
            self._end(self._over, self.content)

    async def abort(self) -> None:
        if self._ended is None:
            self._end(self._over, None)

    def supersede(self) -> None:
        """End this writer and leave the content to a newer one."""
        self._end(self._superseded, self.content)

    def _end(self, why: Callable[[], FtransferError], kept: KeptContent | None) -> None:
        self._ended = why
        self._store.release(self, kept)

    def _refuse_ended(self) -> None:
        if self._ended is not None:
            raise self._ended()

    def _superseded(self) -> FtransferError:
        return Superseded.about(self.name, "a newer upload of the same file has taken over")

    def _over(self) -> FtransferError:
        return LocalProtocolError.about(self.name, "this upload has ended")


def disk_full(name: SafeName) -> DiskFull:
    """Return the error for content that does not fit."""
    return DiskFull.about(name, "the store is full; free some space, then try again")
