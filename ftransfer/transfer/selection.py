"""The names of a tree that take part: by patterns as in a .gitignore, and by globs. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ftransfer.transfer.hidden_names import HiddenNames

Wanted = Callable[[str, bool], bool]  # (name, is_folder) -> whether it takes part

_GLOB = re.compile(r"[*?\[]")


def everything(name: str, is_folder: bool) -> bool:
    """Select all names."""
    return True


def selection(include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Wanted:
    """Return the test for names by patterns.

    A name that an exclude matches is out, unless an include matches it too. With includes alone,
    only files that match one are in, and their parent folders. Patterns are those of a .gitignore,
    relative to the root of the tree.

    Raises:
        ValueError: A pattern names nothing.
    """
    if not include and not exclude:
        return everything
    included, excluded = IgnoreRules(include), IgnoreRules(exclude)

    def wanted(name: str, is_folder: bool) -> bool:
        if include and included.match(name, is_folder):
            return True
        if exclude:
            return not excluded.match(name, is_folder)
        return is_folder

    return wanted


def hidden_names(patterns: Sequence[str]) -> HiddenNames:
    """Return the names that a server hides by patterns, as in a .gitignore without case.

    Raises:
        ValueError: A pattern names nothing.
    """
    from ftransfer.transfer.hidden_names import HiddenNames  # for servers only

    return HiddenNames(patterns, IgnoreRules([pattern.casefold() for pattern in patterns]).match)


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    is_negated: bool
    is_for_folders: bool


class IgnoreRules:
    """The lines of a .gitignore: the last one that matches counts.

    A matching folder takes its content with it, whatever lines follow. Source: gitignore(5).
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._rules = [rule for line in lines if (rule := _rule_of(line)) is not None]
        self._rules.reverse()
        # The last folder that was looked up: names mostly arrive folder by folder
        self._folder, self._is_folder_matched = (
            "",
            False,
        )

    def match(self, name: str, is_folder: bool) -> bool:
        name = _as_bytes(name)
        folder = name.rpartition("/")[0]
        if folder != self._folder:
            self._is_folder_matched = any(
                self._match_alone(above, True) for above in _folders_down_to(folder)
            )
            self._folder = folder
        return self._is_folder_matched or self._match_alone(name, is_folder)

    def _match_alone(self, name: str, is_folder: bool) -> bool:
        for rule in self._rules:
            if (is_folder or not rule.is_for_folders) and rule.pattern.match(name):
                return not rule.is_negated
        return False


def _as_bytes(text: str) -> str:
    """Return text with one character per byte: a `?` of git stands for a byte."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _folders_down_to(name: str) -> Iterator[str]:
    """Yield the folders above a name, the outermost first, and the name itself."""
    at = name.find("/")
    while at >= 0:
        yield name[:at]
        at = name.find("/", at + 1)
    if name:
        yield name


def _rule_of(line: str) -> _Rule | None:
    from ftransfer.transfer.wildcards import compile_path  # most commands have no patterns

    text = _as_bytes(line.rstrip("\r\n"))
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    is_negated = text.startswith("!")
    pattern = text[is_negated:]
    is_for_folders = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    if not pattern.strip("/"):
        raise ValueError(f"{line!r} names nothing")
    if "/" not in pattern:
        pattern = f"**/{pattern}"
    return _Rule(compile_path(pattern.removeprefix("/"), escapes=True), is_negated, is_for_folders)


def is_glob(name: str) -> bool:
    """Return whether a name has a character that makes it a pattern."""
    return _GLOB.search(name) is not None


def split_glob(pattern: str) -> tuple[str, str]:
    """Split a pattern into its folder and the rest: "a/b/*.csv" into "a/b" and "*.csv"."""
    parts = pattern.split("/")
    fixed = 0
    while fixed < len(parts) - 1 and not is_glob(parts[fixed]):
        fixed += 1
    return "/".join(parts[:fixed]), "/".join(parts[fixed:])


def glob_selection(pattern: str) -> Wanted:
    """Return the test for names by a glob: `*`, `?`, `[…]` within one part, `**` across parts."""
    from ftransfer.transfer.wildcards import compile_path

    wanted_file = compile_path(pattern, escapes=False)
    return lambda name, is_folder: not is_folder and wanted_file.match(name) is not None
