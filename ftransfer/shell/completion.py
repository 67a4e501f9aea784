"""What Tab offers: commands, names in the share, names here. The typed text goes in, candidates come out; no terminal is needed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftransfer.errors import FtransferError
from ftransfer.names import SafeName, escape
from ftransfer.shell.commands import BY_WORD, COMMANDS, Wants
from ftransfer.shell.context import ShellContext
from ftransfer.shell.lines import Word, quote, scan
from ftransfer.storage.base import FOLDER

_CACHE_S = 15.0
_MAX_FOLDERS = 32
# A menu of more names helps nobody; the rest of a listing is not kept.
_MAX_NAMES = 5_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a word could become: its whole text, how it is typed in a line, and how it is shown in a menu."""

    whole: str
    typed: str
    shown: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What Tab has to offer for the word before the cursor, which is `start` and takes the line's last `replaces` characters."""

    start: str
    replaces: int
    candidates: Sequence[Candidate]

    @property
    def text(self) -> str | None:
        """What can stand for the word without a choice: the only candidate, or what all begin with. None if it is there already."""
        if len(self.candidates) == 1:
            return self.candidates[0].typed
        common = os.path.commonprefix([candidate.whole for candidate in self.candidates])
        return quote(common, is_complete=False) if len(common) > len(self.start) else None


@dataclass(frozen=True, slots=True)
class Child:
    """One name in a folder, of the share or here."""

    name: str
    is_folder: bool


class RemoteNames:
    """Listings of the share, kept for some seconds, so that Tab does not ask the server each time."""

    def __init__(self, shell: ShellContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._shell = shell
        self._clock = clock
        self._kept: dict[SafeName, tuple[float, Sequence[Child]]] = {}

    def forget(self) -> None:
        """Drop everything: a command may have changed the share."""
        self._kept.clear()

    async def children(self, folder: SafeName) -> Sequence[Child]:
        """Give what is in a folder, by name; nothing if the server does not tell."""
        at, kept = self._kept.get(folder, (0.0, ()))
        if folder in self._kept and self._clock() - at < _CACHE_S:
            return kept
        try:
            # A listing that began is read to its end even if the user types on: stopping it would cost the connection.
            found = await asyncio.shield(asyncio.ensure_future(self._list(folder)))
        except (FtransferError, OSError):
            return ()  # the command itself will say what is wrong
        while len(self._kept) >= _MAX_FOLDERS:
            del self._kept[next(iter(self._kept))]
        self._kept[folder] = (self._clock(), found)
        return found

    async def _list(self, folder: SafeName) -> Sequence[Child]:
        skip = len(str(folder)) + 1 if folder.parts else 0
        found: list[Child] = []
        async for entries in self._shell.line.listing(folder):
            room = _MAX_NAMES - len(found)
            found += [Child(entry.name[skip:], entry.kind == FOLDER) for entry in entries[:room]]
        return sorted(found, key=lambda child: child.name)


async def complete(shell: ShellContext, names: RemoteNames, text: str) -> Offer:
    """Give what the word before the cursor could become. `text` is the line up to the cursor."""
    words = scan(text)
    is_new = not words or (text[-1:] in (" ", "\t") and not words[-1].open_quote)
    word = Word("", len(text)) if is_new else words.pop()
    if words:
        candidates = [_candidate(child, head) for child, head in await _children(shell, names, words, word.text)]
    else:
        candidates = [Candidate(name, f"{name} ", name) for name in sorted(BY_WORD) if name.startswith(word.text.lower())]
    return Offer(word.text, len(text) - word.start, candidates)


def _candidate(child: Child, head: str) -> Candidate:
    if child.is_folder:  # more of the path may follow, so the quote stays open
        whole = f"{head}{child.name}/"
        return Candidate(whole, quote(whole, is_complete=False), f"{escape(child.name)}/")
    whole = f"{head}{child.name}"
    return Candidate(whole, f"{quote(whole)} ", escape(child.name))


async def _children(shell: ShellContext, names: RemoteNames, words: Sequence[Word], typed: str) -> Iterable[tuple[Child, str]]:
    """Give the children that fit, each with the part of the path that stands before it."""
    command = BY_WORD.get(words[0].text.lower())
    position = len([word for word in words[1:] if not (command and command.flags and word.text.startswith("-"))])
    if command is not None and command.repeated:
        position = min(position, len(command.arguments) - 1)
    if command is None or position >= len(command.arguments):
        return ()
    wants = command.arguments[position]
    if wants is Wants.COMMAND:
        return [(Child(row.words[0], False), "") for row in COMMANDS if row.words[0].startswith(typed)]
    if wants is Wants.NOTHING:
        return ()
    folder, slash, start = typed.rpartition("/")
    head = folder + slash
    if wants in (Wants.REMOTE, Wants.REMOTE_FOLDER):
        try:
            found = await names.children(shell.remote(head))
        except FtransferError:
            return ()
    else:
        found = await asyncio.to_thread(_local_children, shell.here(head))
    only_folders = wants in (Wants.REMOTE_FOLDER, Wants.LOCAL_FOLDER)
    return [
        (child, head)
        for child in found
        if child.name.startswith(start)
        and (child.is_folder or not only_folders)
        and (start.startswith(".") or not child.name.startswith("."))
    ]


def _local_children(folder: Path) -> Sequence[Child]:
    try:
        with os.scandir(folder) as items:
            return sorted((Child(item.name, item.is_dir()) for item in items), key=lambda child: child.name)
    except OSError:
        return ()
