"""What an open file may offer beyond base.Reader and base.Writer: use in threads, ranges that are
written out of order, and reserved space.

All of it is optional. An attribute of the file shows what it offers; the functions here read it,
and know the answer for files without it.
"""

from __future__ import annotations

from typing import Protocol, TypeGuard

from ftransfer.storage.base import Writer


class ThreadedFile(Protocol):
    """Content that a thread can read, where `supports_threads` is true."""

    supports_threads: bool

    def read_blocking(self, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset`, blocking; return how many bytes there were (0 at the end)."""


class ThreadedReader(ThreadedFile, Protocol):
    """A Reader for threads."""

    def fileno(self) -> int:
        """Return the descriptor, for sendfile with explicit offsets. It stays the reader's."""


class ThreadedWriter(ThreadedFile, Protocol):
    """A Writer for threads."""

    def write_blocking(self, data: memoryview) -> None:
        """As Writer.write, blocking."""


class Part(Protocol):
    """A range of an upload, written in order beside other parts. `complete` or `drop` ends it;
    `drop` may follow `complete`.

    Two parts may be at the same range: the first to be complete is taken, and the other raises
    OffsetConflict from then on. When the upload ends, or a newer writer takes it over, all methods
    but `drop` raise Aborted or Superseded. A part may be a ThreadedWriter too.
    """

    @property
    def offset(self) -> int:
        """Return where the next byte goes, counted from the beginning of the file."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """As Writer.write; Truncated if it goes beyond the range."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes that this part has written, for hashing."""

    async def complete(self) -> None:
        """Count the bytes, which are verified, as in place. Nobody can write them any more.

        Raises:
            Truncated: The range is not full.
        """

    async def drop(self) -> None:
        """End it; what was written does not count, unless it is complete. Nothing writes after
        that.
        """


class PartWriter(Writer, Protocol):
    """A Writer whose ranges may be written out of order, where `takes_parts` is true.

    It is then written through `open_part` alone, and `offset` is the first gap.
    """

    @property
    def takes_parts(self) -> bool: ...

    async def open_part(self, offset: int, length: int) -> Part:
        """Begin to write a range of the announced size. Whoever opens a part ends it.

        Raises:
            OffsetConflict: It is empty, reaches beyond the size, or is in place already, wholly or
                partly; or too much is ahead of its turn.
        """


def supports_threads(file: object) -> TypeGuard[ThreadedFile]:
    """Whether a reader, writer or part may be used in threads."""
    return bool(getattr(file, "supports_threads", False))


def supports_blocking_writes(file: object) -> TypeGuard[ThreadedWriter]:
    """Whether a writer or part may be written in threads."""
    return supports_threads(file)


def takes_parts(writer: Writer) -> TypeGuard[PartWriter]:
    """Whether a writer takes ranges out of order."""
    return bool(getattr(writer, "takes_parts", False))


def reserved_bytes(writer: Writer) -> int:
    """Return up to where the file system has reserved space, which it counts as used already."""
    reserved: int = getattr(writer, "reserved", 0)
    return reserved
