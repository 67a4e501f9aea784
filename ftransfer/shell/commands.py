"""The commands of the shell: a table with one row and one coroutine for each."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ftransfer.limits import clamp_time
from ftransfer.names import SafeName, escape
from ftransfer.shell import files, people, transfers
from ftransfer.shell.columns import in_columns, wrapped
from ftransfer.shell.context import ShellContext
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import entry_line, short_name
from ftransfer.shell.lines import split_line
from ftransfer.shell.listing import in_order
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry

_ENTRIES_TO_READ_OUT = 10_000
# How similar a mistyped word must be to a command: "dri" is, "fetch" is not.
_NEAR = 0.65


class Wants(Enum):
    """What an argument names, for completion."""

    REMOTE = "a name in the share"
    REMOTE_FOLDER = "a folder of the share"
    LOCAL = "a local file"
    LOCAL_FOLDER = "a local folder"
    COMMAND = "a command"
    PERSON = "a connected person"
    NOTHING = "free text"


Flags = frozenset[str]
Run = Callable[[ShellContext, Sequence[str], Flags], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """One row of the table.

    The first `needs` arguments are required, and the last may be `repeated`; `flags` are the
    letters that may follow a dash.
    """

    words: tuple[str, ...]
    usage: str
    summary: str
    run: Run
    arguments: tuple[Wants, ...] = ()
    needs: int = 0
    flags: str = ""
    repeated: bool = False
    is_verbatim: bool = False  # the rest of the line is one argument, including its quotes


async def execute(shell: ShellContext, line: str, *, is_lenient: bool = False) -> None:
    """Execute one typed line; an empty line and a comment (#) do nothing.

    Args:
        is_lenient: As in split_line.

    Raises:
        WrongUsage: There is no such command, or its arguments are wrong.
        FtransferError, OSError: The command failed.
    """
    if line.lstrip().startswith("#"):
        return
    first, _, rest = line.strip().partition(" ")
    command = BY_WORD.get(first.lower())
    if command is not None and command.is_verbatim:
        words = [first, rest.strip()]
    else:
        words = split_line(line, is_lenient=is_lenient)
    if not words:
        return
    command = find_command(words[0])
    if _asks_for_help(words[1:]):
        await _help(shell, [command.words[0]], frozenset())
    elif command.is_verbatim:
        await command.run(shell, words[1:], frozenset())
    else:
        arguments, flags = _sort_words(command, words[1:])
        await command.run(shell, arguments, flags)


def _asks_for_help(words: Sequence[str]) -> bool:
    """Return whether --help or -h is among the flags.

    A file of that name is written ./-h or after --.
    """
    flags = words[: words.index("--")] if "--" in words else words
    return "--help" in flags or "-h" in flags


def find_command(word: str) -> ShellCommand:
    command = BY_WORD.get(word.lower())
    if command is None:
        near = difflib.get_close_matches(word.lower(), BY_WORD, 1, _NEAR)
        hint = f"did you mean {near[0]}?" if near else "help lists the commands"
        raise WrongUsage(f"unknown command {short_name(word)}; {hint}")
    return command


def _sort_words(command: ShellCommand, words: Sequence[str]) -> tuple[list[str], Flags]:
    arguments: list[str] = []
    flags: set[str] = set()
    usage = f"usage: {command.usage}"
    may_be_flag = True
    for word in words:
        if may_be_flag and word == "--":
            may_be_flag = False
        # A command without flags takes names that begin with a dash.
        elif may_be_flag and command.flags and word.startswith("-") and word != "-":
            if unknown := [letter for letter in word[1:] if letter not in command.flags]:
                which = (
                    word if word.startswith("--") or len(word) == 2 else f"-{unknown[0]} in {word}"
                )
                raise WrongUsage(f"{command.words[0]} has no flag {escape(which)}; {usage}")
            flags.update(word[1:])
        else:
            arguments.append(word)
    if "" in arguments:
        raise WrongUsage(
            f"{command.words[0]}: empty name; use . for the current folder or / for the top of the"
            " share"
        )
    if len(arguments) < command.needs:
        raise WrongUsage(f"{command.words[0]}: {_missing(command, len(arguments))}; {usage}")
    if len(arguments) > len(command.arguments) and not command.repeated:
        hint = " (quote names that contain spaces)" if command.arguments else ""
        raise WrongUsage(f"{command.words[0]}: too many arguments{hint}; {usage}")
    return arguments, frozenset(flags)


def _missing(command: ShellCommand, given: int) -> str:
    """Return which argument is missing, as the usage line calls it."""
    words = [word for word in command.usage.split()[1:] if not word.startswith("[")]
    return f"missing {words[given].removesuffix('...')}"


# Remote folders.


async def _dir(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    await _list_remote(shell, arguments, is_long=True)


async def _ls(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    await _list_remote(shell, arguments, is_long="l" in flags)


async def _list_remote(shell: ShellContext, arguments: Sequence[str], *, is_long: bool) -> None:
    folder = shell.remote(arguments[0] if arguments else "")
    async with contextlib.aclosing(in_order(shell.connection.listing(folder))) as batches:
        async for entries in batches:
            _show_entries(shell, entries, folder, is_long=is_long)


def _show_entries(
    shell: ShellContext, entries: Sequence[Entry], folder: SafeName, *, is_long: bool
) -> None:
    skip = len(str(folder)) + 1 if folder.parts else 0
    if is_long:
        shell.console.lines([entry_line(entry, entry.name[skip:]) for entry in entries])
        return
    names = [escape(entry.name[skip:]) + ("/" if entry.kind == FOLDER else "") for entry in entries]
    width = shell.console.width
    shell.console.lines(in_columns(names, width()) if width is not None else names)


async def _cd(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    folder = shell.remote(arguments[0] if arguments else "/")
    if folder.parts:
        # The first entries show that the folder can be read. Leaving the rest costs a new
        # connection, which is less than a million entries.
        async with contextlib.aclosing(shell.connection.listing(folder)) as batches:
            count = 0
            async for batch in batches:
                count += len(batch)
                if count > _ENTRIES_TO_READ_OUT:
                    break
    shell.folder = folder


async def _pwd(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    shell.console.line(f"/{escape(str(shell.folder))}")


# Local folders.


async def _lcd(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    shell.local = await asyncio.to_thread(
        _checked_folder, shell.here(arguments[0] if arguments else "~")
    )


async def _lpwd(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    shell.console.line(escape(str(shell.local)))


async def _lls(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    folder = shell.here(arguments[0] if arguments else "")
    _show_entries(
        shell, await asyncio.to_thread(_local_entries, folder), SafeName(()), is_long="l" in flags
    )


def _checked_folder(path: Path) -> Path:
    folder = Path(os.path.normpath(path))
    os.listdir(folder)  # raises if it is not a folder that can be read
    return folder


def _local_entries(folder: Path) -> list[Entry]:
    entries = []
    with os.scandir(folder) as items:
        for item in items:
            kind = LINK if item.is_symlink() else FOLDER if item.is_dir() else FILE
            status = item.stat(follow_symlinks=False)
            entries.append(
                Entry(
                    item.name,
                    kind,
                    status.st_size,
                    clamp_time(status.st_mtime_ns),
                    status.st_mode & 0o7777,
                )
            )
    return sorted(entries, key=lambda entry: entry.name)


# The shell itself.


async def _help(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    if arguments:
        command = find_command(arguments[0])
        shell.console.line(f"{command.usage}: {command.summary}")
        return
    indent = max(len(command.usage) for command in COMMANDS) + 2
    lines = [f"{command.usage:<{indent}}{command.summary}" for command in COMMANDS]
    width = shell.console.width
    shell.console.lines(
        lines if width is None else [wrapped(line, width(), indent) for line in lines]
    )
    shell.console.line('Quote names that contain spaces: get "my photo.jpg". Tab completes names.')


async def _close(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    shell.is_open = False


_FOLDER = (Wants.REMOTE_FOLDER,)
_REMOTE = (Wants.REMOTE,)
COMMANDS: tuple[ShellCommand, ...] = (
    ShellCommand(
        ("dir",), "dir [PATH]", "list a remote folder with sizes and times", _dir, _FOLDER
    ),
    ShellCommand(
        ("ls",), "ls [-l] [PATH]", "list names only; -l: like dir", _ls, _FOLDER, flags="l"
    ),
    ShellCommand(
        ("get",),
        "get [-r] NAME... [DEST]",
        "download files; DEST - is the screen; -r: folders",
        transfers.get,
        (Wants.REMOTE, Wants.LOCAL),
        1,
        "r",
        True,
    ),
    ShellCommand(
        ("put",),
        "put [-r] FILE... [NAME]",
        "upload files; NAME/: into that folder; -r: folders",
        transfers.put,
        (Wants.LOCAL, Wants.REMOTE),
        1,
        "r",
        True,
    ),
    ShellCommand(
        ("stat",),
        "stat [NAME...]",
        "show size, time, mode and identity",
        files.stat,
        _REMOTE,
        repeated=True,
    ),
    ShellCommand(
        ("checksum",),
        "checksum NAME...",
        "show the BLAKE3 checksum of remote files",
        files.checksum,
        _REMOTE,
        1,
        repeated=True,
    ),
    ShellCommand(
        ("mkdir",),
        "mkdir [-p] NAME...",
        "create folders; -p: parents too",
        files.mkdir,
        _FOLDER,
        1,
        "p",
        True,
    ),
    ShellCommand(
        ("mv",),
        "mv [-f] OLD NEW",
        "move or rename; NEW/: into that folder; -f: replace",
        files.mv,
        (Wants.REMOTE, Wants.REMOTE),
        2,
        "f",
    ),
    ShellCommand(
        ("rm",),
        "rm [-r] NAME...",
        "remove files; -r: folders and their content",
        files.rm,
        _REMOTE,
        1,
        "r",
        True,
    ),
    ShellCommand(("cd",), "cd [PATH]", "change the remote folder; default: the top", _cd, _FOLDER),
    ShellCommand(("pwd",), "pwd", "show the remote folder", _pwd),
    ShellCommand(
        ("lcd",),
        "lcd [PATH]",
        "change the local folder; default: home",
        _lcd,
        (Wants.LOCAL_FOLDER,),
    ),
    ShellCommand(("lpwd",), "lpwd", "show the local folder", _lpwd),
    ShellCommand(
        ("lls",), "lls [-l] [PATH]", "list a local folder", _lls, (Wants.LOCAL_FOLDER,), flags="l"
    ),
    ShellCommand(("help", "?"), "help [COMMAND]", "list the commands", _help, (Wants.COMMAND,)),
    ShellCommand(("who",), "who", "list who is connected and what they are doing", people.who),
    ShellCommand(("say",), "say TEXT", "send a message to everybody", people.say, is_verbatim=True),
    ShellCommand(
        ("tell",),
        "tell NAME TEXT",
        "send a message to one person (NAME or #NUMBER)",
        people.tell,
        (Wants.PERSON, Wants.NOTHING),
        is_verbatim=True,
    ),
    ShellCommand(
        ("name",),
        "name [NAME]",
        "change your name; default: user@host",
        people.name,
        (Wants.NOTHING,),
    ),
    ShellCommand(("watch",), "watch [PATH]", "show changes below a folder", people.watch, _FOLDER),
    ShellCommand(("unwatch",), "unwatch", "stop showing changes", people.unwatch),
    ShellCommand(("mute",), "mute", "hide who joins and leaves", people.mute),
    ShellCommand(("unmute",), "unmute", "show who joins and leaves", people.unmute),
    ShellCommand(
        ("close", "exit", "quit", "bye"),
        "close",
        "leave the shell (also: exit, quit, bye, Ctrl-D)",
        _close,
    ),
)
BY_WORD: Mapping[str, ShellCommand] = {
    word: command for command in COMMANDS for word in command.words
}
