"""Who may do what below which name: Right, Grant and Principal, and the words in which people write
rights down.

Pure. The share asks a principal before it asks its store; the answer depends on names only, never
on what is on disk, so that it cannot tell what exists. Rights are given for a name and all below
it; where several grants fit, the longest one alone counts, so that a narrow grant can take away
what a wide one gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ftransfer.names import ROOT, SafeName


class Right(Enum):
    """One thing that may be allowed. `value` is its word."""

    LIST = "list"  # see names, sizes and times
    READ = "read"  # have the content
    WRITE = "write"  # make new files and folders
    OVERWRITE = "overwrite"  # replace content, and change times and modes
    DELETE = "delete"  # remove; with WRITE at the other end, move
    SAY = "say"  # send messages to other users
    WATCH = "watch"  # hear of changes, and of who is here


ALL_RIGHTS = frozenset(Right)
NO_RIGHTS: frozenset[Right] = frozenset()

# What a word means. `read` brings `list`, since hardly anybody means one without the other; `get`
# is reading alone: one has to know the name.
_RIGHTS_OF_WORD: Mapping[str, frozenset[Right]] = {
    **{right.value: frozenset({right}) for right in Right},
    "read": frozenset({Right.LIST, Right.READ}),
    "get": frozenset({Right.READ}),
    "change": frozenset({Right.LIST, Right.READ, Right.WRITE, Right.OVERWRITE, Right.DELETE}),
    "drop-box": frozenset({Right.WRITE}),
    "all": ALL_RIGHTS,
    "none": NO_RIGHTS,
}
RIGHTS_WORDS = tuple(_RIGHTS_OF_WORD)


def parse_rights(words: str | Iterable[str]) -> frozenset[Right]:
    """Return the rights that some words stand for together; a text is cut at commas and spaces.

    Raises:
        ValueError: A word is unknown, or there is none, or something stands beside `none`. The
            message is one for people.
    """
    found = words.replace(",", " ").split() if isinstance(words, str) else list(words)
    if not found:
        raise ValueError(f"no rights are named; the words are {', '.join(RIGHTS_WORDS)}")
    for word in found:
        if word not in _RIGHTS_OF_WORD:
            raise ValueError(f"{word!r} is no right; the words are {', '.join(RIGHTS_WORDS)}")
    if "none" in found and len(found) > 1:
        raise ValueError("'none' cannot stand beside other rights")
    return frozenset().union(*(_RIGHTS_OF_WORD[word] for word in found))


def format_rights(rights: frozenset[Right]) -> str:
    """Return a text that parse_rights reads as the same rights."""
    if rights == ALL_RIGHTS:
        return "all"
    if not rights:
        return "none"
    words = {"get" if right is Right.READ else right.value for right in rights}
    if {"list", "get"} <= words:
        words = words - {"list", "get"} | {"read"}
    return ",".join(word for word in RIGHTS_WORDS if word in words)


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights at `prefix` and below it."""

    prefix: SafeName
    rights: frozenset[Right]


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much one user, or all together, may have; None for no bound.

    `quota_bytes` is for all that lies where a user may write, and their partials; `quota_files` for
    the number of files, folders and links there; `max_file_bytes` for one file; `rate` is bytes a
    second, of content, both ways together.
    """

    quota_bytes: int | None = None
    max_file_bytes: int | None = None
    rate: int | None = None
    quota_files: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a session acts for. `name` keeps partials apart and stands in logs; without a grant
    that fits there is no right.
    """

    name: str
    grants: tuple[Grant, ...]
    is_anonymous: bool = False
    allowance: Allowance = Allowance()

    def rights_at(self, name: SafeName) -> frozenset[Right]:
        """Return the rights of the longest grant that `name` lies in."""
        best: Grant | None = None
        for grant in self.grants:
            if name.is_within(grant.prefix) and (
                best is None or len(grant.prefix.parts) >= len(best.prefix.parts)
            ):
                best = grant
        return best.rights if best is not None else NO_RIGHTS

    @property
    def is_uniform(self) -> bool:
        """Whether the rights are the same at every name."""
        return all(grant.rights == self.rights_at(ROOT) for grant in self.grants)

    def may(self, right: Right, name: SafeName) -> bool:
        return right in self.rights_at(name)

    def may_somewhere(self, right: Right) -> bool:
        """Whether there is any name at which the right is given."""
        return any(right in grant.rights for grant in self.grants)

    def may_below(self, right: Right, folder: SafeName) -> bool:
        """Whether the right is given at the folder or at some name below it."""
        return self.may(right, folder) or any(
            right in grant.rights
            and grant.prefix.is_within(folder)
            and self.may(right, grant.prefix)
            for grant in self.grants
        )

    def may_all_below(self, right: Right, folder: SafeName) -> bool:
        """Whether the right is given at the folder and no narrower grant takes it away below."""
        return self.may(right, folder) and all(
            right in grant.rights
            or not grant.prefix.is_within(folder)
            or self.may(right, grant.prefix)
            for grant in self.grants
        )

    def restricted_to(self, allowed: frozenset[Right]) -> Principal:
        """Return the same principal with none but the `allowed` rights left, as for a share that is
        read-only.
        """
        grants = tuple(Grant(grant.prefix, grant.rights & allowed) for grant in self.grants)
        return replace(self, grants=grants)

    def places_to_write(self) -> tuple[SafeName, ...]:
        """Return the names at and below which the principal may write, none of them below another,
        sorted.
        """
        places = {
            grant.prefix
            for grant in self.grants
            if self.rights_at(grant.prefix) & {Right.WRITE, Right.OVERWRITE}
        }
        return tuple(
            sorted(
                name
                for name in places
                if not any(name != other and name.is_within(other) for other in places)
            )
        )


# Whoever reaches a server that asks for no login.
ANYONE = Principal("", (Grant(ROOT, ALL_RIGHTS),), is_anonymous=True)
