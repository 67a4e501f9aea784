"""Commands that transfer single files: to and from local files, open files and pipes."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from ftransfer.client.base import ClientBase
from ftransfer.client.paths import RemoteName, normalise_path, share_name, share_path
from ftransfer.client.retry import Report, restart_once
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.stream_count import Streams, streams_for
from ftransfer.names import SafeName, parse_name
from ftransfer.protocol.replies import PARTS
from ftransfer.storage.base import FILE
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.own_files import open_own_file
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transfer.records import (
    Progress,
    ProgressCallback,
    Receipt,
    described_from_wire,
)

if TYPE_CHECKING:
    # Each command loads what it needs: a one-shot get no upload code, and a put no download code.
    from ftransfer.client.transfers.download import FileDownload
    from ftransfer.client.transfers.upload import FileUpload


class TransferCommands(ClientBase):
    """The commands of a Client that transfer single files."""

    # Downloads.

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
        """Receive a file, verify it, and rename it into place, with mtime and mode.

        What an earlier attempt left beside the destination is resumed. A cancelled get leaves no
        partial file.

        Args:
            dest: A file to write, or an existing folder, to write into under the file's own name.
            offset, length: Only a part of the file, which becomes a file itself. An interrupted
                part is not kept for a later attempt.
            streams: The number of connections; None for one on a short path, and as many as pay off
                on a long one.

        Raises:
            NotFound, NotAFile, Forbidden, NameRefused: The server or the local disk refuses.
            DigestMismatch, Truncated: The content did not verify; nothing was published.
            ChannelError: The connection was lost for longer than the retry rules allow.
        """
        from ftransfer.client.transfers.download import FileDownload, expire_partials

        safe = share_name(name)
        folder, file_name = await run_job(
            io_pool(), lambda: _split_destination(os.fspath(dest), safe)
        )
        began = time.monotonic()
        store = await LocalStore.open(folder, durable=self.durable)
        try:
            target = SafeName((file_name,))
            if offset or length is not None:
                receipt = await self._get_range(str(safe), store, target, offset, length, progress)
            else:
                download = FileDownload(
                    str(safe), store, target, keep_cancelled=self.keep_cancelled
                )
                receipt = await self.with_retries(
                    str(safe), partial(self._download, download, streams), progress
                )
            await expire_partials(store)
        finally:
            await store.close()
        return receipt._replace(
            seconds=time.monotonic() - began, path=normalise_path(os.path.join(folder, file_name))
        )

    async def _get_range(
        self,
        name: str,
        store: LocalStore,
        target: SafeName,
        offset: int,
        length: int | None,
        progress: ProgressCallback | None,
    ) -> Receipt:
        from ftransfer.client.transfers.stream_download import RangeFile, StreamDownload

        async def attempt() -> Receipt:
            async with RangeFile(store, target) as part:
                stream = StreamDownload(name, part, offset=offset, length=length)
                receipt = await self.with_retries(name, stream.run, progress)
                await part.publish(receipt.digest)
            return receipt._replace(durable=store.durable)

        return await restart_once(attempt)

    async def _download(
        self, download: FileDownload, streams: int | None, session: ClientSession, report: Report
    ) -> Receipt:
        """Receive a file over one connection, or over several where that may be faster."""
        count = streams_for(session.round_trip_s, None, streams)
        if count > 1:  # only then the size is worth a round trip
            values = await session.request("stat", download.name)
            entry = described_from_wire(values, parse_name(download.name))
            count = streams_for(session.round_trip_s, entry.size, streams)
            if count > 1 and entry.kind == FILE:
                from ftransfer.client.transfers.parallel_download import download_in_parallel

                used = Streams(count, streams is not None, self.helper_session)
                return await download_in_parallel(download, entry, used, session, report)
        return await download.run(session, report)

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

        The bytes are passed on as they arrive and verified at the end: after an error, do not use
        what was written.

        Raises:
            As `get`; SourceChanged if the file changed across a lost connection; OSError from the
            sink.
        """
        from ftransfer.client.transfers.stream_download import StreamDownload

        began = time.monotonic()
        safe = str(share_name(name))
        stream = StreamDownload(safe, sink, offset=offset, length=length)
        receipt = await self.with_retries(safe, stream.run, progress)
        return receipt._replace(seconds=time.monotonic() - began)

    # Uploads.

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
        """Send a file; on return the server has verified and published it.

        It is on the server's disk if the receipt says durable.

        Args:
            name: The name in the share; the file's own by default. A final "/" means a folder to
                put it into.
            if_absent: Refuse if the name already exists (AlreadyThere).
            if_match: Refuse if the existing content does not have this digest (ChangedMeanwhile).
            streams: As for `get`.

        Raises:
            NotFound, NotAFile, Forbidden, ReadOnly, DiskFull, NameRefused: The local disk or the
                server refuses.
            SourceChanged: The file changed while it was sent.
            ChannelError: The connection was lost for longer than the retry rules allow.
        """
        from ftransfer.client.transfers.upload import FileUpload, source_of

        path = normalise_path(file)
        target = _remote_name(os.path.basename(path), name)
        options = _conditions(if_absent, if_match, durable=self.durable)
        began = time.monotonic()
        reader = await open_own_file(path)
        try:
            # Links are resolved: another path to the same file is the same source
            real = await run_job(io_pool(), lambda: os.path.realpath(path))
            upload = FileUpload(reader, target, source_of(real, reader), options)
            receipt = await self.with_retries(
                target, partial(self._upload, upload, streams), progress
            )
        finally:
            await reader.close()
        return receipt._replace(seconds=time.monotonic() - began, path=path)

    async def _upload(
        self, upload: FileUpload, streams: int | None, session: ClientSession, report: Report
    ) -> Receipt:
        """Send a file over one connection, or over several where that may be faster."""
        count = streams_for(session.round_trip_s, upload.size, streams)
        if count > 1 and upload.size and PARTS in session.hello.features:
            from ftransfer.client.transfers.parallel_upload import upload_in_parallel

            used = Streams(count, streams is not None, self.helper_session)
            return await upload_in_parallel(upload, used, session, report)
        return await upload.run(session, report)

    async def put_from(
        self,
        source: BinaryIO,
        name: RemoteName,
        *,
        progress: ProgressCallback | None = None,
        if_absent: bool = False,
        if_match: str = "",
    ) -> Receipt:
        """Send the content of an open binary file or pipe, up to its end.

        A lost connection is not retried: the bytes that were read are gone.

        Raises:
            As `put`; OSError from the source.
        """
        from ftransfer.client.transfers.stream_upload import StreamUpload

        target = str(share_name(name))
        options = _conditions(if_absent, if_match, durable=self.durable)
        began = time.monotonic()

        def report(count: int, size: int | None) -> None:
            if progress is not None:
                progress(Progress(target, count, size))

        upload = StreamUpload(source, target, options)
        async with self.exclusive_session() as session:
            receipt = await upload.run(session, report)
        return receipt._replace(seconds=time.monotonic() - began)


def _split_destination(dest: str, name: SafeName) -> tuple[str, str]:
    """Return the local folder and file name that a destination stands for."""
    if not dest or dest.endswith(os.sep) or os.path.isdir(dest):
        return dest or ".", name.last
    if os.path.islink(dest):
        # As in cp: the target of the link is replaced, not the link
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
