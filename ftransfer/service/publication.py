"""The only module that makes uploads visible: it publishes, announces and caches digests."""

from __future__ import annotations

from collections.abc import Sequence

from ftransfer.digest import Digest
from ftransfer.errors import FtransferError
from ftransfer.service.session import Session
from ftransfer.storage.base import Entry, SmallFile, Writer


async def publish(session: Session, writer: Writer, digest: Digest) -> Entry:
    """Publish a verified upload under its name. Raises as Writer.commit."""
    service = session.service
    async with service.changes.publishing(session.participant, [str(writer.name)]) as note:
        entry = await writer.commit(digest)
        if note is not None:
            note(entry, digest)
    service.digests.cache.published(entry, digest)
    return entry


async def publish_pack(
    session: Session, files: Sequence[SmallFile]
) -> Sequence[FtransferError | None]:
    """Publish the verified files of a pack as one group; return an error or None for each.

    Their digests are not cached: small files are hashed faster than they are looked up.
    """
    service = session.service
    async with (
        service.memory.storing,
        service.changes.publishing(session.participant, (file.name for file in files)) as note,
    ):
        results = await session.view.write_small(files)
        if note is not None:
            for file, error in zip(files, results, strict=True):
                if error is None:
                    stamp = len(file.data), file.mtime_ns, file.mode
                    note(Entry(file.name, file.kind, *stamp, target=file.target), file.digest)
    return results
