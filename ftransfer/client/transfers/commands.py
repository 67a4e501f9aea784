"""Files received and sent, one at a time: to and from local names, and open files and pipes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

from ftransfer.client.base import Commands
from ftransfer.client.paths import RemoteName, normalise_path, share_name, share_path
from ftransfer.client.retry import restart_once
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.download import (
    LONG_PATH_S,
    RangeFile,
    StreamDownload,
    download,
    expire_partials,
)
from ftransfer.client.transfers.upload import Report, source_of, upload, upload_stream
from ftransfer.names import SafeName, parse_name
from ftransfer.storage.base import Reader, Store
from ftransfer.storage.local import LocalStore
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transfer.records import Progress, ProgressCallback, Receipt


class Transfers(Commands):
    """The part of a Client that moves files."""

    # Receiving.

    async def get(
        self,
        name: RemoteName,
        dest: str | os.PathLike[str] = ".",
        *,
        offset: int = 0,
        length: int | None = None,
        streams: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Receipt:
        """Receive a file: verified, then renamed into place, with mtime and mode.

        What an earlier attempt left beside the destination is gone on with. A cancelled get leaves
        nothing that is half-written.

        Args:
            dest: A file to write, or a folder that exists, to write into under the file's own name.
            offset, length: Only a part of the file, which becomes a file of its own; of it nothing
            is kept for a later attempt.
            streams: Over how many connections; None for one on a short path, and as many as pay on
                a long one.

        Raises:
            NotFound, NotAFile, Forbidden, NameRefused: The server, or the local disk, refuses.
            DigestMismatch, Truncated: The content did not verify; nothing was published.
            ChannelError: The connection was lost, for longer than the rules for retries allow.
        """
        safe = share_name(name)
        folder, file_name = await run_job(
            io_pool(), lambda: _split_destination(os.fspath(dest), safe)
        )
        began = time.monotonic()
        store = await LocalStore.open(folder, durable=self.durable)
        try:
            target = SafeName((file_name,))
            if offset or length is not None:
                receipt = await self._get_part(str(safe), store, target, offset, length, progress)
            else:
                receipt = await self.with_retries(
                    str(safe),
                    lambda session, report: self._download(
                        session, str(safe), store, target, report, streams
                    ),
                    progress,
                )
            await expire_partials(store)
        finally:
            await store.close()
        return receipt._replace(
            seconds=time.monotonic() - began, path=normalise_path(os.path.join(folder, file_name))
        )

    async def _get_part(
        self,
        name: str,
        store: LocalStore,
        target: SafeName,
        offset: int,
        length: int | None,
        progress: ProgressCallback | None,
    ) -> Receipt:
        async def attempt() -> Receipt:
            async with RangeFile(store, target) as part:
                stream = StreamDownload(name, part, offset=offset, length=length)
                receipt = await self.with_retries(name, stream.run, progress)
                await part.publish(receipt.digest)
            return receipt._replace(durable=store.durable)

        return await restart_once(attempt)

    async def _download(
        self,
        session: ClientSession,
        name: str,
        store: Store,
        target: SafeName,
        report: Report,
        streams: int | None,
    ) -> Receipt:
        if _goes_over_one(session, streams):
            return await download(
                session, name, store, target, report, keep_cancelled=self.keep_cancelled
            )
        from ftransfer.client.transfers.parallel_download import download_best

        return await download_best(
            session,
            name,
            store,
            target,
            report,
            self._another,
            streams=streams,
            keep_cancelled=self.keep_cancelled,
        )

    async def get_to(
        self,
        name: RemoteName,
        sink: BinaryIO,
        *,
        offset: int = 0,
        length: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Receipt:
        """Receive a file, or a part of it, into an open binary file or pipe.

        The bytes are passed on as they come and verified at the end: on an error, what was written
        must not be used.

        Raises:
            As `get`; SourceChanged if the file changed across a lost connection; OSError from the
            sink.
        """
        began = time.monotonic()
        safe = str(share_name(name))
        stream = StreamDownload(safe, sink, offset=offset, length=length)
        receipt = await self.with_retries(safe, stream.run, progress)
        return receipt._replace(seconds=time.monotonic() - began)

    # Sending.

    async def put(
        self,
        file: str | os.PathLike[str],
        name: RemoteName | None = None,
        *,
        progress: ProgressCallback | None = None,
        if_absent: bool = False,
        if_match: str = "",
        streams: int | None = None,
    ) -> Receipt:
        """Send a file; on return the server has verified and published it, and synced it if the
        receipt says durable.

        Args:
            name: The name in the share; by default the file's own. A "/" at the end means a folder
                to put it into.
            if_absent: Refuse if something has that name already (AlreadyThere).
            if_match: Refuse if the content there has not this digest (ChangedMeanwhile).
            streams: As for `get`.

        Raises:
            NotFound, NotAFile, Forbidden, ReadOnly, DiskFull, NameRefused: The local disk, or the
            server, refuses.
            SourceChanged: The file changed while it was sent.
            ChannelError: The connection was lost, for longer than the rules for retries allow.
        """
        path = normalise_path(file)
        target = _remote_name(os.path.basename(path), name)
        options = _conditions(if_absent, if_match, durable=self.durable)
        began = time.monotonic()
        # The user's own links may lead anywhere: they are followed here, before the store confines
        # names to a folder.
        real = await run_job(io_pool(), lambda: os.path.realpath(path))
        folder, file_name = os.path.split(real)
        store = await LocalStore.open(folder, durable=self.durable)
        try:
            reader = await store.open_read(SafeName((file_name,)))
            source = source_of(real, reader)
            receipt = await self.with_retries(
                target,
                lambda session, report: self._upload(
                    session, reader, target, source, options, report, streams
                ),
                progress,
            )
        finally:
            await store.close()
        return receipt._replace(seconds=time.monotonic() - began, path=path)

    async def _upload(
        self,
        session: ClientSession,
        reader: Reader,
        name: str,
        source: str,
        options: Mapping[str, Any],
        report: Report,
        streams: int | None,
    ) -> Receipt:
        if _goes_over_one(session, streams):
            return await upload(session, reader, name, source, options, report)
        from ftransfer.client.transfers.parallel_upload import upload_best

        return await upload_best(
            session, reader, name, source, options, report, self._another, streams=streams
        )

    async def put_from(
        self,
        source: BinaryIO,
        name: RemoteName,
        *,
        progress: ProgressCallback | None = None,
        if_absent: bool = False,
        if_match: str = "",
    ) -> Receipt:
        """Send what an open binary file or pipe gives until its end. A lost connection is not
        retried: the bytes are gone.

        Raises:
            As `put`; OSError from the source.
        """
        target = str(share_name(name))
        options = _conditions(if_absent, if_match, durable=self.durable)
        began = time.monotonic()

        def report(count: int, size: int | None) -> None:
            if progress is not None:
                progress(Progress(target, count, size))

        receipt = await self._once(
            lambda session: upload_stream(session, source, target, options, report)
        )
        return receipt._replace(seconds=time.monotonic() - began)


def _goes_over_one(session: ClientSession, streams: int | None) -> bool:
    """Whether it is plain, without the modules for several connections, that one will do."""
    return streams == 1 or (streams is None and session.round_trip_s < LONG_PATH_S)


def _split_destination(dest: str, name: SafeName) -> tuple[str, str]:
    """Give the local folder and file name that a destination means."""
    if not dest or dest.endswith(os.sep) or os.path.isdir(dest):
        return dest or ".", name.last
    if os.path.islink(dest):
        # As cp does: the file that the link leads to is replaced, not the link
        dest = os.path.realpath(dest)
    folder, file_name = os.path.split(normalise_path(dest))
    return folder or ".", file_name


def _remote_name(file_name: str, name: RemoteName | None) -> str:
    if name is None or name == "":
        return str(parse_name(file_name))
    if os.fsdecode(name).endswith("/"):
        return str(share_name(f"{share_path(name)}/{file_name}"))
    return str(share_name(name))


def _conditions(if_absent: bool, if_match: str, *, durable: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if if_absent:
        options["if_absent"] = True
    if if_match:
        options["if_match"] = if_match
    if not durable:
        options["durable"] = False
    return options
