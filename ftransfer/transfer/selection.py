"""Which names of a tree take part: patterns as in a .gitignore, and globs. Pure.

pathspec knows the gitignore language; it is imported when the first pattern is there, since most commands have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Wanted = Callable[[str, bool], bool]  # (name, is_folder) -> whether it takes part

_GLOB = re.compile(r"[*?\[]")


def everything(name: str, is_folder: bool) -> bool:
    """The selection without patterns."""
    return True


def selection(include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Wanted:
    """Give the test for names by patterns.

    What an exclude matches is out, unless an include matches it too. With includes alone, only files that match one are in, and
    the folders on the way to them. Patterns are those of a .gitignore, relative to the root of the tree.
    """
    if not include and not exclude:
        return everything
    from pathspec import GitIgnoreSpec

    included = GitIgnoreSpec.from_lines(include)
    excluded = GitIgnoreSpec.from_lines(exclude)

    def wanted(name: str, is_folder: bool) -> bool:
        path = f"{name}/" if is_folder else name
        if include and included.match_file(path):
            return True
        if exclude:
            return not excluded.match_file(path)
        return is_folder

    return wanted


def is_glob(name: str) -> bool:
    """Whether a name has a character that makes it a pattern."""
    return _GLOB.search(name) is not None


def split_glob(pattern: str) -> tuple[str, str]:
    """Give the folder that a pattern is below, and the pattern relative to it: "a/b/*.csv" -> ("a/b", "*.csv")."""
    parts = pattern.split("/")
    fixed = 0
    while fixed < len(parts) - 1 and not is_glob(parts[fixed]):
        fixed += 1
    return "/".join(parts[:fixed]), "/".join(parts[fixed:])


def glob_selection(pattern: str) -> Wanted:
    """Give the test for names by a glob: `*`, `?` and `[…]` within one part, `**` across parts."""
    wanted_file = re.compile(_glob_to_regex(pattern), re.DOTALL)
    return lambda name, is_folder: not is_folder and wanted_file.fullmatch(name) is not None


def _glob_to_regex(pattern: str) -> str:
    """Translate part by part, so that only ** can cross a slash."""
    pieces = []
    for part in pattern.split("/"):
        if part == "**":
            pieces.append("(?:[^/]+/)*")
        else:
            pieces.append(_part_to_regex(part) + "/")
    text = "".join(pieces)
    return text[:-1] if text.endswith("/") else text + "[^/]+"


def _part_to_regex(part: str) -> str:
    text, position = "", 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            text += "[^/]*"
        elif character == "?":
            text += "[^/]"
        elif character == "[" and (end := part.find("]", position + 1)) > 0:
            inner = part[position:end].replace("\\", "\\\\").replace("[", "\\[")
            text += f"[^{inner[1:]}/]" if inner.startswith("!") else f"[{inner}]"
            position = end + 1
        else:
            text += re.escape(character)
    return text
