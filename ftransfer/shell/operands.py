"""The arguments of `get` and `put`: sources and destination. Pure.

As with cp, the last of several is a folder.
No file is ever stored under the name of another source, as would happen with a pattern that the
user's shell expands (`put *.csv`) if the second argument were a new name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from ftransfer.names import escape
from ftransfer.shell.errors import WrongUsage

STREAM = "-"  # stands for stdin or stdout


class Here(Enum):
    """What an argument names on this machine."""

    NOTHING = "nothing"
    FILE = "a file"
    FOLDER = "a folder"


class Operands(NamedTuple):
    """The sources, and `dest` as it was typed, "" for none.

    With `is_into`, `dest` must be a folder.
    """

    sources: Sequence[str]
    dest: str = ""
    is_into: bool = False


def put_operands(
    words: Sequence[str], look: Callable[[str], Here], *, recursive: bool = False
) -> Operands:
    """Sort the arguments of a put.

    If the last one exists locally, it is one more file to upload (with `recursive`, also a folder).
    To upload a file under the name of a local one, use --as, or a / before the name.

    Raises:
        WrongUsage: stdin is given beside files, or two sources have the same name.
    """
    *sources, last = words
    if STREAM in words:
        if len(words) > 2 or words[0] != STREAM:
            raise WrongUsage("stdin (-) must be the only source; usage: put - NAME")
        return Operands(words[:1], "" if len(words) == 1 else words[1])
    found = Here.NOTHING if last.endswith("/") and sources else look(last)
    if not sources or found is Here.FILE or (found is Here.FOLDER and recursive):
        return Operands(_checked_sources(words), "")
    return Operands(
        _checked_sources(sources),
        last,
        is_into=len(sources) > 1 or last.endswith("/") or found is Here.FOLDER,
    )


def _checked_sources(words: Sequence[str]) -> Sequence[str]:
    sources = {os.path.normpath(word): word for word in words}  # a file named twice is sent once
    names: dict[str, str] = {}
    for path, word in sources.items():
        other = names.setdefault(os.path.basename(path), word)
        if other != word:
            raise WrongUsage(
                f"{escape(other)} and {escape(word)} have the same name; upload one after the other"
            )
    return list(sources.values())


def own_name(path: str) -> str:
    """Return the last part of a local path, also for "." and ".."."""
    return os.path.basename(os.path.abspath(path))


def get_operands(words: Sequence[str], look: Callable[[str], Here]) -> Operands:
    """Sort the arguments of a get: names, and where to write them.

    Raises:
        WrongUsage: The last of more than two arguments is not a local folder.
    """
    if len(words) == 1:
        return Operands(words)
    *sources, last = words
    if len(sources) == 1:
        return Operands(sources, last)
    if last == STREAM:
        raise WrongUsage(
            "only one file can be written to stdout; download them one after the other"
        )
    if not last.endswith("/") and look(last) is not Here.FOLDER:
        raise WrongUsage(
            f"{escape(last)}: not a local folder, and several names need one; quote names that"
            " contain spaces"
        )
    return Operands(sources, last, is_into=True)
