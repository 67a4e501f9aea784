"""One file from a server to a local file. Run again on the next session, it resumes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ftransfer.client.retry import Report, restart_once
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.get_exchange import receive_body, receive_meta
from ftransfer.digest import Digest
from ftransfer.errors import DigestMismatch, FtransferError, OffsetConflict, ShareError, Truncated
from ftransfer.names import SafeName
from ftransfer.protocol.replies import Meta
from ftransfer.storage.base import KEEP_PARTIALS_S, Entry, Partial, Store, UploadSpec, Writer
from ftransfer.transfer.records import Receipt
from ftransfer.transfer.running_digest import RunningDigest

# Partial downloads are kept apart from partial uploads, in case a folder is both served and
# downloaded into.
OWNER = "get"


class FileDownload:
    """One file that is received into a store, in one go (`run`) or in three steps.

    Between the steps, other files may be requested; they arrive after it.

    Args:
        begun: Whether an earlier attempt may have left a partial.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        target: SafeName,
        *,
        keep_cancelled: bool,
        begun: bool = True,
    ) -> None:
        self.name = name
        self.store = store
        self.target = target
        self.keep_cancelled = keep_cancelled
        self._begun = begun
        self._options: dict[str, Any] = {}
        self._digest: Digest = ""

    async def run(self, session: ClientSession, report: Report) -> Receipt:
        """Receive the file, verify it, and publish it in the store.

        A partial of an earlier attempt is resumed if the file on the server is unchanged. If the
        whole file does not verify then, it is received again from the start.

        Raises:
            DigestMismatch, Truncated: The content did not verify; nothing is published or kept.
            FtransferError: From the server or the store; what has arrived is kept for the next
                attempt.
        """

        async def attempt() -> Receipt:
            await self.request(session)
            return await self.publish(await self.receive(session, report))

        return await restart_once(attempt)

    async def request(self, session: ClientSession) -> None:
        """Send the command, with the offset where an earlier attempt stopped."""
        partial = await self.store.find_partial(self.target, OWNER) if self._begun else None
        self._options = (
            {"offset": partial.kept, "identity": partial.source} if partial and partial.kept else {}
        )
        await session.send("get", self.name, self._options)

    async def receive(
        self,
        session: ClientSession,
        report: Report,
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> Writer:
        """Receive the content and verify it; return it to be published.

        Raises as `run`; the file may then be requested again.

        Args:
            before_end: Awaited when all is received. If it is cancelled, so is this download.
        """
        meta = await receive_meta(session, self.name, self._options)
        writer = await self._open(meta)

        def discard_tail() -> int:
            # Before an error frame, the server may have padded the last frame to keep the stream in
            # step.
            return session.connection.last_payload if session.is_in_step else 0

        async with receiving(
            writer, keep_cancelled=self.keep_cancelled, discard_tail=discard_tail
        ) as digest:
            if writer.offset != meta.offset:
                raise OffsetConflict.about(
                    self.name, "another process works on the same download; try again"
                )
            report(writer.offset, meta.size)
            self._digest = await receive_body(session, self.name, writer, digest, meta, report)
            if before_end is not None:
                await before_end()
        return writer

    async def publish(self, writer: Writer) -> Receipt:
        """Publish what was received. Raises as `run`."""
        async with kept_on_failure(writer, keep_cancelled=self.keep_cancelled):
            entry = await writer.commit(self._digest)
        return receipt_of_download(self.name, entry, self._digest, self.store, writer)

    async def open_writer(self, about: Entry | Meta) -> Writer:
        """Open the local file at the end of an earlier partial of the same version."""
        spec = UploadSpec(
            about.size, about.mtime_ns, about.mode, source=about.identity, owner=OWNER
        )
        return await self.store.open_write(self.target, spec)

    async def _open(self, meta: Meta) -> Writer:
        writer = await self.open_writer(meta)
        # The server does not resume there, so the partial is useless
        if writer.offset and meta.offset == 0:
            await writer.abort()
            writer = await self.open_writer(meta)
        return writer


async def expire_partials(store: Store, *, now_ns: Callable[[], int] = time.time_ns) -> None:
    """Remove the partial downloads of a store that nobody has resumed for some days.

    Call it after a download, which has then resumed what it could, however old. Partials in use
    stay. If the store fails, nothing happens.
    """
    latest_ns = now_ns() - int(KEEP_PARTIALS_S * 1e9)

    def keep(partial: Partial) -> bool:
        return partial.owner != OWNER or partial.mtime_ns > latest_ns

    with contextlib.suppress(ShareError):
        await store.clear_partials(keep)


@contextlib.asynccontextmanager
async def receiving(
    writer: Writer, *, keep_cancelled: bool, discard_tail: Callable[[], int] = lambda: 0
) -> AsyncIterator[RunningDigest]:
    """Yield the digest of a local file while it is received; hash the resumed part alongside.

    Commit the writer in the block, or later. If the block fails, content that does not verify is
    dropped; other content that has arrived is kept.

    Args:
        discard_tail: Returns how many of the last bytes to drop when the block has failed.
    """
    digest = RunningDigest(writer)
    async with kept_on_failure(writer, keep_cancelled=keep_cancelled, discard_tail=discard_tail):
        try:
            if writer.resumed_bytes:
                digest.allow(writer.resumed_bytes)
                digest.follow()
            yield digest
        finally:
            await digest.close()


@contextlib.asynccontextmanager
async def kept_on_failure(
    writer: Writer, *, keep_cancelled: bool, discard_tail: Callable[[], int] = lambda: 0
) -> AsyncIterator[None]:
    """Decide what to keep of a local file if the block fails."""
    try:
        yield
    except (DigestMismatch, Truncated) as error:
        if isinstance(error, DigestMismatch):
            error.kept = writer.resumed_bytes
        await writer.abort()
        raise
    except FtransferError:
        await writer.suspend(discard_tail=discard_tail())
        raise
    except BaseException:
        await (writer.suspend() if keep_cancelled else writer.abort())
        raise


def receipt_of_download(
    name: str, entry: Entry, digest: Digest, store: Store, writer: Writer
) -> Receipt:
    """Return the receipt of a file that was published as `entry`."""
    receipt = Receipt(name, entry.size, digest, entry.mtime_ns, store.durable, writer.resumed_bytes)
    return receipt._replace(restarted=writer.restarted, replaced=writer.replaced)
