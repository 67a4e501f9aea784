"""Untrusted wire text -> SafeName, and names -> text that is safe to print.

Pure. Both ends use it: a server must not trust a client's names, nor a client a server's. Only this
module rejects bad names; the names it accepts are opened on disk only below an open directory
handle (storage/local/resolver.py), which handles links.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ftransfer.display import UNSAFE_TO_PRINT
from ftransfer.display import escape as escape  # for every module that prints names
from ftransfer.errors import NameRefused
from ftransfer.limits import DEFAULT_LIMITS, Limits

# Partial and temporary files live in a folder with this name; any part that begins with it is
# refused and never listed.
RESERVED_PREFIX = ".ftransfer"


class SafeName(NamedTuple):
    """A relative path of checked parts; no part is empty, `.`, `..`, reserved, or holds `/` or NUL.

    Bytes that are not UTF-8 appear in the parts as surrogate escapes (U+DC80 to U+DCFF), as in
    os.fsdecode. The root of the share has no parts.
    """

    parts: tuple[str, ...]

    @classmethod
    def trusted(cls, text: str) -> SafeName:
        """Return a name without checking it, because a store listed it or will check it itself."""
        return cls(tuple(text.split("/")) if text else ())

    def __str__(self) -> str:
        return "/".join(self.parts)

    @property
    def is_root(self) -> bool:
        return not self.parts

    @property
    def last(self) -> str:
        return self.parts[-1] if self.parts else ""

    @property
    def parent(self) -> SafeName:
        return SafeName(self.parts[:-1])

    def is_within(self, folder: SafeName) -> bool:
        """Return whether this name is `folder` or lies below it."""
        return self.parts[: len(folder.parts)] == folder.parts


ROOT = SafeName(())


def parse_name(text: str, limits: Limits = DEFAULT_LIMITS) -> SafeName:
    """Check a name from the wire, the command line or a listing.

    Raises:
        NameRefused: The name is empty, absolute, climbs, contains NUL, is reserved, too long, or
            not text.

    Source: docs/protocol.md section 5.
    """
    if not text:
        raise NameRefused("the name is empty")
    return _check(text, limits)


def parse_path(text: str, limits: Limits = DEFAULT_LIMITS) -> SafeName:
    """Check a name where a folder is allowed. Raises as parse_name.

    "", "." and "/" are the root; a final "/" is dropped.
    """
    if text in ("", ".", "/"):
        return ROOT
    return _check(text[:-1] if text.endswith("/") else text, limits)


def check_told(text: str) -> str:
    """Check a name that is only reported or compared; it may be reserved or too long to request.

    Raises:
        NameRefused: No file system could hold it.
    """
    raw = encode_name(text)
    if (
        not text
        or "\0" in text
        or len(raw) > 2 * DEFAULT_LIMITS.max_name_bytes
        or {"", ".", ".."}.intersection(text.split("/"))
    ):
        raise _refused(text, "no file has such a name")
    return raw.decode("utf-8", "surrogateescape")


def _check(text: str, limits: Limits) -> SafeName:
    raw = encode_name(text)
    if len(raw) > limits.max_name_bytes:
        raise _refused(text, f"the name is longer than {limits.max_name_bytes} bytes")
    if "\0" in text:
        raise _refused(text, "a name cannot hold a NUL")
    if text.startswith("/"):
        raise _refused(text, "a name is relative to the share, without a / at the beginning")
    # Decoding again gives each name one spelling: escapes that together are valid UTF-8 become that
    # text.
    parts = tuple(raw.decode("utf-8", "surrogateescape").split("/"))
    for part in parts:
        if part == "":
            raise _refused(text, "a part of the name is empty")
        if part in (".", ".."):
            raise _refused(text, "a name cannot have . or .. as a part")
        if is_reserved(part):
            raise _refused(text, f"names that begin with {RESERVED_PREFIX} are reserved")
        # No character is longer than four bytes, so only a long part has to be counted.
        if 4 * len(part) > limits.max_part_bytes and len(encode_name(part)) > limits.max_part_bytes:
            raise _refused(text, f"a part of the name is longer than {limits.max_part_bytes} bytes")
    return SafeName(parts)


def _refused(text: str, why: str) -> NameRefused:
    shown = escape(text) if len(text) <= 200 else escape(text[:200]) + "…"
    return NameRefused(f"{shown}: {why}", name=text)


# This many characters never exceed the limit in bytes.
PLAIN_NAME_LENGTH = DEFAULT_LIMITS.max_name_bytes // 4
_PLAIN_PART_LENGTH = DEFAULT_LIMITS.max_part_bytes // 4


def is_plain_part(part: str) -> bool:
    """Return whether a quick test proves that this is a correctly spelled part of a name.

    False only means that the full check has to decide.
    """
    # Printable text has no NUL and no surrogate, so it has only one spelling.
    return 0 < len(part) <= _PLAIN_PART_LENGTH and part[0] != "." and part.isprintable()


def are_plain(names: Sequence[str]) -> bool:
    """Return whether quick tests prove that all are names, each part as in is_plain_part."""
    text = "/".join(names)
    parts = text.split("/")
    return (
        text.isprintable()
        and "/." not in text
        and text[:1] != "."
        and min(map(len, parts)) > 0
        and max(map(len, parts)) <= _PLAIN_PART_LENGTH
        and max(map(len, names)) <= PLAIN_NAME_LENGTH
    )


class NameReader:
    """parse_name for many names in few folders; not safe for use from two threads at once.

    It checks each folder once, and most last parts by a quick test.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._folders: dict[str, SafeName] = {}

    def parse(self, text: str) -> SafeName:
        """Check a name. Raises as parse_name."""
        folder, last = self.split(text)
        return SafeName((*folder.parts, last))

    def split(self, text: str) -> tuple[SafeName, str]:
        """Check a name; return its folder and its last part.

        The folder is the same object as for the previous name if it has not changed.
        """
        folder, slash, last = text.rpartition("/")
        if len(text) > PLAIN_NAME_LENGTH or not is_plain_part(last):
            whole = parse_name(text, self._limits)
            return whole.parent, whole.last
        if not slash:
            return ROOT, last
        return self._folders.get(folder) or self._folder_of(text, folder), last

    def split_all(self, names: Sequence[str]) -> list[tuple[SafeName, str] | NameRefused]:
        """Split each name; a refusal takes the place of a bad one.

        For many names it costs a fraction of `split`.
        """
        if not are_plain(names):
            return [self._split_or_refuse(name) for name in names]
        found: list[tuple[SafeName, str] | NameRefused] = []
        last_folder, above = "", ROOT
        for name in names:
            folder, _, last = name.rpartition("/")
            if folder != last_folder:
                last_folder = folder
                above = (
                    (self._folders.get(folder) or self._folder_of(name, folder)) if folder else ROOT
                )
            found.append((above, last))
        return found

    def _split_or_refuse(self, name: str) -> tuple[SafeName, str] | NameRefused:
        try:
            return self.split(name)
        except NameRefused as error:
            return error

    def _folder_of(self, text: str, folder: str) -> SafeName:
        above = parse_name(text, self._limits).parent
        if len(self._folders) >= _MAX_FOLDERS:
            self._folders.clear()
        self._folders[folder] = above
        return above


_MAX_FOLDERS = 1024


def is_reserved(part: str) -> bool:
    """Return whether a part of a name is reserved for ftransfer.

    Case and invisible marks are ignored, as in some file systems.
    """
    if not part.isascii():
        part = "".join(character for character in part if ord(character) not in UNSAFE_TO_PRINT)
    return part[: len(RESERVED_PREFIX)].casefold() == RESERVED_PREFIX


def encode_name(text: str) -> bytes:
    """Return the bytes of a name in the file system.

    Raises:
        NameRefused: The text has a surrogate that represents no byte.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise NameRefused.about(text, "the name is not valid text") from error


def sort_key(name: str) -> bytes:
    """Return the key that orders recursive listings.

    Each folder comes before its content, siblings by their bytes.
    """
    return encode_name(name).replace(b"/", b"\0")
