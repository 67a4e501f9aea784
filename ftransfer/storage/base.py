"""What every store must offer: the Store, Reader and Writer protocols, and the values they use.

A new back end implements only this. Optional methods that make a store faster are in
`capabilities`, `small_files`, `listings` and `views`, with defaults that need only this core.
Names are SafeName: they are already checked. Errors are those of ftransfer.errors; an OSError never
leaves a store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple, Protocol

from ftransfer.digest import Digest
from ftransfer.names import SafeName

FILE = "file"
FOLDER = "dir"
LINK = "link"
OTHER = "other"  # what cannot be transferred, in listings with others

# Why something is OTHER.
DEAD_LINK = "dead link"  # it leads nowhere, or outside
FOLDER_LINK = "folder link"  # listings do not include what is behind it
UNREADABLE = "unread"  # it, or the target of the link, cannot be examined now
SPECIAL = "special"  # a fifo, a socket or a device
RESERVED = "reserved"  # its name has the prefix of our own files
TOO_LONG = "too long"  # its path

# How long after its last byte a partial can be resumed, unless the owner of the share sets another
# time.
KEEP_PARTIALS_S = 7 * 86_400.0


# What a folder, a link or an empty file counts in a quota of bytes: each takes space on a disk.
THING_BYTES = 4096


class Usage(NamedTuple):
    """Bytes and number of things. Folders, links and empty files count THING_BYTES each."""

    bytes: int = 0
    things: int = 0

    def __add__(self, other: Usage) -> Usage:  # type: ignore[override]  # counts are added, not concatenated
        return Usage(self.bytes + other.bytes, self.things + other.things)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.bytes - other.bytes, self.things - other.things)


def usage_of(size: int) -> Usage:
    """Return the usage of one thing with `size` bytes of content."""
    return Usage(size or THING_BYTES, 1)


class Space(NamedTuple):
    """What still fits on a file system: bytes and things.

    It can hold `all_things` in total; `free_things` is None where their number is not limited.
    """

    free_bytes: int
    free_things: int | None = None
    all_things: int = 0


class Entry(NamedTuple):
    """One thing in a share.

    `name` is wire text relative to the root of the share; `size` is in bytes (0 for a folder or
    link), `mtime_ns` in nanoseconds since 1970, `mode` the permission bits. `identity` is an opaque
    token that stays the same while it is the same, unmodified file (device-independent; made of
    inode, size and mtime); listings and packs leave it "". `target` is the text of a link,
    in listings with links. `ctime_ns` is the time of its last change of any kind, by the clock of
    the file system, and cannot be set back; 0 where the store does not know it. `unreadable` marks
    a folder in a recursive listing whose content could not be listed: nothing can be concluded from
    its absence. `why` says why something of kind "other" cannot be transferred; its name may be one
    that no peer can request.
    """

    name: str
    kind: str
    size: int
    mtime_ns: int
    mode: int
    identity: str = ""
    target: str = ""
    ctime_ns: int = 0
    unreadable: bool = False
    why: str = ""


def line_of(
    name: str,
    kind: str,
    size: int,
    mtime_ns: int,
    mode: int,
    *,
    target: str = "",
    unreadable: bool = False,
    why: str = "",
) -> str:
    """Return the line of an entry, for comparing trees by digests.

    Two entries have the same line if, and only if, there is nothing to change. The line of an entry
    that is "other" or `unreadable` has no attributes.

    Source: docs/protocol.md section 6.1.
    """
    if kind == FILE:
        return f"{name}\0file {size} {mtime_ns} {mode}\0"
    if unreadable or kind == OTHER:
        return f"{name}\0\0"
    return f"{name}\0dir {mtime_ns} {mode}\0" if kind == FOLDER else f"{name}\0link {target}\0"


def lines_of(entries: Sequence[Entry], folder: SafeName) -> Sequence[str]:
    """Return the lines of entries below `folder`, with names relative to it."""
    cut = 0 if folder.is_root else len(str(folder)) + 1
    return [
        line_of(
            entry.name[cut:],
            entry.kind,
            entry.size,
            entry.mtime_ns,
            entry.mode,
            target=entry.target,
            unreadable=entry.unreadable,
        )
        for entry in entries
    ]


class Range(NamedTuple):
    """The names after `after`, up to and including `until`; "" is no bound.

    Names are in the order of a recursive listing (names.sort_key) and relative to its folder.
    """

    after: str = ""
    until: str = ""


WHOLE = Range()


class UploadSpec(NamedTuple):
    """What a put announces about a file before its content. None or "" means not announced.

    `source` names one version of one source file: a partial is resumed only for the same source,
    and "" means that nothing is kept. `owner` keeps the partials of users apart.
    `if_absent` refuses to replace anything, `replaces` anything but the file that this entry
    describes (by identity and ctime). Without `durable` the commit does not wait for the disk, even
    if the store is durable.
    """

    size: int | None = None
    mtime_ns: int | None = None
    mode: int | None = None
    source: str = ""
    owner: str = ""
    if_absent: bool = False
    replaces: Entry | None = None
    durable: bool = True


class Partial(NamedTuple):
    """An incomplete upload: `kept` bytes of `size` (None: unknown), last written at `mtime_ns`."""

    name: str
    owner: str
    source: str
    kept: int
    size: int | None
    mtime_ns: int


class SmallFile(NamedTuple):
    """One item of a pack: a file with its content, an empty folder (kind "dir"), or a link.

    For a file, `digest` is that of `data` as the sender computed it; a store verifies it before it
    publishes. `if_absent` refuses to replace anything; an existing folder then keeps its mtime and
    mode. A tuple, since ten thousand are made at a time.
    """

    name: str
    kind: str
    mtime_ns: int
    mode: int
    data: bytes | memoryview = b""
    digest: Digest = ""
    target: str = ""
    if_absent: bool = False


class Reader(Protocol):
    """One regular file, open for reading. The caller that opened it closes it."""

    entry: Entry

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; b"" at the end."""

    async def check(self) -> None:
        """Raise SourceChanged if size, mtime or identity of the file no longer match `entry`."""

    async def close(self) -> None: ...


class Writer(Protocol):
    """One upload: its content is invisible until `commit`.

    Exactly one of commit, suspend and abort ends it. Bytes are written only at `offset`. After a
    newer writer has taken over the same upload, every method but `suspend` and `abort` raises
    Superseded, and this writer writes nothing more.
    """

    name: SafeName
    resumed_bytes: int  # left by an earlier attempt
    restarted: bool  # a partial of another source was found and dropped

    @property
    def offset(self) -> int:
        """Return the number of bytes in place, which is where the next byte goes."""

    @property
    def replaced(self) -> bool:
        """Return whether commit replaced something with the same name."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write data at `offset` and advance it.

        Raises:
            DiskFull, QuotaFull, StoreFailed: Nothing is published; bytes in place may be kept.
            Truncated: More bytes than announced; none of `data` is written.
            Superseded: A newer writer has taken over.
        """

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes in place, for hashing; b"" past `offset`."""

    async def commit(self, digest: Digest) -> Entry:
        """Publish the content under its name.

        Syncs the file, renames it and syncs the folder, in this order. On return it is durable.
        The caller has verified that the bytes in place have this digest.

        Raises:
            Truncated: A size was announced and `offset` differs from it.
            AlreadyThere, ChangedMeanwhile: `if_absent` or `replaces` does not hold.
            NotAFile: A folder has the name.
        """

    async def suspend(self, *, discard_tail: int = 0) -> None:
        """Close and keep the partial for a later attempt.

        Without an announced source it acts as `abort`. The last `discard_tail` bytes that this
        writer wrote are not kept.
        """

    async def abort(self) -> None:
        """Close and delete what was written."""


# Whether a view of a store hides a name whose folder is not hidden.
Hides = Callable[[str], bool]


class Store(Protocol):
    """A tree of files and folders."""

    durable: bool  # whether a commit survives a power cut

    async def stat(self, name: SafeName) -> Entry:
        """Describe a file or folder, links followed.

        Raises:
            NotFound: Nothing has the name; or it is under a file; or a link leads outside.
        """

    def scan(
        self,
        folder: SafeName,
        *,
        recursive: bool = False,
        links: bool = False,
        others: bool = False,
        within: Range = WHOLE,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        """Yield the entries below a folder in batches; memory does not grow with their number.

        Close it if you stop early. Not recursive: in the order of the file system. Recursive: depth
        first, each folder before its content, siblings ordered by the bytes of their names; in this
        order two trees can be compared side by side (names.sort_key). Lists regular files, folders
        and (if `links`) links. Without `links`, a link is listed as its target, is never descended
        into, and is omitted if it leads nowhere or outside. `within` limits a recursive listing to
        a range.

        With `others`, recursive listings show as "other" what they would omit, and also links to
        folders.

        Raises:
            NotFound, NotAFolder, Forbidden: At the first step. A subfolder that cannot be read is
                listed as `unreadable`, without its content.
        """

    async def open_read(self, name: SafeName) -> Reader:
        """Open a regular file.

        Raises:
            NotFound, NotAFile, Forbidden, StoreFailed.
        """

    async def open_write(self, name: SafeName, announced: UploadSpec) -> Writer:
        """Begin an upload, or resume the one of the same owner, name and source.

        `Writer.offset` tells where it resumes. An upload that does not fit as a whole is refused at
        once. The file system reserves space, or else the store does among its writers, but only for
        a bounded piece ahead of the bytes received: an announcement alone takes no disk space. An
        older live writer of the same upload is superseded; one of another source continues.

        Raises:
            NotFound: The parent folder does not exist.
            NotAFile, AlreadyThere, ChangedMeanwhile, Forbidden, ReadOnly, DiskFull, StoreFailed.
        """

    async def find_partial(self, name: SafeName, owner: str) -> Partial | None:
        """Return the newest partial of a name and owner that no live writer holds."""

    async def partials(self) -> Sequence[Partial]:
        """Return all partials, oldest first."""

    async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
        """Remove partials without a live writer for which `keep` is false; return those removed."""

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        """Make a folder.

        With `parents`, missing parents are made too, and an existing folder is no error.

        Raises:
            AlreadyThere, NotFound: Without `parents`.
            NotAFolder: With `parents`, a file has the name or that of a parent.
        """

    async def set_attributes(
        self, name: SafeName, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> None:
        """Set the mtime or mode of a file or folder; a folder keeps its owner's permission bits.

        Raises:
            NameRefused: It is the root.
        """

    async def rename(
        self, old: SafeName, new: SafeName, *, replace: bool = False, over: bool = False
    ) -> None:
        """Move a file or folder within the share, atomically and durably.

        With `over` it replaces whatever has the new name, even a folder with all its content; at
        any moment the new name has either its old or its new content.

        Raises:
            AlreadyThere: Something has the new name and neither `replace` nor `over` is given.
            NameRefused: `over` is given, and the names are not in the same folder.
        """

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        """Remove a file, link or folder; return the number of things removed.

        Raises:
            FolderNotEmpty: The folder has content, and `recursive` is false.
        """

    async def close(self) -> None:
        """Release handles and suspend open writers."""
