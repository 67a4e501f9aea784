"""The store that is a dictionary: for tests and demonstrations.

It keeps the promises of base.Store as a folder on disk does, save that nothing survives it and that
there are no links to follow. Everything happens at once on the event loop, so there are no races
inside it.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ftransfer.digest import Digest, digest_of
from ftransfer.errors import (
    AlreadyThere,
    ChangedMeanwhile,
    DigestMismatch,
    DiskFull,
    FolderNotEmpty,
    FtransferError,
    LocalProtocolError,
    NameRefused,
    NotAFile,
    NotAFolder,
    NotFound,
    SourceChanged,
    StoreFailed,
    Superseded,
    Truncated,
)
from ftransfer.names import ROOT, SafeName, encode_name, parse_name, shown, sort_key
from ftransfer.storage.base import (
    FILE,
    FOLDER,
    LINK,
    WHOLE,
    Entry,
    Hides,
    Part,
    Partial,
    Range,
    SmallFile,
    Space,
    UploadSpec,
    Usage,
    lines_of,
    usage_of,
)
from ftransfer.storage.oserrors import HOLDS_HIDDEN, IS_FOLDER, NOT_BESIDE, NOT_EMPTY

_BATCH = 512
_FREE_BYTES = 1 << 40
_Key = tuple[str, SafeName, str]  # owner, name, source
# Named here because inside the class `list` is its method.
_Items = list[SmallFile | Entry | FtransferError]
_Results = list[FtransferError | None]

_serials = itertools.count(1)


@dataclass(slots=True)
class _Node:
    """One version of a file, a folder or a link. What a name has is replaced as a whole, so an open
    one stays as it is.
    """

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
class _Kept:
    """The bytes of an upload, complete or not."""

    data: bytearray
    size: int | None
    mtime_ns: int


class MemoryStore:
    """See base.Store.

    Args:
        capacity_bytes: What fits in, files and partials together.
        now_ns: The clock, in nanoseconds since 1970.
    """

    durable = False

    def __init__(
        self, *, capacity_bytes: int = _FREE_BYTES, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.now_ns = now_ns
        self._capacity_bytes = capacity_bytes
        self._nodes: dict[SafeName, _Node] = {ROOT: _Node(FOLDER, now_ns(), 0o755)}
        self._kept: dict[_Key, _Kept] = {}
        self._writers: dict[_Key, MemoryWriter] = {}
        self._open: set[MemoryWriter] = set()
        self._hides: Hides | None = None

    def without_links(self) -> MemoryStore:
        return self  # it has none

    def hiding(self, hides: Hides) -> MemoryStore:
        view = copy.copy(self)  # the same nodes and partials
        view._hides = hides
        return view

    def on_behalf_of(self, owner: str) -> MemoryStore:
        return self  # nothing takes long

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
        entries = self._below(folder, recursive=recursive, links=links)
        if recursive and within != WHOLE:
            cut = 0 if folder.is_root else len(str(folder)) + 1
            after, until = sort_key(within.after), sort_key(within.until)
            entries = (
                entry
                for entry in entries
                if sort_key(entry.name[cut:]) > after
                and (not until or sort_key(entry.name[cut:]) <= until)
            )
        while batch := [*itertools.islice(entries, _BATCH)]:
            yield batch

    async def lines(
        self, folder: SafeName, *, links: bool = False, others: bool = False
    ) -> AsyncGenerator[Sequence[str], None]:
        async for batch in self.scan(folder, recursive=True, links=links):
            yield lines_of(batch, folder)

    def _below(self, folder: SafeName, *, recursive: bool, links: bool) -> Iterator[Entry]:
        depth = len(folder.parts)
        names = [name for name in self._nodes if name != folder and name.is_within(folder)]
        for name in sorted(names, key=lambda name: [encode_name(part) for part in name.parts]):
            node = self._nodes[name]
            if self._is_hidden(name, depth):
                continue
            if (recursive or len(name.parts) == depth + 1) and (links or node.kind != LINK):
                yield node.entry(name, identity=False)

    def _is_hidden(self, name: SafeName, depth: int) -> bool:
        """Whether a name, or a folder that it is in below the first `depth` parts, is hidden."""
        hides = self._hides
        return hides is not None and any(
            hides("/".join(name.parts[:end])) for end in range(depth + 1, len(name.parts) + 1)
        )

    async def open_read(self, name: SafeName, *, whole_bytes: int = 0) -> MemoryReader:
        return MemoryReader(self, name, self._file(name))

    async def open_write(self, name: SafeName, announced: UploadSpec) -> MemoryWriter:
        self.refuse(name, announced)
        self._folder(name.parent)
        kept, restarted, key = (
            _Kept(bytearray(), announced.size, self.now_ns()),
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
                kept, restarted = _Kept(bytearray(), announced.size, self.now_ns()), True
        writer = MemoryWriter(self, name, announced, kept, restarted)
        self._open.add(writer)
        if announced.source:
            self._writers[key] = writer
        missing = (announced.size or 0) - len(kept.data)
        if missing > (await self.space()).free_bytes:
            await writer.suspend()
            raise _disk_full(name)
        return writer

    def refuse(self, name: SafeName, announced: UploadSpec) -> None:
        """Raise if what has the name may not be replaced. Raises NotAFile, AlreadyThere,
        ChangedMeanwhile.
        """
        node = self._nodes.get(name)
        if node is not None and node.kind == FOLDER:
            raise NotAFile.about(name, "is a folder, and a file cannot take its place")
        if node is not None and announced.if_absent:
            raise AlreadyThere.about(name, "something has that name already")
        if announced.replaces is not None and (
            node is None or node.entry(name).identity != announced.replaces.identity
        ):
            raise ChangedMeanwhile.about(name, "was changed meanwhile; get it, then decide")

    def publish(self, name: SafeName, announced: UploadSpec, data: bytes) -> Entry:
        """Put content under a name."""
        self.refuse(name, announced)
        self._folder(name.parent)
        mtime_ns = self.now_ns() if announced.mtime_ns is None else announced.mtime_ns
        mode = 0o644 if announced.mode is None else announced.mode & 0o777
        node = self._nodes[name] = _Node(FILE, mtime_ns, mode, data)
        return node.entry(name)

    def give_back(self, writer: MemoryWriter, kept: _Kept | None) -> None:
        """Take note that a writer has ended, and keep what it leaves."""
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

    async def read_small(
        self, names: Sequence[SafeName], room_bytes: int
    ) -> Sequence[SmallFile | Entry | FtransferError]:
        items: _Items = []
        left = room_bytes
        for name in names:
            try:
                node = self._node(name)
            except FtransferError as error:
                items.append(error)
                continue
            if len(node.data) > room_bytes:
                items.append(node.entry(name))
                continue
            if len(node.data) > left and items:
                break
            left -= len(node.data)
            digest = digest_of(node.data) if node.kind == FILE else ""
            items.append(
                SmallFile(
                    str(name), node.kind, node.mtime_ns, node.mode, node.data, digest, node.target
                )
            )
        return items

    async def read_tree(
        self, folder: SafeName, room_bytes: int, max_items: int, *, others: bool = False
    ) -> AsyncGenerator[Sequence[SmallFile | Entry | FtransferError], None]:
        async for batch in self.scan(folder, recursive=True):
            names = [parse_name(entry.name) for entry in batch]
            while names:
                items = await self.read_small(names[:max_items], room_bytes)
                names = names[len(items) :]
                yield items

    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
        results: _Results = []
        for file in files:
            try:
                self._write_one(parse_name(file.name), file)
                results.append(None)
            except FtransferError as error:
                results.append(error)
        return results

    def _write_one(self, name: SafeName, file: SmallFile) -> None:
        if file.kind == FOLDER:
            self._make_folders(name)
            if not file.if_absent:
                self._nodes[name] = _Node(FOLDER, file.mtime_ns, _mode_of(FOLDER, file.mode))
            return
        if file.kind == LINK:
            raise NameRefused(f"{shown(name)}: this store has no links", name=file.name)
        data = bytes(file.data)
        if digest_of(data) != file.digest:
            message = (
                f"{shown(name)}: the content that came is not the content that was sent; send it"
                " again"
            )
            raise DigestMismatch(
                message, name=file.name, expected=file.digest, actual=digest_of(data)
            )
        self._make_folders(name.parent)
        self.publish(
            name, UploadSpec(mtime_ns=file.mtime_ns, mode=file.mode, if_absent=file.if_absent), data
        )

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        if parents:
            self._make_folders(name)
            return
        if name in self._nodes:
            raise AlreadyThere.about(name, "something has that name already")
        self._folder(name.parent)
        self._nodes[name] = _Node(FOLDER, self.now_ns(), 0o755)

    def _make_folders(self, name: SafeName) -> None:
        for depth in range(len(name.parts) + 1):
            above = SafeName(name.parts[:depth])
            node = self._nodes.setdefault(above, _Node(FOLDER, self.now_ns(), 0o755))
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
                raise NameRefused.about(new, f"{NOT_BESIDE}")
            replaced = [name for name in self._nodes if new != old and name.is_within(new)]
            if any(self._is_hidden(name, len(new.parts)) for name in replaced):
                raise FolderNotEmpty.about(new, f"{HOLDS_HIDDEN}")
            for name in replaced:
                del self._nodes[name]
        there = self._nodes.get(new)
        if there is not None:
            if not replace:
                raise AlreadyThere.about(new, "something has that name already")
            if there.kind == FOLDER and node.kind != FOLDER:
                raise NotAFile.about(new, "is a folder, and a file cannot take its place")
            if there.kind != FOLDER and node.kind == FOLDER:
                raise NotAFolder.about(new, "is a file, and a folder cannot take its place")
            if new != old and self._has_content(new):
                raise FolderNotEmpty.about(
                    new, "is a folder with content, which nothing can take the place of"
                )
        for name in [name for name in self._nodes if name.is_within(old)]:
            self._nodes[SafeName(new.parts + name.parts[len(old.parts) :])] = self._nodes.pop(name)

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        if name.is_root:
            raise NameRefused("/: the root of the share cannot be removed")
        self._node(name)
        if self._has_content(name) and not recursive:
            raise FolderNotEmpty.about(name, f"{NOT_EMPTY}")
        within = [below for below in self._nodes if below.is_within(name)]
        hidden = [below for below in within if self._is_hidden(below, len(name.parts))]
        gone = [
            below
            for below in within
            if not any(kept.is_within(below) for kept in hidden) and below not in hidden
        ]
        for below in gone:
            del self._nodes[below]
        if hidden:
            raise FolderNotEmpty.about(
                name, "holds hidden files, which stay; all else in it is removed"
            )
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
        used = sum(len(node.data) for node in self._nodes.values()) + sum(
            len(kept.data) for kept in self._kept.values()
        )
        return Space(
            max(0, self._capacity_bytes - used - sum(writer.offset for writer in self._open))
        )

    async def close(self) -> None:
        for writer in [*self._open]:
            await writer.suspend()

    def has(self, name: SafeName) -> bool:
        """Whether anything has a name."""
        return name in self._nodes

    def _node(self, name: SafeName) -> _Node:
        node = self._nodes.get(name)
        if node is None:
            raise NotFound.about(name, "no such file or folder")
        return node

    def _file(self, name: SafeName) -> _Node:
        node = self._node(name)
        if node.kind != FILE:
            raise NotAFile.about(name, f"{IS_FOLDER}")
        return node

    def _folder(self, name: SafeName) -> _Node:
        node = self._node(name)
        if node.kind != FOLDER:
            raise NotAFolder.about(name, "is not a folder")
        return node

    def _has_content(self, folder: SafeName) -> bool:
        return any(name != folder and name.is_within(folder) for name in self._nodes)


class MemoryReader:
    """See base.Reader."""

    supports_threads = False

    def __init__(self, store: MemoryStore, name: SafeName, node: _Node) -> None:
        self.entry = node.entry(name)
        self._store = store
        self._name = name
        self._node: _Node | None = node

    async def read(self, offset: int, size: int) -> bytes:
        return self._opened().data[offset : offset + size]

    async def check(self) -> None:
        """See base.Reader.check. A node's content never changes, but its mtime can be set."""
        if self._opened().mtime_ns != self.entry.mtime_ns:
            raise SourceChanged(
                f"{shown(self._name)}: changed while it was being sent; get it again",
                name=self.entry.name,
            )

    def read_blocking(self, offset: int, view: memoryview) -> int:
        data = self._opened().data[offset : offset + len(view)]
        view[: len(data)] = data
        return len(data)

    def fileno(self) -> int:
        raise LocalProtocolError("a file in memory has no descriptor")

    async def close(self) -> None:
        self._node = None

    def _opened(self) -> _Node:
        if self._node is None:
            raise StoreFailed(f"{shown(self._name)}: is not open any more", name=self.entry.name)
        return self._node


class MemoryWriter:
    """See base.Writer."""

    supports_threads = False
    takes_parts = False

    def __init__(
        self,
        store: MemoryStore,
        name: SafeName,
        announced: UploadSpec,
        content: _Kept,
        restarted: bool,
    ) -> None:
        self.name = name
        self.announced = announced
        self.content = content
        self.offset = self.resumed_bytes = len(content.data)
        self.restarted = restarted
        self.replaced = False
        self.reserved = 0
        self._store = store
        self._ended: Callable[[], FtransferError] | None = None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._refuse_ended()
        if len(data) > (await self._store.space()).free_bytes:
            raise _disk_full(self.name)
        self.write_blocking(memoryview(data))

    async def read(self, offset: int, size: int) -> bytes:
        self._refuse_ended()
        return bytes(self.content.data[offset : offset + size])

    async def open_part(self, offset: int, length: int) -> Part:
        raise LocalProtocolError("a file in memory is written in order")

    def write_blocking(self, data: memoryview) -> None:
        self._refuse_ended()
        size = self.announced.size
        if size is not None and self.offset + len(data) > size:
            message = f"{size} bytes were announced and more came"
            raise Truncated.about(self.name, message, expected=size, actual=self.offset + len(data))
        self.content.data += data
        self.offset += len(data)

    def read_blocking(self, offset: int, view: memoryview) -> int:
        self._refuse_ended()
        data = self.content.data[offset : offset + len(view)]
        view[: len(data)] = data
        return len(data)

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
        """Give the content to a newer writer."""
        self._end(self._superseded, self.content)

    def _end(self, why: Callable[[], FtransferError], kept: _Kept | None) -> None:
        self._ended = why
        self._store.give_back(self, kept)

    def _refuse_ended(self) -> None:
        if self._ended is not None:
            raise self._ended()

    def _superseded(self) -> FtransferError:
        return Superseded.about(self.name, "a newer upload of the same file has taken over")

    def _over(self) -> FtransferError:
        return LocalProtocolError.about(self.name, "this upload has ended")


def _partial_of(key: _Key, kept: _Kept) -> Partial:
    return Partial(str(key[1]), key[0], key[2], len(kept.data), kept.size, kept.mtime_ns)


def _mode_of(kind: str, mode: int) -> int:
    return mode & 0o777 | (0o700 if kind == FOLDER else 0)


def _disk_full(name: SafeName) -> DiskFull:
    return DiskFull.about(name, "no room is left; free some, then try again")
