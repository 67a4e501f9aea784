"""How a tree is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ftransfer.errors import RemoteProtocolError
from ftransfer.names import SafeName
from ftransfer.transfer.hidden_names import HiddenNames
from ftransfer.transfer.selection import Wanted, everything, hidden_names
from ftransfer.transfer.tree_actions import Rules

_MOST_PATTERNS = 1000


class TreeOptions(NamedTuple):
    """How a tree is copied.

    `delete` removes what the source does not have; `dry_run` only reports what would be done;
    `checksum` compares files of the same size by digest and not by mtime; `links` copies links as
    links; `wanted` selects the names that take part (transfer.selection).
    """

    delete: bool = False
    dry_run: bool = False
    checksum: bool = False
    links: bool = False
    wanted: Wanted = everything

    @property
    def selects(self) -> bool:
        """Return whether some names of the source may take no part."""
        return self.wanted is not everything and not (
            isinstance(self.wanted, _ShownNames) and self.wanted.inner is everything
        )

    def sparing(self, patterns: Sequence[str], remote: SafeName) -> TreeOptions:
        """Return the options that spare local names that the server hides.

        Hidden names may exist there, though they are not listed. Raises RemoteProtocolError.
        """
        if not (self.delete and patterns) or isinstance(self.wanted, _ShownNames):
            return self
        try:
            hidden = hidden_names(patterns[:_MOST_PATTERNS])
        except ValueError as error:
            raise RemoteProtocolError(
                "the server says a pattern of hidden names that is none"
            ) from error
        if len(patterns) > _MOST_PATTERNS:
            raise RemoteProtocolError(
                f"the server says more than {_MOST_PATTERNS} patterns of hidden names"
            )
        return self._replace(wanted=_ShownNames(self.wanted, hidden, remote))

    @property
    def rules(self) -> Rules:
        return Rules(
            delete=self.delete, checksum=self.checksum, links=self.links, wanted=self.wanted
        )


class _ShownNames:
    """The names of a selection that a server does not hide."""

    def __init__(self, inner: Wanted, hidden: HiddenNames, remote: SafeName) -> None:
        self.inner = inner
        self.hidden = hidden
        self.remote = remote

    def __call__(self, name: str, is_folder: bool) -> bool:
        whole = SafeName((*self.remote.parts, *name.split("/")))
        return self.inner(name, is_folder) and not self.hidden.covers(whole)
