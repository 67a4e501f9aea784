"""What a storage must offer: the Store, Reader and Writer protocols and the records that pass
through them.

Layers above `storage` name only this module, so a folder, a dictionary or an object store can stand
behind a share. All names are SafeName: checked before they come here. All errors are those of
ftransfer.errors; an OSError never leaves a store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple, Protocol

from ftransfer.digest import Digest
from ftransfer.errors import FtransferError
from ftransfer.names import ROOT, SafeName

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

# So long after its last byte a partial can be gone on with, unless the owner of a share says
# otherwise.
KEEP_PARTIALS_S = 7 * 86_400.0


# What a folder, a link or an empty file costs in a quota of bytes: none of them is free on a disk.
THING_BYTES = 4096


class Usage(NamedTuple):
    """How much things take: bytes, and their number. Folders, links and empty files have
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
    """Give the line that stands for an entry where trees are compared by digests (docs/protocol.md
    section 6.1).

    Two entries have the same line if, and only if, there is nothing to do about them. "other" or
    `unreadable`: no attributes.
    """
    if kind == FILE:
        return f"{name}\0file {size} {mtime_ns} {mode}\0"
    if unreadable or kind == OTHER:
        return f"{name}\0\0"
    return f"{name}\0dir {mtime_ns} {mode}\0" if kind == FOLDER else f"{name}\0link {target}\0"


def lines_of(entries: Sequence[Entry], folder: SafeName) -> Sequence[str]:
    """Give the lines of entries that lie below `folder`, with names relative to it."""
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
    """What a put says about a file before its content comes. None or "" means not said.

    `source` names one version of one source file: a partial is gone on with only for the same
    source, and "" means that nothing is kept. `owner` keeps the partials of users apart.
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
    supports_threads: bool  # whether read_blocking and fileno may be used

    async def read(self, offset: int, size: int) -> bytes:
        """Give up to `size` bytes from `offset`; b"" at the end."""

    async def check(self) -> None:
        """Raise SourceChanged if the file is no longer what `entry` says (size, mtime or
        identity).
        """

    def read_blocking(self, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset`, blocking, in a thread; give how many bytes there were (0 at
        the end).
        """

    def fileno(self) -> int:
        """Give the descriptor, for sendfile with explicit offsets. It stays the reader's."""

    async def close(self) -> None: ...


class Part(Protocol):
    """A range of an upload, written in order beside other parts. `complete` or `drop` ends it;
    `drop` may follow `complete`.

    Two parts may be at the same range: the first to be complete is taken, and the other raises
    OffsetConflict from then on. When the upload ends, or a newer writer takes it over, all methods
    but `drop` raise Aborted or Superseded.
    """

    supports_threads: bool  # whether write_blocking and read_blocking may be used

    @property
    def offset(self) -> int:
        """Give where the next byte goes, counted from the beginning of the file."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """As Writer.write; Truncated if it goes beyond the range."""

    async def read(self, offset: int, size: int) -> bytes:
        """Give bytes that this part has written, for hashing."""

    def write_blocking(self, data: memoryview) -> None:
        """As `write`, blocking, in a thread."""

    def read_blocking(self, offset: int, view: memoryview) -> int:
        """As Reader.read_blocking, for what this part has written."""

    async def complete(self) -> None:
        """Say that the bytes are verified. They count from now on, and nobody can write them any
        more.

        Raises:
            Truncated: The range is not full.
        """

    async def drop(self) -> None:
        """End it; what was written does not count, unless it is complete. Nothing writes after
        that.
        """


class Writer(Protocol):
    """One upload: content that nobody sees until `commit`. Exactly one of commit, keep and abort
    ends it.

    Bytes are written at `offset` and nowhere else. If a newer writer has taken the same upload
    over, every method but `keep` and `abort` raises Superseded, and nothing more is written through
    this one.

    Where `takes_parts`, ranges may be written out of order instead, through `open_part` alone:
    `offset` then is the first gap.
    """

    name: SafeName
    resumed_bytes: int  # left by an earlier attempt
    restarted: bool  # a partial of another source was there and has been dropped
    supports_threads: bool  # whether write_blocking and read_blocking may be used

    @property
    def offset(self) -> int:
        """Give the bytes in place; the next byte goes here."""

    @property
    def replaced(self) -> bool:
        """Whether something had the name and has gone; known after commit."""

    @property
    def reserved(self) -> int:
        """Up to where the file system has set room aside, which it counts as used already."""

    @property
    def takes_parts(self) -> bool:
        """Whether open_part may be used."""

    async def open_part(self, offset: int, length: int) -> Part:
        """Begin to write a range of the announced size. Whoever opens a part ends it.

        Raises:
            OffsetConflict: It is empty, reaches beyond the size, or is in place already, wholly or
                partly; or too much is ahead of its turn.
        """

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Put data at `offset` and move it on.

        Raises:
            DiskFull, QuotaFull, StoreFailed: Nothing is published; what is in place may be kept.
            Truncated: It is more than was announced; none of it is written.
            Superseded: A newer writer has taken over.
        """

    async def read(self, offset: int, size: int) -> bytes:
        """Give bytes that are already in place, for hashing; b"" past `offset`."""

    def write_blocking(self, data: memoryview) -> None:
        """As `write`, blocking, in a thread."""

    def read_blocking(self, offset: int, view: memoryview) -> int:
        """As Reader.read_blocking, for what is in place."""

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

        Of the bytes that this writer wrote the last `discard_tail` are not kept.
        """

    async def abort(self) -> None:
        """Close and drop what was written."""


# Whether a name is hidden from those for whom a store is, given that the folder that it is in is
# not.
Hides = Callable[[str], bool]


class Store(Protocol):
    """A tree of files and folders."""

    durable: bool  # whether a commit survives a power cut

    def without_links(self) -> Store:
        """Give the same store for those who may go only to some places: no link is followed, so
        that none can lead elsewhere. What is behind one is not found. It is closed with the store
        itself.
        """

    def on_behalf_of(self, owner: str) -> Store:
        """Give the same store, with long work done in turns that are shared fairly between owners.
        It is closed with the store.
        """

    def hiding(self, hides: Hides) -> Store:
        """Give the same store for those from whom some names are hidden: such a thing is not listed
        nor read with a tree, stays when the tree that it is in is removed, and no link leads to it.
        What a caller names is not checked. Where `hides` looks at more than the last part of a
        name, `without_links` is needed as well. It is closed with the store itself.
        """

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
        """Give the entries below a folder in batches, so that memory does not grow with their
        number. Close it if it is left early.

        Not recursive: in the order of the file system. Recursive: each folder before its content,
        siblings ordered by the bytes of their names, depth first; the order in which two trees can
        be compared side by side. Only regular files, folders and (if `links`) links; without
        `links` a link counts as what it leads to, is never descended into, and is left out if it
        leads nowhere or outside. A recursive listing can be bounded to what lies `within` a range.

        With `others`, for recursive listings, what is left out otherwise is listed as "other", and
        so is a link to a folder.

        Raises:
            NotFound, NotAFolder, Forbidden: At the first step. A folder below that cannot be read
                is listed as `unreadable`, without its content.
        """

    def lines(
        self, folder: SafeName, *, links: bool = False, others: bool = False
    ) -> AsyncGenerator[Sequence[str], None]:
        """Give what a recursive listing would, in its order, as lines (line_of) with names relative
        to the folder; it costs less.

        To be closed, and raises, as `list`.
        """

    async def open_read(self, name: SafeName, *, whole_bytes: int = 0) -> Reader:
        """Open a regular file.

        Args:
            whole_bytes: A file of up to so many bytes may be read, checked and closed at once; its
                reader gives it from memory.

        Raises:
            NotFound, NotAFile, Forbidden, StoreFailed.
            SourceChanged: It was read in the same go, and changed meanwhile.
        """

    async def open_write(self, name: SafeName, announced: UploadSpec) -> Writer:
        """Begin an upload, or go on with the one of the same owner, name and source:
        `Writer.offset` says from where.

        What could not be held as a whole is refused at once. Space is reserved by the file system,
        or else among the writers of this store, but only for a bounded piece ahead of what has
        come: an announcement alone takes no disk. An older live writer of the same upload is fenced
        off; one of another source goes on beside it.

        Raises:
            NotFound: The folder to hold it does not exist.
            NotAFile, AlreadyThere, ChangedMeanwhile, Forbidden, ReadOnly, DiskFull, StoreFailed.
        """

    async def find_partial(self, name: SafeName, owner: str) -> Partial | None:
        """Give the newest partial of that name and owner that no live writer holds."""

    async def partials(self) -> Sequence[Partial]:
        """Give all partials, oldest first."""

    async def clear_partials(self, keep: Callable[[Partial], bool]) -> Sequence[Partial]:
        """Remove the partials for which `keep` is false and that no live writer holds; give those
        removed.
        """

    async def read_small(
        self, names: Sequence[SafeName], room_bytes: int
    ) -> Sequence[SmallFile | Entry | FtransferError]:
        """Read small files in one job, in order, each with its digest.

        Gives one item for each name, in the same order, and may stop early (a shorter result) when
        `room_bytes` of content are full; at least one item comes. A file larger than `room_bytes`
        comes as its Entry, to be sent by open_read; a folder as a SmallFile of kind "dir"; what
        cannot be read as the error.
        """

    def read_tree(
        self, folder: SafeName, room_bytes: int, max_items: int, *, others: bool = False
    ) -> AsyncGenerator[Sequence[SmallFile | Entry | FtransferError], None]:
        """Read all that is below a folder, in groups as from read_small; each folder comes before
        what is in it, in no other order.

        Links count as what they lead to; one that leads to a folder is not descended into. With
        `others`, that and what is left out otherwise comes as an Entry of kind "other". Close it if
        it is left early.

        Contents may be views of memory that is used again: they hold until the next group but one
        is asked for.

        Raises:
            NotFound, NotAFolder, Forbidden: At the first step.
        """

    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
        """Verify and publish small files, folders and links in one job and one round of syncs.

        Gives for each, in order, the error, or None: then it is there as its SmallFile says, and
        durable. Each file is atomic by itself. Missing parent folders are made.
        """

    async def make_folder(self, name: SafeName, *, parents: bool = False) -> None:
        """Make a folder. With `parents`, missing ones above are made too and an existing folder is
        no error.
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
        """Remove a file, link or folder; give how many things went.

        Raises:
            FolderNotEmpty: A folder with content, and not `recursive`.
        """

    async def usage(self, folder: SafeName = ROOT) -> Usage:
        """Return what lies below a folder, through no link; below the root, all partials too.
        Nothing there is nothing.
        """

    async def space(self) -> Space:
        """Return how much more fits on the file system."""

    async def close(self) -> None:
        """Give handles back. Writers that are still open are kept."""
