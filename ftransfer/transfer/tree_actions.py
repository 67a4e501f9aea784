"""The actions that make one tree like another, and the rules of the comparison. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ftransfer.storage.base import Entry
from ftransfer.transfer.selection import Wanted, everything


class ActionKind(Enum):
    """The kind of action for one name."""

    COPY = "copy"  # a file that is missing or differs
    COMPARE = "compare"  # a file of the same size, whose digests decide
    COMPARE_AND_SET = "compare and set"  # the same, where the time or mode differs as well
    SET = "set"  # a file of which only the mode differs
    LINK = "link"
    FOLDER = "folder"  # make it, or set its mode and mtime; comes after everything in it
    # The same, if a compared file directly in it turns out to differ
    FOLDER_IF_COPIED = "folder if copied"
    # A folder of the destination in which something changes, and whose owner lacks permission
    UNLOCK = "unlock"
    # Make it beside the old one, then move it into that place; its content needs no other action
    STAGE = "stage"
    # A folder that only the destination has: its removable content follows, then one of the next
    # three
    ENTER = "enter"
    # A name that only the destination has; the content of a folder has been named before
    REMOVE = "remove"
    # A folder that only the destination has, with all that was named since it was entered
    REMOVE_TREE = "remove tree"
    KEEP = "keep"  # a folder that only the destination has, and that must stay for its content
    REFUSE = "refuse"  # a name that is blocked by what the destination has there
    # A folder of the source that could not be listed: its content is left alone
    UNREADABLE = "unread"
    # A name of the source that cannot be transferred: the destination's is left alone
    LEAVE_OUT = "leave out"


class Action(NamedTuple):
    """One step.

    `entry` is the source's; for UNLOCK, ENTER, REMOVE, REMOVE_TREE and KEEP the destination's.
    Names are relative to the roots of the trees. `things` is how many names of the destination are
    removed with it. `why` is the reason to report; for KEEP, the name of what must stay.
    """

    kind: ActionKind
    entry: Entry
    things: int = 0
    why: str = ""


class Rules(NamedTuple):
    """How trees are compared.

    Args:
        delete: Remove what the source does not have.
        checksum: Compare files of the same size by digest, whatever their mtimes.
        links: Copy links as links; else they are treated as their targets.
        wanted: Whether a name takes part at all (name, is_folder); other names are neither copied
            nor removed.
    """

    delete: bool = False
    checksum: bool = False
    links: bool = False
    wanted: Wanted = everything
