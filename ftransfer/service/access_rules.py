"""Decide what one principal may do in a share, from the name alone.

Two rules keep hidden things hidden: the rules are checked before the store is asked, and a name
that may not be seen gets the same error as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ftransfer.auth.permissions import Principal, Right
from ftransfer.errors import (
    AlreadyThere,
    Forbidden,
    FtransferError,
    NameRefused,
    NotFound,
    ReadOnly,
)
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.storage.base import FOLDER, LINK, Entry, Partial, SmallFile
from ftransfer.transfer.hidden_names import HiddenNames

SEEING = (Right.LIST, Right.READ)
_WRITING = frozenset((Right.WRITE, Right.OVERWRITE))


class AccessRules:
    """The rules for one principal.

    Args:
        hiding: Names that do not exist for anybody and cannot be created.
        read_only: Refuse every change, whatever the rights; the error message says so.
    """

    def __init__(
        self, principal: Principal, *, hiding: HiddenNames | None = None, read_only: bool = False
    ) -> None:
        self.principal = principal
        self.hiding = hiding
        self.read_only = read_only
        self.is_uniform = principal.is_uniform  # the same everywhere

    @property
    def may_follow_links(self) -> bool:
        """Return whether no link can lead to something that they may not access."""
        # If more than the last part of a name decides, a link could give another name to something
        # hidden by its name.
        return self.is_uniform and (self.hiding is None or self.hiding.looks_at_last)

    @property
    def reads_all(self) -> bool:
        """Return whether they may read everything that is not hidden."""
        return self.is_uniform and self.principal.may(Right.READ, ROOT)

    @property
    def writes_all(self) -> bool:
        """Return whether they may write and overwrite everything that is not hidden."""
        return self.is_uniform and not self.read_only and self.principal.rights_at(ROOT) >= _WRITING

    def may_hide_any(self, files: Iterable[SmallFile]) -> bool:
        """Return whether a file has a hidden or invalid name, or links to something hidden."""
        hiding = self.hiding
        return hiding is not None and any(_may_hide(hiding, file) for file in files)

    def covers(self, name: SafeName) -> bool:
        """Return whether a name is hidden from everybody."""
        return self.hiding is not None and self.hiding.covers(name)

    def may_see(self, name: SafeName) -> bool:
        return not self.covers(name) and any(self.principal.may(right, name) for right in SEEING)

    def may_see_below(self, folder: SafeName) -> bool:
        """Return whether anything below a folder is visible, which makes the folder visible."""
        return not self.covers(folder) and any(
            self.principal.may_below(right, folder) for right in SEEING
        )

    def may_list(self, folder: SafeName) -> bool:
        """Return whether there is anything to list.

        Raises the refusal that hides the folder if nothing below it is visible.
        """
        if self.covers(folder):
            raise not_found(folder)
        if self.principal.may_below(Right.LIST, folder):
            return True
        if folder.is_root:
            return False  # a share always exists; that it is empty for them is no secret
        raise self.hidden(folder, Right.LIST)

    def is_listed(self, entry: Entry) -> bool:
        """Return whether an entry that is not hidden is listed."""
        name = SafeName.trusted(entry.name)
        if entry.kind == FOLDER:
            return self.principal.may_below(Right.LIST, name)
        # The target of a link names other things, and no link is followed for such principals.
        return entry.kind != LINK and self.principal.may(Right.LIST, name)

    def may_pack(self, name: SafeName) -> bool:
        """Return whether a pack may contain this name."""
        # A tree also contains the folders that lead to visible files.
        return not self.covers(name) and (
            self.principal.may(Right.READ, name) or self.principal.may_below(Right.LIST, name)
        )

    def partial_filter(
        self, below: SafeName, before_ns: int | None, source: str, needed: frozenset[Right]
    ) -> Callable[[Partial], bool]:
        """Return a filter for their interrupted uploads at or below a name.

        If a time is given, it accepts only uploads not written since then.
        """

        def is_meant(partial: Partial) -> bool:
            name = SafeName.trusted(partial.name)
            is_old = before_ns is None or partial.mtime_ns <= before_ns
            if not is_old or not name.is_within(below) or self.covers(name):
                return False
            return _owns(self.principal, partial, source, needed)

        return is_meant

    # Refusals.

    def refuse_reading(self, name: SafeName) -> None:
        if self.covers(name) or not self.principal.may(Right.READ, name):
            raise self.hidden(name, Right.READ)

    def refuse_batch(self, *rights: Right) -> None:
        """Refuse a batch early if none of these rights is granted at any name.

        Raises ReadOnly, Forbidden.
        """
        if self.read_only and not set(rights) & set(SEEING):
            raise ReadOnly("this share is read-only")
        if not any(map(self.principal.may_somewhere, rights)):
            words = " or ".join(right.value for right in rights)
            raise Forbidden(
                f"you have no right to {words} anything; the owner of the share can give it"
            )

    def rights_to_write(self, name: SafeName) -> frozenset[Right]:
        """Return which of WRITE and OVERWRITE are granted, at least one.

        Raises ReadOnly, Forbidden, NotFound.
        """
        rights = self.principal.rights_at(name) & _WRITING
        if not rights:
            raise self.hidden(name, Right.WRITE)
        if self.read_only:
            raise share_is_read_only(name)
        if self.covers(name):
            raise _covered(name)
        return rights

    def need(self, right: Right, name: SafeName) -> None:
        """Raise an error unless the right is granted at the name and everywhere below it."""
        if not self.principal.may(right, name):
            raise self.hidden(name, right)
        if self.read_only:
            raise share_is_read_only(name)
        if self.covers(name):
            raise _covered(name) if right is Right.WRITE else not_found(name)
        if not self.principal.may_all_below(right, name):
            raise self.not_allowed(
                name, f"your right to {right.value} does not hold for all below it"
            )

    def hidden(self, name: SafeName, right: Right) -> FtransferError:
        """Return the error for a missing right.

        For a visible name it says that this is not allowed, for any other that it does not exist.
        """
        if not self.may_see(name):
            return not_found(name)
        if self.read_only and right not in SEEING:
            return share_is_read_only(name)
        return self.not_allowed(
            name, f"you have no right to {right.value} it; the owner of the share can give it"
        )

    def not_allowed(self, name: SafeName, why: str) -> FtransferError:
        return Forbidden.about(name, why) if self.may_see(name) else not_found(name)


def _owns(principal: Principal, partial: Partial, source: str, needed: frozenset[Right]) -> bool:
    """Return whether an interrupted upload is one of theirs.

    All anonymous clients are one owner. Each of them sees the uploads whose source it can name,
    which only the sender can, and those at whose names it has the needed rights.
    """
    if partial.owner != principal.name or (source and partial.source != source):
        return False
    if partial.owner or source:
        return True
    return principal.rights_at(SafeName.trusted(partial.name)) >= needed


def _may_hide(hiding: HiddenNames, file: SmallFile) -> bool:
    if file.kind == LINK and leads_to_hidden(hiding, file.target):
        return True
    try:
        is_plain = file.name.isascii()
        return hiding.covers(SafeName.trusted(file.name) if is_plain else parse_name(file.name))
    except NameRefused:
        return True


def leads_to_hidden(hiding: HiddenNames | None, target: str) -> bool:
    """Return whether a link names something hidden.

    The server follows no such link, but other programs may.
    """
    return hiding is not None and any(map(hiding, target.split("/")))


def taken(name: SafeName) -> AlreadyThere:
    """Return the same error for anything whose name may not be replaced."""
    return AlreadyThere.about(
        name, "already exists and you may not overwrite it; choose another name"
    )


def not_found(name: SafeName) -> NotFound:
    return NotFound.about(name, "no such file or folder")


def share_is_read_only(name: SafeName) -> ReadOnly:
    return ReadOnly.about(name, "this share is read-only")


def _covered(name: SafeName) -> Forbidden:
    message = (
        "this server hides such names and stores nothing under them; choose another name, or ask"
        " the owner of the share"
    )
    return Forbidden.about(name, message)
