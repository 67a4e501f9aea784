"""Who may do what below which name: Right, Grant and Principal, and the words for rights.

Pure. The share asks a principal before its store; the answer depends only on names, never on what
is on disk, so it cannot reveal what exists. Rights are granted for a name and everything below it;
if several grants match, only the longest one counts, so a narrow grant can take away what a wide
one gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ftransfer.names import ROOT, SafeName


class Right(Enum):
    """One permission. `value` is its word."""

    LIST = "list"  # see names, sizes and times
    READ = "read"  # read content
    WRITE = "write"  # make new files and folders
    OVERWRITE = "overwrite"  # replace content, and change times and modes
    DELETE = "delete"  # remove; with WRITE at the other end, move
    SAY = "say"  # send messages to other users
    WATCH = "watch"  # see changes, and who is online


ALL_RIGHTS = frozenset(Right)
NO_RIGHTS: frozenset[Right] = frozenset()

# What a word means. `read` includes `list`, since hardly anyone wants only one of them; `get` is
# reading alone: one has to know the name.
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
    """Return the rights that some words stand for together; commas and spaces separate them.

    Raises:
        ValueError: A word is unknown or missing, or `none` is not alone. The message is for people.
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
    """The limits of one user, or of all together; None for no limit.

    `quota_bytes` covers everything where a user may write, and their partials; `quota_files` the
    number of files, folders and links there; `max_file_bytes` one file; `rate` is bytes of content
    per second, both directions together.
    """

    quota_bytes: int | None = None
    max_file_bytes: int | None = None
    rate: int | None = None
    quota_files: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity that a session acts for. `name` separates partials and appears in logs.

    Without a matching grant there is no right.
    """

    name: str
    grants: tuple[Grant, ...]
    is_anonymous: bool = False
    allowance: Allowance = Allowance()

    def rights_at(self, name: SafeName) -> frozenset[Right]:
        """Return the rights of the longest grant that contains `name`."""
        best: Grant | None = None
        for grant in self.grants:
            if name.is_within(grant.prefix) and (
                best is None or len(grant.prefix.parts) >= len(best.prefix.parts)
            ):
                best = grant
        return best.rights if best is not None else NO_RIGHTS

    @property
    def is_uniform(self) -> bool:
        """Return whether the rights are the same at every name."""
        return all(grant.rights == self.rights_at(ROOT) for grant in self.grants)

    def may(self, right: Right, name: SafeName) -> bool:
        return right in self.rights_at(name)

    def may_somewhere(self, right: Right) -> bool:
        """Return whether the right is granted at any name."""
        return any(right in grant.rights for grant in self.grants)

    def may_below(self, right: Right, folder: SafeName) -> bool:
        """Return whether the right is granted at the folder or at some name below it."""
        return self.may(right, folder) or any(
            right in grant.rights
            and grant.prefix.is_within(folder)
            and self.may(right, grant.prefix)
            for grant in self.grants
        )

    def may_all_below(self, right: Right, folder: SafeName) -> bool:
        """Return whether the right is granted at the folder and no narrower grant removes it."""
        return self.may(right, folder) and all(
            right in grant.rights
            or not grant.prefix.is_within(folder)
            or self.may(right, grant.prefix)
            for grant in self.grants
        )

    def restricted_to(self, allowed: frozenset[Right]) -> Principal:
        """Return the same principal with only the `allowed` rights, as for a read-only share."""
        grants = tuple(Grant(grant.prefix, grant.rights & allowed) for grant in self.grants)
        return replace(self, grants=grants)

    def places_to_write(self) -> tuple[SafeName, ...]:
        """Return the sorted names at and below which the principal may write.

        None lies below another.
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


# Any client of a server without logins.
ANYONE = Principal("", (Grant(ROOT, ALL_RIGHTS),), is_anonymous=True)
