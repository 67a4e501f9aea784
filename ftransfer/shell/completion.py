"""Tab completion: typed text -> candidates, among commands, remote names and local names."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftransfer.errors import FtransferError
from ftransfer.names import SafeName, escape
from ftransfer.shell.commands import BY_WORD, COMMANDS, Wants
from ftransfer.shell.context import ShellContext
from ftransfer.shell.lines import Word, quote, scan
from ftransfer.shell.people import person_text
from ftransfer.storage.base import FOLDER

_CACHE_S = 15.0
_MAX_FOLDERS = 32
# A longer menu helps nobody; the rest of a listing is dropped.
_MAX_NAMES = 5_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion: its whole text, how it is typed, and how a menu shows it."""

    whole: str
    typed: str
    shown: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What Tab offers for the word before the cursor.

    The word is `start` and takes the last `replaces` characters of the line.
    """

    start: str
    replaces: int
    candidates: Sequence[Candidate]

    @property
    def text(self) -> str | None:
        """Return the text that needs no choice: the only candidate, or the common beginning.

        None if it is there already.
        """
        if len(self.candidates) == 1:
            return self.candidates[0].typed
        common = os.path.commonprefix([candidate.whole for candidate in self.candidates])
        return quote(common, is_complete=False) if len(common) > len(self.start) else None


@dataclass(frozen=True, slots=True)
class Child:
    """One name in a folder, remote or local."""

    name: str
    is_folder: bool


class RemoteNames:
    """A cache of remote listings, so that Tab does not ask the server each time."""

    def __init__(self, shell: ShellContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._shell = shell
        self._clock = clock
        self._kept: dict[SafeName, tuple[float, Sequence[Child]]] = {}

    def forget(self) -> None:
        """Clear the cache, since a command may have changed the share."""
        self._kept.clear()

    async def children(self, folder: SafeName) -> Sequence[Child]:
        """Return the sorted children of a folder; none if the server refuses."""
        at, kept = self._kept.get(folder, (0.0, ()))
        if folder in self._kept and self._clock() - at < _CACHE_S:
            return kept
        try:
            # A listing is read to its end even if the user continues to type: stopping it would
            # close the connection.
            found = await asyncio.shield(asyncio.ensure_future(self._list(folder)))
        except (FtransferError, OSError):
            return ()  # the command itself will report the error
        while len(self._kept) >= _MAX_FOLDERS:
            del self._kept[next(iter(self._kept))]
        self._kept[folder] = (self._clock(), found)
        return found

    async def _list(self, folder: SafeName) -> Sequence[Child]:
        skip = len(str(folder)) + 1 if folder.parts else 0
        found: list[Child] = []
        async for entries in self._shell.connection.listing(folder):
            room = _MAX_NAMES - len(found)
            found += [Child(entry.name[skip:], entry.kind == FOLDER) for entry in entries[:room]]
        return sorted(found, key=lambda child: child.name)


async def complete(shell: ShellContext, names: RemoteNames, text: str) -> Offer:
    """Return completions of the word before the cursor; `text` is the line up to the cursor."""
    words = scan(text)
    is_new = not words or (
        text[-1:] in (" ", "\t") and not words[-1].open_quote and not _is_escaped(text)
    )
    word = Word("", len(text)) if is_new else words.pop()
    if words:
        candidates = [
            _candidate(child, head)
            for child, head in await _children(shell, names, words, word.text)
        ]
    else:
        candidates = [
            Candidate(name, f"{name} ", name)
            for name in sorted(BY_WORD)
            if name.startswith(word.text.lower())
        ]
    return Offer(word.text, len(text) - word.start, candidates)


def _is_escaped(text: str) -> bool:
    """Return whether a backslash escapes the last character, so that it belongs to the word."""
    before = text[:-1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _candidate(child: Child, head: str) -> Candidate:
    if not head and child.name.startswith("-"):
        head = "./"  # otherwise it would be read as flags
    if child.is_folder:  # the quote stays open for the rest of the path
        whole = f"{head}{child.name}/"
        return Candidate(whole, quote(whole, is_complete=False), f"{escape(child.name)}/")
    whole = f"{head}{child.name}"
    return Candidate(whole, f"{quote(whole)} ", escape(child.name))


async def _children(
    shell: ShellContext, names: RemoteNames, words: Sequence[Word], typed: str
) -> Sequence[tuple[Child, str]]:
    """Return the matching children, each with the part of the path before it."""
    command = BY_WORD.get(words[0].text.lower())
    position = len(
        [
            word
            for word in words[1:]
            if not (command and command.flags and word.text.startswith("-"))
        ]
    )
    if command is not None and command.repeated:
        position = min(position, len(command.arguments) - 1)
    if command is None or position >= len(command.arguments):
        return ()
    found = await _of_kind(shell, names, command.arguments[position], typed)
    if not found and command.repeated and position:
        # Another source, not yet the destination.
        found = await _of_kind(shell, names, command.arguments[0], typed)
    return found


async def _of_kind(
    shell: ShellContext, names: RemoteNames, wants: Wants, typed: str
) -> Sequence[tuple[Child, str]]:
    if wants is Wants.COMMAND:
        return [
            (Child(row.words[0], False), "") for row in COMMANDS if row.words[0].startswith(typed)
        ]
    if wants is Wants.NOTHING:
        return ()
    if wants is Wants.PERSON:
        return [(Child(name, False), "") for name in await _people(shell) if name.startswith(typed)]
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


async def _people(shell: ShellContext) -> Sequence[str]:
    """Return the people a message can be sent to: by name, or by number if several share one."""
    try:
        async with shell.connection.use() as client:
            others = [presence.person for presence in await client.who() if not presence.is_you]
    except FtransferError:
        return ()
    count = Counter(map(person_text, others))
    return sorted(
        person_text(one) if count[person_text(one)] == 1 else f"#{one.session}" for one in others
    )


def _local_children(folder: Path) -> Sequence[Child]:
    try:
        with os.scandir(folder) as items:
            return sorted(
                (Child(item.name, item.is_dir()) for item in items), key=lambda child: child.name
            )
    except OSError:
        return ()
