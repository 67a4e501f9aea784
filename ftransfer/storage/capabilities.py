"""What an open file may offer beyond base.Reader and base.Writer.

That is use in threads, ranges written out of order, and reserved space. All of it is optional: the
functions here read the attribute that shows what a file offers, and have a default without it.
"""

from __future__ import annotations

from typing import Protocol, TypeGuard

from ftransfer.storage.base import Writer


class ThreadedFile(Protocol):
    """Content that a thread can read if `supports_threads` is true."""

    supports_threads: bool

    def read_blocking(self, offset: int, view: memoryview) -> int:
        """Read into `view` from `offset`, blocking; return the number of bytes (0 at the end)."""


class ThreadedReader(ThreadedFile, Protocol):
    """A Reader for threads."""

    def fileno(self) -> int:
        """Return the descriptor, for sendfile with explicit offsets. The reader keeps owning it."""


class ThreadedWriter(ThreadedFile, Protocol):
    """A Writer for threads."""

    def write_blocking(self, data: memoryview) -> None:
        """Write as Writer.write, blocking."""


class Part(Protocol):
    """A range of an upload, written in order in parallel with other parts.

    `complete` or `drop` ends it; `drop` may follow `complete`. Two parts may write the same range:
    the first to complete wins, and from then on the other raises OffsetConflict. When the upload
    ends, or a newer writer takes it over, all methods but `drop` raise Aborted or Superseded. A
    part may be a ThreadedWriter too.
    """

    @property
    def offset(self) -> int:
        """Return where the next byte goes, counted from the beginning of the file."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write as Writer.write; raise Truncated beyond the end of the range."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes that this part has written, for hashing."""

    async def complete(self) -> None:
        """Count the bytes as in place; they can no longer be overwritten.

        The caller has verified them.

        Raises:
            Truncated: The range is not full.
        """

    async def drop(self) -> None:
        """End the part; its bytes count only if it is complete. Nothing is written after that."""


class PartWriter(Writer, Protocol):
    """A Writer whose ranges may be written out of order if `takes_parts` is true.

    It is then written only through `open_part`, and `offset` is the first gap.
    """

    @property
    def takes_parts(self) -> bool: ...

    async def open_part(self, offset: int, length: int) -> Part:
        """Begin to write a range of the announced size. The caller ends the part.

        Raises:
            OffsetConflict: The range is empty, reaches beyond the size, or is wholly or partly in
                place; or there are too many gaps.
        """


def supports_threads(file: object) -> TypeGuard[ThreadedFile]:
    """Return whether a reader, writer or part may be used in threads."""
    return bool(getattr(file, "supports_threads", False))


def supports_blocking_writes(file: object) -> TypeGuard[ThreadedWriter]:
    """Return whether a writer or part may be written in threads."""
    return supports_threads(file)


def takes_parts(writer: Writer) -> TypeGuard[PartWriter]:
    """Return whether a writer accepts ranges out of order."""
    return bool(getattr(writer, "takes_parts", False))


def reserved_bytes(writer: Writer) -> int:
    """Return the offset up to which the file system has reserved space, which it counts as used."""
    reserved: int = getattr(writer, "reserved", 0)
    return reserved
