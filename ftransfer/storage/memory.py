"""A store in a dictionary, for tests and demonstrations.

It keeps the promises of base.Store as a folder on disk does, but nothing survives it, and there are
no links to follow. Everything happens at once on the event loop, so there are no races inside it.
"""

from __future__ import annotations

import itertools
import time
from collections import UserDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

from ftransfer.errors import (
    AlreadyThere,
    ChangedMeanwhile,
    FolderNotEmpty,
    NameRefused,
    NotAFile,
    NotAFolder,
    NotFound,
)
from ftransfer.names import ROOT, SafeName, encode_name, parse_name
from ftransfer.storage.base import (
    FILE,
    FOLDER,
    LINK,
    WHOLE,
    Entry,
    Partial,
    Range,
    Space,
    UploadSpec,
    Usage,
    usage_of,
)
from ftransfer.storage.listings import inside
from ftransfer.storage.memory_files import KeptContent, MemoryReader, MemoryWriter, Node, disk_full
from ftransfer.storage.oserrors import (
    ALREADY_EXISTS,
    FILE_THERE,
    FOLDER_THERE,
    FULL_FOLDER_THERE,
    IS_FOLDER,
    NOT_BESIDE,
    NOT_EMPTY,
)

_BATCH = 512
_FREE_BYTES = 1 << 40
_Key = tuple[str, SafeName, str]  # owner, name, source


class _Nodes(UserDict[SafeName, Node]):
    """Nodes by name, and the number of bytes in all of them."""

    used_bytes = 0

    def __setitem__(self, name: SafeName, node: Node) -> None:
        there = self.get(name)
        self.used_bytes += len(node.data) - (0 if there is None else len(there.data))
        super().__setitem__(name, node)

    def __delitem__(self, name: SafeName) -> None:
        self.used_bytes -= len(self[name].data)
        super().__delitem__(name)


class MemoryStore:
    """See base.Store.

    Args:
        capacity_bytes: The most bytes of files and partials together.
        now_ns: The clock, in nanoseconds since 1970.
    """

    durable = False

    def __init__(
        self, *, capacity_bytes: int = _FREE_BYTES, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.now_ns = now_ns
        self._capacity_bytes = capacity_bytes
        self._nodes = _Nodes({ROOT: Node(FOLDER, now_ns(), 0o755)})
        self._kept: dict[_Key, KeptContent] = {}
        self._writers: dict[_Key, MemoryWriter] = {}
        self._open: set[MemoryWriter] = set()

    async def stat(self, name: SafeName) -> Entry:
        return self._node(name).entry(name)

    async def scan(
        self,
        folder: SafeName,
        *,
        recursive: bool = False,
        links: bool = False,
        others: bool = False,
        within: Range = WHOLE,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        self._folder(folder)
        entries = inside(self._below(folder, recursive=recursive, links=links), folder, within)
        while batch := [*itertools.islice(entries, _BATCH)]:
            yield batch

    def _below(self, folder: SafeName, *, recursive: bool, links: bool) -> Iterator[Entry]:
        depth = len(folder.parts)
        names = [name for name in self._nodes if name != folder and name.is_within(folder)]
        for name in sorted(names, key=lambda name: [encode_name(part) for part in name.parts]):
            node = self._nodes.get(name)  # None: removed meanwhile
            if node is None or (node.kind == LINK and not links):
                continue
            if recursive or len(name.parts) == depth + 1:
                yield node.entry(name, identity=False)

    async def open_read(self, name: SafeName) -> MemoryReader:
        return MemoryReader(name, self._file(name))

    async def open_write(self, name: SafeName, announced: UploadSpec) -> MemoryWriter:
        self.refuse(name, announced)
        self._folder(name.parent)
        kept, restarted, key = (
            KeptContent(bytearray(), announced.size, self.now_ns()),
            False,
            (announced.owner, name, announced.source),
        )
        if announced.source:
            older = self._writers.get(key)
            if older is not None:
                older.supersede()
            for other in [other for other in self._kept if other[:2] == key[:2] and other != key]:
                del self._kept[other]
                restarted = True
            kept = self._kept.pop(key, kept)
            if announced.size is not None and len(kept.data) > announced.size:
                kept, restarted = KeptContent(bytearray(), announced.size, self.now_ns()), True
        writer = MemoryWriter(self, name, announced, kept, restarted)
        self._open.add(writer)
        if announced.source:
            self._writers[key] = writer
        missing = (announced.size or 0) - len(kept.data)
        if missing > (await self.space()).free_bytes:
            await writer.suspend()
            raise disk_full(name)
        return writer

    def refuse(self, name: SafeName, announced: UploadSpec) -> None:
        """Raise NotAFile, AlreadyThere or ChangedMeanwhile if the upload may not be published."""
        node = self._nodes.get(name)
        if node is not None and node.kind == FOLDER:
            raise NotAFile.about(name, FOLDER_THERE)
        if node is not None and announced.if_absent:
            raise AlreadyThere.about(name, ALREADY_EXISTS)
        if announced.replaces is not None and (
            node is None or node.entry(name).identity != announced.replaces.identity
        ):
            raise ChangedMeanwhile.about(name, "was changed meanwhile; get it, then decide")

    def publish(self, name: SafeName, announced: UploadSpec, data: bytes) -> Entry:
        """Store content under a name. Raises as `refuse`."""
        self.refuse(name, announced)
        self._folder(name.parent)
        mtime_ns = self.now_ns() if announced.mtime_ns is None else announced.mtime_ns
        mode = 0o644 if announced.mode is None else announced.mode & 0o777
        node = self._nodes[name] = Node(FILE, mtime_ns, mode, data)
        return node.entry(name)

    def release(self, writer: MemoryWriter, kept: KeptContent | None) -> None:
        """Forget a writer that has ended, and keep its partial."""
        self._open.discard(writer)
        key = (writer.announced.owner, writer.name, writer.announced.source)
        if self._writers.get(key) is writer:
            del self._writers[key]
        if kept is not None and kept.data and writer.announced.source:
            kept.mtime_ns = self.now_ns()
            self._kept[key] = kept

    async def find_partial(self, name: SafeName, owner: str) -> Partial | None:
        found = [
            partial
            for partial in self._dead_partials()
            if (partial.name, partial.owner) == (str(name), owner)
        ]
        return found[-1] if found else None

    async def partials(self) -> Sequence[Partial]:
        live = [_partial_of(key, writer.content) for key, writer in self._writers.items()]
        return sorted([*self._dead_partials(), *live], key=lambda partial: partial.mtime_ns)

    def _dead_partials(self) -> Sequence[Partial]:
        return sorted(
            (_partial_of(key, kept) for key, kept in self._kept.items()),
            key=lambda partial: partial.mtime_ns,
        )

    async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
        unwanted = [partial for partial in self._dead_partials() if not keep(partial)]
        for partial in unwanted:
            del self._kept[(partial.owner, parse_name(partial.name), partial.source)]
        return unwanted

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        if parents:
            self._make_folders(name)
            return
        if name in self._nodes:
            raise AlreadyThere.about(name, ALREADY_EXISTS)
        self._folder(name.parent)
        self._nodes[name] = Node(FOLDER, self.now_ns(), 0o755)

    def _make_folders(self, name: SafeName) -> None:
        for depth in range(len(name.parts) + 1):
            above = SafeName(name.parts[:depth])
            node = self._nodes.setdefault(above, Node(FOLDER, self.now_ns(), 0o755))
            if node.kind != FOLDER:
                raise NotAFolder.about(name, "a part of the name is a file, not a folder")

    async def set_attributes(
        self, name: SafeName, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> None:
        if name.is_root:
            raise NameRefused(
                "/: the attributes of the root of the share cannot be changed; its owner does that"
                " on the machine"
            )
        node = self._node(name)
        if mtime_ns is not None:
            node.mtime_ns = mtime_ns
        if mode is not None:
            node.mode = _mode_of(node.kind, mode)

    async def rename(
        self, old: SafeName, new: SafeName, *, replace: bool = False, over: bool = False
    ) -> None:
        if old.is_root or new.is_root:
            raise NameRefused("/: the root of the share cannot be moved or replaced")
        if new != old and new.is_within(old):
            raise NameRefused.about(old, "a folder cannot be moved into itself")
        node = self._node(old)
        self._folder(new.parent)
        if over:
            if old.parent != new.parent:
                raise NameRefused.about(new, NOT_BESIDE)
            for name in [name for name in self._nodes if new != old and name.is_within(new)]:
                del self._nodes[name]
        there = self._nodes.get(new)
        if there is not None:
            if not replace:
                raise AlreadyThere.about(new, ALREADY_EXISTS)
            if there.kind == FOLDER and node.kind != FOLDER:
                raise NotAFile.about(new, FOLDER_THERE)
            if there.kind != FOLDER and node.kind == FOLDER:
                raise NotAFolder.about(new, FILE_THERE)
            if new != old and self._has_content(new):
                raise FolderNotEmpty.about(new, FULL_FOLDER_THERE)
        for name in [name for name in self._nodes if name.is_within(old)]:
            self._nodes[SafeName(new.parts + name.parts[len(old.parts) :])] = self._nodes.pop(name)

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        if name.is_root:
            raise NameRefused("/: the root of the share cannot be removed")
        self._node(name)
        if self._has_content(name) and not recursive:
            raise FolderNotEmpty.about(name, NOT_EMPTY)
        gone = [below for below in self._nodes if below.is_within(name)]
        for below in gone:
            del self._nodes[below]
        return len(gone)

    async def usage(self, folder: SafeName = ROOT) -> Usage:
        sizes = [
            len(node.data)
            for name, node in self._nodes.items()
            if name != folder and name.is_within(folder)
        ]
        if folder.is_root:
            sizes += [len(kept.data) for kept in self._kept.values()]
            sizes += [writer.offset for writer in self._open]
        return sum(map(usage_of, sizes), Usage())

    async def space(self) -> Space:
        kept = sum(len(kept.data) for kept in self._kept.values())
        coming = sum(writer.offset for writer in self._open)
        return Space(max(0, self._capacity_bytes - self._nodes.used_bytes - kept - coming))

    async def close(self) -> None:
        for writer in [*self._open]:
            await writer.suspend()

    def has(self, name: SafeName) -> bool:
        """Return whether anything has a name."""
        return name in self._nodes

    def _node(self, name: SafeName) -> Node:
        node = self._nodes.get(name)
        if node is None:
            raise NotFound.about(name, "no such file or folder")
        return node

    def _file(self, name: SafeName) -> Node:
        node = self._node(name)
        if node.kind != FILE:
            raise NotAFile.about(name, IS_FOLDER)
        return node

    def _folder(self, name: SafeName) -> Node:
        node = self._node(name)
        if node.kind != FOLDER:
            raise NotAFolder.about(name, "is not a folder")
        return node

    def _has_content(self, folder: SafeName) -> bool:
        return any(name != folder and name.is_within(folder) for name in self._nodes)


def _partial_of(key: _Key, kept: KeptContent) -> Partial:
    return Partial(str(key[1]), key[0], key[2], len(kept.data), kept.size, kept.mtime_ns)


def _mode_of(kind: str, mode: int) -> int:
    return mode & 0o777 | (0o700 if kind == FOLDER else 0)
