"""What every store must offer: the Store, Reader and Writer protocols, and the values that pass
through them.

This is the whole of what a new back end writes. What a store may offer beside it, to be faster, is
in `capabilities`, `small_files`, `listings` and `views`, with defaults that need the core alone.
Names are SafeName: they were checked before they come here. Errors are those of ftransfer.errors;
an OSError never leaves a store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple, Protocol

from ftransfer.digest import Digest
from ftransfer.names import SafeName

FILE = "file"
FOLDER = "dir"
LINK = "link"
OTHER = "other"  # what cannot be moved, in listings with others

# Why something is OTHER.
DEAD_LINK = "dead link"  # it leads nowhere, or outside
FOLDER_LINK = "folder link"  # what is behind it is in no listing
UNREADABLE = "unread"  # it, or what a link leads to, cannot be looked at just now
SPECIAL = "special"  # a fifo, a socket or a device
RESERVED = "reserved"  # its name begins as those of our own files
TOO_LONG = "too long"  # its path

# A partial can be resumed for so long after its last byte, unless the owner of the share says
# otherwise.
KEEP_PARTIALS_S = 7 * 86_400.0


# What a folder, a link or an empty file costs in a quota of bytes: none of them is free on a disk.
THING_BYTES = 4096


class Usage(NamedTuple):
    """How much things take: bytes, and their number. Folders, links and empty files count
    THING_BYTES each.
    """

    bytes: int = 0
    things: int = 0

    def __add__(self, other: Usage) -> Usage:  # type: ignore[override]  # what is counted is added, not put side by side
        return Usage(self.bytes + other.bytes, self.things + other.things)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.bytes - other.bytes, self.things - other.things)


def usage_of(size: int) -> Usage:
    """Return what one thing takes, of so many bytes of content."""
    return Usage(size or THING_BYTES, 1)


class Space(NamedTuple):
    """What still fits on a file system: bytes, and things, of `all_things` that it can hold; None
    where nothing bounds them.
    """

    free_bytes: int
    free_things: int | None = None
    all_things: int = 0


class Entry(NamedTuple):
    """One thing in a share.

    `name` is wire text relative to the root of the share; `size` is in bytes (0 for a folder or
    link), `mtime_ns` in nanoseconds since 1970, `mode` the permission bits. `identity` is an opaque
    word that stays the same as long as the content is the same file untouched (device-independent;
    made of inode, size and mtime); listings and packs leave it "". `target` is the text of a link,
    in listings with links. `ctime_ns` is when anything about it last changed, by the clock of the
    file system, which nobody can set back; 0 where the store does not tell. `unreadable` marks a
    folder in a recursive listing whose content could not be listed: nothing can be concluded from
    its absence. `why` says why something of kind "other" cannot be moved; its name may be one that
    no peer could ask for.
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
    """Return the line that stands for an entry where trees are compared by digests
    (docs/protocol.md section 6.1).

    Two entries have the same line if, and only if, there is nothing to do about them. What is
    "other" or `unreadable` has no attributes.
    """
    if kind == FILE:
        return f"{name}\0file {size} {mtime_ns} {mode}\0"
    if unreadable or kind == OTHER:
        return f"{name}\0\0"
    return f"{name}\0dir {mtime_ns} {mode}\0" if kind == FOLDER else f"{name}\0link {target}\0"


def lines_of(entries: Sequence[Entry], folder: SafeName) -> Sequence[str]:
    """Return the lines of entries that lie below `folder`, with names relative to it."""
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
    """Names after one and up to another, in the order of a recursive listing (names.sort_key); ""
    is no bound.

    They are relative to the folder that is listed.
    """

    after: str = ""
    until: str = ""


WHOLE = Range()


class UploadSpec(NamedTuple):
    """What a put announces about a file before its content. None or "" means not announced.

    `source` names one version of one source file: a partial is resumed only for the same source,
    and "" means that nothing is kept. `owner` keeps the partials of users apart.
    `if_absent` refuses to replace anything, `replaces` anything but the file that this entry
    describes (by identity and ctime). Without `durable` nobody waits for the disk, whatever the
    store does else.
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
    """An upload that is not complete: `kept` bytes of `size` (None: not known), last written at
    `mtime_ns`.
    """

    name: str
    owner: str
    source: str
    kept: int
    size: int | None
    mtime_ns: int


class SmallFile(NamedTuple):
    """A whole small thing that travels packed: a file with its content, an empty folder (kind
    "dir"), or a link.

    For a file, `digest` is that of `data` as the sender computed it; a store verifies it before it
    publishes. `if_absent` refuses to replace anything; a folder then keeps the mtime and mode that
    it has. A tuple, since they are made ten thousand at a time.
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
    """One regular file, open for reading. Whoever opened it closes it."""

    entry: Entry

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; b"" at the end."""

    async def check(self) -> None:
        """Raise SourceChanged if the file is no longer what `entry` says (size, mtime or
        identity).
        """

    async def close(self) -> None: ...


class Writer(Protocol):
    """One upload: content that nobody sees until `commit`. Exactly one of commit, suspend and abort
    ends it.

    Bytes are written at `offset` and nowhere else. If a newer writer has taken the same upload
    over, every method but `suspend` and `abort` raises Superseded, and nothing more is written
    through this one.
    """

    name: SafeName
    resumed_bytes: int  # left by an earlier attempt
    restarted: bool  # a partial of another source was there and has been dropped

    @property
    def offset(self) -> int:
        """Return the number of bytes in place; the next byte goes here."""

    @property
    def replaced(self) -> bool:
        """Whether something had the name and was replaced; known after commit."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write data at `offset` and advance it.

        Raises:
            DiskFull, QuotaFull, StoreFailed: Nothing is published; what is in place may be kept.
            Truncated: It is more than was announced; none of it is written.
            Superseded: A newer writer has taken over.
        """

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes that are already in place, for hashing; b"" past `offset`."""

    async def commit(self, digest: Digest) -> Entry:
        """Publish the content under its name: synced, renamed, folder synced, in this order. On
        return it is durable.

        The caller has verified that what is in place has this digest.

        Raises:
            Truncated: A size was announced and `offset` is another.
            AlreadyThere, ChangedMeanwhile: if_absent or `replaces` does not hold.
            NotAFile: A folder has the name.
        """

    async def suspend(self, *, discard_tail: int = 0) -> None:
        """Close, leaving the partial for a later attempt if the announcement had a source; else as
        `abort`.

        Of the bytes that this writer wrote, the last `discard_tail` are not kept.
        """

    async def abort(self) -> None:
        """Close and drop what was written."""


# Whether a name is hidden from those for whom a view of a store is, given that the folder that it
# is in is not.
Hides = Callable[[str], bool]


class Store(Protocol):
    """A tree of files and folders."""

    durable: bool  # whether a commit survives a power cut

    async def stat(self, name: SafeName) -> Entry:
        """Describe a file or folder, links followed.

        Raises:
            NotFound: Nothing is there; or the name is under a file; or a link leads outside.
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
        """Yield the entries below a folder in batches, so that memory does not grow with their
        number. Close it if you leave early.

        Not recursive: in the order of the file system. Recursive: each folder before its content,
        siblings ordered by the bytes of their names, depth first; the order in which two trees can
        be compared side by side (names.sort_key). Only regular files, folders and (if `links`)
        links; without `links` a link counts as what it leads to, is never descended into, and is
        left out if it leads nowhere or outside. A recursive listing can be bounded to what lies
        `within` a range.

        With `others`, recursive listings have what is left out otherwise as "other", and so a link
        to a folder.

        Raises:
            NotFound, NotAFolder, Forbidden: At the first step. A folder below that cannot be read
                is listed as `unreadable`, without its content.
        """

    async def open_read(self, name: SafeName) -> Reader:
        """Open a regular file.

        Raises:
            NotFound, NotAFile, Forbidden, StoreFailed.
        """

    async def open_write(self, name: SafeName, announced: UploadSpec) -> Writer:
        """Begin an upload, or resume the one of the same owner, name and source: `Writer.offset`
        says from where.

        What could not be held as a whole is refused at once. Space is reserved by the file system,
        or else among the writers of this store, but only for a bounded piece ahead of what has
        come: an announcement alone takes no disk. An older live writer of the same upload is fenced
        off; one of another source continues beside it.

        Raises:
            NotFound: The folder to hold it does not exist.
            NotAFile, AlreadyThere, ChangedMeanwhile, Forbidden, ReadOnly, DiskFull, StoreFailed.
        """

    async def find_partial(self, name: SafeName, owner: str) -> Partial | None:
        """Return the newest partial of that name and owner that no live writer holds."""

    async def partials(self) -> Sequence[Partial]:
        """Return all partials, oldest first."""

    async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
        """Remove the partials for which `keep` is false and that no live writer holds; return those
        removed.
        """

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        """Make a folder. With `parents`, missing ones above are made too and an existing folder is
        no error.

        Raises:
            AlreadyThere, NotFound: Without `parents`.
            NotAFolder: A file has the name or one above it, with `parents`.
        """

    async def set_attributes(
        self, name: SafeName, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> None:
        """Set the mtime or mode of a file or folder; of a folder, the bits of its owner stay.

        Raises:
            NameRefused: It is the root.
        """

    async def rename(
        self, old: SafeName, new: SafeName, *, replace: bool = False, over: bool = False
    ) -> None:
        """Move a file or folder within the share, atomically and durably.

        With `over` it takes the place of whatever has the new name, a folder with all that is in it
        too; at any moment the new name has what it had, or what it is to have.

        Raises:
            AlreadyThere: Something has the new name and neither `replace` nor `over` is given.
            NameRefused: `over`, and the two are not in the same folder.
        """

    async def remove(self, name: SafeName, *, recursive: bool = False) -> int:
        """Remove a file, link or folder; return how many things were removed.

        Raises:
            FolderNotEmpty: A folder with content, and not `recursive`.
        """

    async def close(self) -> None:
        """Release handles. Writers that are still open are suspended."""
