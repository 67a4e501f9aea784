"""The report of a copied tree: an item for each name, and counts for the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ftransfer.digest import Digest
from ftransfer.errors import FtransferError, LeftOut
from ftransfer.storage.base import (
    DEAD_LINK,
    FILE,
    FOLDER,
    FOLDER_LINK,
    LINK,
    RESERVED,
    SPECIAL,
    TOO_LONG,
    UNREADABLE,
    SmallFile,
)

_WHY = {
    DEAD_LINK: "a link that leads nowhere or outside",
    FOLDER_LINK: "a link to a folder, which is not followed; sync --links copies the link itself",
    UNREADABLE: "cannot be read just now",
    SPECIAL: "neither a file nor a folder",
    RESERVED: "names that begin with .ftransfer are reserved",
    TOO_LONG: "its path is longer than a name in a share can be",
}


class TreeItem(NamedTuple):
    """The outcome for one name.

    `did` is "copied", "updated" (only its mode or time was set), "linked", "made" or "removed"; or,
    with the reason in `error`: "left out" (it cannot be copied), "kept" (a folder that should be
    removed) or "failed". `name` is relative to the root of the tree; `size` is in bytes; `digest`
    is that of a copied file.
    """

    name: str
    did: str
    size: int = 0
    digest: Digest = ""
    error: FtransferError | None = None


class TreeReport(NamedTuple):
    """The outcome for a tree: counts of names, bytes of transferred content, and seconds.

    For a dry run, they are what would be done.
    """

    copied: int = 0
    folders: int = 0
    links: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    durable: bool = True
    updated: int = 0
    left_out: int = 0
    kept: int = 0

    @property
    def is_complete(self) -> bool:
        """Return whether the one tree is now like the other, as far as requested."""
        return not (self.failed or self.left_out or self.kept)


OnItem = Callable[[TreeItem], None]
DID = {FILE: "copied", FOLDER: "made", LINK: "linked"}


def items_of(files: Sequence[SmallFile]) -> list[TreeItem]:
    """Return the outcomes of small items that were copied."""
    names, kinds, _, _, contents, digests, _, _ = zip(*files, strict=True)
    return list(map(TreeItem, names, map(DID.__getitem__, kinds), map(len, contents), digests))


def left_out_item(name: str, why: str) -> TreeItem:
    """Return the outcome for a name of the source that cannot be copied."""
    message = f"left out: {_WHY.get(why, 'it cannot be moved')}"
    return TreeItem(name, "left out", error=LeftOut.about(name, message))
