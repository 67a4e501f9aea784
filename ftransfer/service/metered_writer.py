"""An upload that claims space as it grows."""

from __future__ import annotations

from ftransfer.auth.permissions import Principal
from ftransfer.digest import Digest
from ftransfer.service.quota_allocator import Allocator
from ftransfer.service.quota_ledger import Claim
from ftransfer.storage.base import Entry, Writer, usage_of
from ftransfer.storage.capabilities import (
    Part,
    reserved_bytes,
    supports_blocking_writes,
    supports_threads,
    takes_parts,
)


class MeteredWriter:
    """A Writer whose bytes are claimed before they are written. See base.Writer."""

    def __init__(
        self, allocator: Allocator, principal: Principal, claim: Claim, writer: Writer
    ) -> None:
        self.name = writer.name
        self.resumed_bytes = writer.resumed_bytes
        self.restarted = writer.restarted
        self.supports_threads = supports_threads(writer)
        self._allocator = allocator
        self._principal = principal
        self._claim = claim
        self._writer = writer
        # Bytes received, or expected in parts that have begun
        self._in_parts = writer.resumed_bytes

    @property
    def reserved(self) -> int:
        return reserved_bytes(self._writer)

    @property
    def replaced(self) -> bool:
        return self._writer.replaced

    @property
    def offset(self) -> int:
        return self._writer.offset

    @property
    def takes_parts(self) -> bool:
        return takes_parts(self._writer)

    async def open_part(self, offset: int, length: int) -> Part:
        writer = self._writer
        assert takes_parts(writer)
        part = await writer.open_part(offset, length)
        try:
            # A part that is sent twice counts twice, but no upload needs more than announced.
            self._in_parts = min(self._in_parts + length, self._claim.size or 0)
            self._need(self._in_parts)
        except BaseException:
            await part.drop()
            raise
        return part

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._need(self._writer.offset + len(data))
        await self._writer.write(data)

    async def read(self, offset: int, size: int) -> bytes:
        return await self._writer.read(offset, size)

    def write_blocking(self, data: memoryview) -> None:
        writer = self._writer
        self._need(writer.offset + len(data))
        assert supports_blocking_writes(writer)
        writer.write_blocking(data)

    def _need(self, size: int) -> None:
        """Claim space for `size` bytes in total. Raises QuotaFull."""
        if size > self._claim.usage.bytes:
            self._allocator.grow(self._principal, self._claim, size)

    def read_blocking(self, offset: int, view: memoryview) -> int:
        writer = self._writer
        assert supports_threads(writer)
        return writer.read_blocking(offset, view)

    async def commit(self, digest: Digest) -> Entry:
        entry = await self._writer.commit(digest)
        self._end(entry.size)
        return entry

    async def suspend(self, *, discard_tail: int = 0) -> None:
        left = max(self.resumed_bytes, self.offset - discard_tail) if self._claim.source else 0
        self._end(left or None)
        await self._writer.suspend(discard_tail=discard_tail)

    async def abort(self) -> None:
        self._end(None)
        await self._writer.abort()

    def _end(self, left_bytes: int | None) -> None:
        """End the claim; `left_bytes` remain as a file or a partial, None for nothing."""
        left = [] if left_bytes is None else [(self._claim.name, usage_of(left_bytes))]
        self._allocator.ledger.end(self._claim, left)
