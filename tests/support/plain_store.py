"""A store in one file, as a newcomer writes it: base.Store, Reader and Writer, and nothing else.

Everything beyond that (packs, trees, lines, hidden names, usage) comes from the defaults of the
package.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from ftransfer.digest import Digest
from ftransfer.errors import (
    AlreadyThere,
    ChangedMeanwhile,
    FolderNotEmpty,
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
from ftransfer.names import ROOT, SafeName, sort_key
from ftransfer.storage.base import FILE, FOLDER, WHOLE, Entry, Partial, Range, UploadSpec
from ftransfer.storage.listings import inside

_BATCH = 500
_clock = itertools.count(1_600_000_000 * 10**9)


@dataclass
class _Thing:
    """A folder or a file. Others get its name, but its content stays."""

    kind: str
    mtime_ns: int
    mode: int
    data: bytes = b""
    version: int = 0

    def entry(self, name: SafeName) -> Entry:
        identity = f"{self.version}-{self.mtime_ns}"
        return Entry(str(name), self.kind, len(self.data), self.mtime_ns, self.mode, identity)


def _folder(mode: int = 0o755) -> _Thing:
    return _Thing(FOLDER, next(_clock), mode)


@dataclass(eq=False)
class _Upload:
    """The content of an upload, under way or interrupted."""

    name: SafeName
    spec: UploadSpec
    data: bytearray = field(default_factory=bytearray)
    mtime_ns: int = 0
    writer: PlainWriter | None = None

    @property
    def key(self) -> tuple[str, SafeName, str]:
        return self.spec.owner, self.name, self.spec.source

    def partial(self) -> Partial:
        spec = self.spec
        return Partial(
            str(self.name), spec.owner, spec.source, len(self.data), spec.size, self.mtime_ns
        )


class PlainStore:
    """See base.Store."""

    durable = False

    def __init__(self) -> None:
        self.things = {ROOT: _folder()}
        self.uploads: list[_Upload] = []

    def thing(self, name: SafeName, kind: str = "") -> _Thing:
        """Return what has a name. Raises NotFound, and NotAFile or NotAFolder for another kind."""
        thing = self.things.get(name)
        if thing is None:
            raise NotFound.about(name, "no such file or folder")
        if kind and thing.kind != kind:
            error = NotAFile if kind == FILE else NotAFolder
            raise error.about(name, f"is a {thing.kind}")
        return thing

    def _within(self, folder: SafeName) -> list[SafeName]:
        return [name for name in self.things if name.is_within(folder)]

    async def stat(self, name: SafeName) -> Entry:
        return self.thing(name).entry(name)

    async def scan(
        self,
        folder: SafeName,
        *,
        recursive: bool = False,
        links: bool = False,
        others: bool = False,
        within: Range = WHOLE,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        self.thing(folder, FOLDER)
        listed = [
            self.things[name].entry(name)._replace(identity="")
            for name in sorted(self._within(folder), key=lambda name: sort_key(str(name)))
            if name != folder and (recursive or name.parent == folder)
        ]
        entries = list(inside(listed, folder, within))
        for start in range(0, len(entries), _BATCH):
            yield entries[start : start + _BATCH]

    async def open_read(self, name: SafeName) -> PlainReader:
        return PlainReader(name, self.thing(name, FILE))

    async def open_write(self, name: SafeName, announced: UploadSpec) -> PlainWriter:
        self.refuse(name, announced)
        upload = _Upload(name, announced)
        restarted = False
        for other in [*self.uploads]:
            if not announced.source or other.key[:2] != upload.key[:2]:
                continue
            is_same = other.key == upload.key
            if other.writer is not None:
                if is_same:
                    other.writer.end(Superseded("a newer upload of the same file has taken over"))
            elif not is_same:
                restarted = True
            if is_same and (announced.size is None or len(other.data) <= announced.size):
                upload.data = other.data
            elif is_same:
                restarted = True
            if is_same or other.writer is None:
                self.uploads.remove(other)
        self.uploads.append(upload)
        upload.writer = PlainWriter(self, upload, restarted)
        return upload.writer

    def refuse(self, name: SafeName, spec: UploadSpec) -> None:
        """Raise if what has the name may not be replaced."""
        self.thing(name.parent, FOLDER)
        thing = self.things.get(name)
        if thing is not None and thing.kind == FOLDER:
            raise NotAFile.about(name, "is a folder")
        if thing is not None and spec.if_absent:
            raise AlreadyThere.about(name, "is there already")
        if spec.replaces is not None and (thing is None or thing.entry(name) != spec.replaces):
            raise ChangedMeanwhile.about(name, "was changed meanwhile")

    def _interrupted(self) -> list[_Upload]:
        return sorted(
            (upload for upload in self.uploads if upload.writer is None),
            key=lambda upload: upload.mtime_ns,
        )

    async def find_partial(self, name: SafeName, owner: str) -> Partial | None:
        found = [
            upload.partial()
            for upload in self._interrupted()
            if (upload.name, upload.spec.owner) == (name, owner)
        ]
        return found[-1] if found else None

    async def partials(self) -> Sequence[Partial]:
        found = (upload.partial() for upload in self.uploads if upload.spec.source)
        return sorted(found, key=lambda partial: partial.mtime_ns)

    async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
        unwanted = [upload for upload in self._interrupted() if not keep(upload.partial())]
        self.uploads = [upload for upload in self.uploads if upload not in unwanted]
        return [upload.partial() for upload in unwanted]

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        if parents:
            if not name.is_root:
                await self.make_folder(name.parent, parents=True)
            self.things.setdefault(name, _folder())
            self.thing(name, FOLDER)
            return
        if name in self.things:
            raise AlreadyThere.about(name, "is there already")
        self.thing(name.parent, FOLDER)
        self.things[name] = _folder()

    async def set_attributes(
        self, name: SafeName, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> None:
        if name.is_root:
            raise NameRefused("/: is the root of the share")
        thing = self.thing(name)
        if mtime_ns is not None:
            thing.mtime_ns = mtime_ns
        if mode is not None:
            thing.mode = mode & 0o777 | (0o700 if thing.kind == FOLDER else 0)

    async def rename(
        self, old: SafeName, new: SafeName, *, replace: bool = False, over: bool = False
    ) -> None:
        if old.is_root or new.is_root or (new != old and new.is_within(old)):
            raise NameRefused.about(old, "the root, or into itself")
        if over and old.parent != new.parent:
            self.thing(old)
            raise NameRefused.about(new, "is in another folder")
        thing = self.thing(old)
        self.thing(new.parent, FOLDER)
        there = self.things.get(new)
        if there is not None and not (replace or over):
            raise AlreadyThere.about(new, "is there already")
        if there is not None and not over:
            self.thing(new, thing.kind)
            if len(self._within(new)) > 1:
                raise FolderNotEmpty.about(new, "is not empty")
        for name in self._within(new) if new != old else ():
            del self.things[name]
        for name in self._within(old):
            moved = SafeName(new.parts + name.parts[len(old.parts) :])
            self.things[moved] = self.things.pop(name)

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        if name.is_root:
            raise NameRefused("/: is the root of the share")
        self.thing(name)
        gone = self._within(name)
        if len(gone) > 1 and not recursive:
            raise FolderNotEmpty.about(name, "is not empty")
        for below in gone:
            del self.things[below]
        return len(gone)

    async def close(self) -> None:
        for upload in [*self.uploads]:
            if upload.writer is not None:
                await upload.writer.suspend()


class PlainReader:
    """See base.Reader."""

    def __init__(self, name: SafeName, thing: _Thing) -> None:
        self.entry = thing.entry(name)
        self._thing: _Thing | None = thing

    async def read(self, offset: int, size: int) -> bytes:
        if self._thing is None:
            raise StoreFailed("is not open any more")
        return self._thing.data[offset : offset + size]

    async def check(self) -> None:
        if self._thing is not None and self._thing.mtime_ns != self.entry.mtime_ns:
            raise SourceChanged("changed while it was being read")

    async def close(self) -> None:
        self._thing = None


class PlainWriter:
    """See base.Writer."""

    replaced = False

    def __init__(self, store: PlainStore, upload: _Upload, restarted: bool) -> None:
        self.name = upload.name
        self.resumed_bytes = len(upload.data)
        self.restarted = restarted
        self._store = store
        self._upload = upload
        self._over: Exception | None = None

    @property
    def offset(self) -> int:
        return len(self._upload.data)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._check()
        size = self._upload.spec.size
        if size is not None and self.offset + len(data) > size:
            raise Truncated("more than was announced", expected=size, actual=self.offset)
        self._upload.data += data

    async def read(self, offset: int, size: int) -> bytes:
        self._check()
        return bytes(self._upload.data[offset : offset + size])

    async def commit(self, digest: Digest) -> Entry:
        self._check()
        spec = self._upload.spec
        if spec.size not in (None, self.offset):
            raise Truncated("less than was announced", expected=spec.size, actual=self.offset)
        self._store.refuse(self.name, spec)
        self.replaced = self.name in self._store.things
        thing = _Thing(
            FILE,
            next(_clock) if spec.mtime_ns is None else spec.mtime_ns,
            0o644 if spec.mode is None else spec.mode & 0o777,
            bytes(self._upload.data),
            next(_clock),
        )
        self._store.things[self.name] = thing
        await self.abort()
        return thing.entry(self.name)

    async def suspend(self, *, discard_tail: int = 0) -> None:
        if self._over is not None:
            return
        upload = self._upload
        del upload.data[max(self.resumed_bytes, self.offset - discard_tail) :]
        if not (upload.spec.source and upload.data):
            await self.abort()
            return
        self.end(LocalProtocolError("this upload has ended"))
        upload.mtime_ns = next(_clock)

    async def abort(self) -> None:
        if self._over is None:
            self.end(LocalProtocolError("this upload has ended"))
            self._store.uploads.remove(self._upload)

    def end(self, over: Exception) -> None:
        """Refuse everything from now on."""
        self._over = over
        self._upload.writer = None

    def _check(self) -> None:
        if self._over is not None:
            raise self._over
