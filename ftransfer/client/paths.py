"""Paths as callers give them: local ones as text, and names in the share.

They are text, because importing pathlib takes as long as receiving a small file.
"""

from __future__ import annotations

import os

from ftransfer.errors import NotFound
from ftransfer.names import SafeName, parse_name, parse_path
from ftransfer.storage.base import Entry

# A caller's name for something in the share; a pathlib.PurePosixPath is a PathLike.
RemoteName = str | os.PathLike[str]


def normalise_path(path: str | os.PathLike[str]) -> str:
    """Return a path in pathlib's form: without "./", "//" or a final "/".

    Raises:
        NotFound: No local file can have this name.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise NotFound.about(text, "a path cannot hold a NUL character; check its spelling")
    parts = "/".join(part for part in text.split("/") if part not in ("", "."))
    return f"/{parts}" if text.startswith("/") else parts or "."


def share_name(name: RemoteName) -> SafeName:
    """Return the name that a caller means; a leading "/" is the root of the share.

    Raises as names.parse_name.
    """
    return parse_name(from_root(name))


def share_path(path: RemoteName) -> SafeName:
    """Return the name for an argument that may be a folder. Raises as names.parse_path."""
    return parse_path(from_root(path))


def from_root(name: RemoteName) -> str:
    """Return a name in wire form: without the leading "/". "/" itself stays."""
    text = os.fsdecode(name)
    return text.lstrip("/") or text[:1]


def relative_entry(entry: Entry, root: SafeName) -> Entry:
    """Return an entry with its name relative to `root`, which contains it."""
    if root.is_root:
        return entry
    name = entry.name[len(str(root)) + 1 :]
    return entry._replace(name=name)


def below(root: SafeName, name: str) -> SafeName:
    """Return the full name for a name relative to `root`."""
    return SafeName(root.parts + parse_name(name).parts)
