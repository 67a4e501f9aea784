"""The words behind `get` and `put`: which are to be moved, and where to. As with cp, the last of
several is a folder. Pure.

The rule that matters: nothing is ever stored under the name of another file that was named too,
which is what a pattern that the user's shell has expanded (`put *.csv`) would lead to if its second
word were a new name.
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
    """What a word names on this machine."""

    NOTHING = "nothing"
    FILE = "a file"
    FOLDER = "a folder"


class Operands(NamedTuple):
    """What is to be moved, and `dest` as it was typed, "" for none. `is_into` says that `dest` can
    only be a folder.
    """

    sources: Sequence[str]
    dest: str = ""
    is_into: bool = False


def put_operands(
    words: Sequence[str], look: Callable[[str], Here], *, recursive: bool = False
) -> Operands:
    """Sort the words of a put.

    A last word that is here as well is one more file to send; with `recursive`, also a folder. To
    send a file under the name of another one, the caller has another way (--as, or a / before the
    name).

    Raises:
        WrongUsage: stdin beside files, or two files that would have the same name there.
    """
    *sources, last = words
    if STREAM in words:
        if len(words) > 2 or words[0] != STREAM:
            raise WrongUsage("- is stdin, which is sent by itself: put - NAME")
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
    sources = {os.path.normpath(word): word for word in words}  # what is named twice is sent once
    names: dict[str, str] = {}
    for path, word in sources.items():
        other = names.setdefault(os.path.basename(path), word)
        if other != word:
            raise WrongUsage(
                f"{escape(other)} and {escape(word)} would have the same name there; put one after"
                " the other"
            )
    return list(sources.values())


def own_name(path: str) -> str:
    """Give the last part of a local path, also of "." and ".."."""
    return os.path.basename(os.path.abspath(path))


def get_operands(words: Sequence[str], look: Callable[[str], Here]) -> Operands:
    """Sort the words of a get: one name, a name and where to write it, or several names and the
    folder to write them into.

    Raises:
        WrongUsage: The last of more than two words is no folder.
    """
    if len(words) == 1:
        return Operands(words)
    *sources, last = words
    if len(sources) == 1:
        return Operands(sources, last)
    if last == STREAM:
        raise WrongUsage("only one file can be written to stdout; get them one after the other")
    if not last.endswith("/") and look(last) is not Here.FOLDER:
        raise WrongUsage(
            f"{escape(last)}: the last of several names is a folder here to write them to; a name"
            " with blanks goes in quotes"
        )
    return Operands(sources, last, is_into=True)
