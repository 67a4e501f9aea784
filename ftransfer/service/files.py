"""Operations on whole files and folders, for any gateway, each with its events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ftransfer.digest import Digest
from ftransfer.errors import SourceChanged
from ftransfer.names import SafeName
from ftransfer.service.download import Download
from ftransfer.service.operation import Operation
from ftransfer.service.session import Session
from ftransfer.service.upload import Upload, UploadReceipt
from ftransfer.storage.base import Entry, Partial, UploadSpec

_BLOCK_BYTES = 1 << 20


class FileDigest(NamedTuple):
    """A file, and the digest of its content."""

    entry: Entry
    digest: Digest


async def make_folder(session: Session, path: str, *, parents: bool = False) -> SafeName:
    """Create a folder; return its name. Raises as ShareView.make_folder."""
    async with session.service.changes.modifying(session.participant, path):
        return await session.view.make_folder(path, parents=parents)


async def move(
    session: Session, old: str, new: str, *, replace: bool = False, over: bool = False
) -> SafeName:
    """Move or rename a file or folder; return its new name. Raises as ShareView.rename."""
    async with session.service.changes.modifying(session.participant, old, new):
        return await session.view.rename(old, new, replace=replace, over=over)


async def remove(session: Session, path: str, *, recursive: bool = False) -> int:
    """Remove a file or folder; return the number of things removed. Raises as ShareView.remove."""
    async with session.service.changes.modifying(session.participant, path):
        return await session.view.remove(path, recursive=recursive)


async def set_attributes(
    session: Session, path: str, *, mtime_ns: int | None = None, mode: int | None = None
) -> SafeName:
    """Set the time or mode of a file or folder; return its name.

    Raises as ShareView.set_attributes.
    """
    async with session.service.changes.modifying(session.participant, path):
        return await session.view.set_attributes(path, mtime_ns=mtime_ns, mode=mode)


async def checksum(session: Session, name: str) -> FileDigest:
    """Return the digest of a file, reading it if necessary.

    Raises:
        SourceChanged: It changed while it was read.
        As ShareView.open_read.
    """
    digests = session.service.digests
    opened_ns = digests.cache.now_ns()
    reader = await session.view.open_read(name)
    try:
        digest = await digests.of(reader, opened_ns, session.view.owner)
    finally:
        await reader.close()
    return FileDigest(reader.entry, digest)


async def copy(operation: Operation, *, replace: bool = False) -> UploadReceipt:
    """Copy the file that the operation names to its `to`, with time and mode.

    Raises:
        AlreadyThere: That name exists and is not to be replaced.
        SourceChanged: It changed while it was copied.
        As ShareView.open_read and ShareView.open_write.
    """
    async with await Download.open(operation) as source:
        entry = source.entry
        spec = UploadSpec(entry.size, entry.mtime_ns, entry.mode, if_absent=not replace)
        async with await Upload.begin(operation, spec, name=operation.to) as upload:
            while upload.offset < entry.size:
                size = min(_BLOCK_BYTES, entry.size - upload.offset)
                block = await source.reader.read(upload.offset, size)
                if not block:
                    raise SourceChanged.about(
                        entry.name, "the file became shorter while it was copied"
                    )
                await upload.write(memoryview(block))
            await source.check(await upload.digest.finish(entry.size), 0, entry.size)
            return await upload.finish(source.known_digest())


async def clear_partials(
    session: Session, path: str = "", *, older_s: int = 0, source: str = ""
) -> Sequence[Partial]:
    """Remove interrupted uploads, each with its line in the owner's record.

    Takes and raises as ShareView.clear_partials.
    """
    removed = await session.view.clear_partials(path, older_s=older_s, source=source)
    for partial in removed:
        session.record("partials", partial.name, bytes=partial.kept)
    return removed
