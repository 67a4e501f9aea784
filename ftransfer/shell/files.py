"""The shell commands that manage files: stat, checksum, mkdir, mv and rm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ftransfer.names import escape
from ftransfer.shell.attempts import attempt_each
from ftransfer.shell.context import ShellContext
from ftransfer.shell.formatting import checksum_line, removed_line, stat_lines
from ftransfer.shell.targets import into_folder_if_one

Flags = frozenset[str]


async def stat(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    async def one(typed: str) -> None:
        name = shell.remote(typed)
        async with shell.connection.use() as client:
            entry = await client.stat(str(name))
        shell.console.lines(stat_lines(entry))

    await _each(shell, arguments or [""], one)


async def checksum(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    async def one(typed: str) -> None:
        name = str(shell.remote(typed))
        async with shell.connection.use() as client:
            found = await client.checksum(name)
        shell.console.line(checksum_line(found.digest, shell.relative(name)))

    await _each(shell, arguments, one)


async def mkdir(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    async def one(typed: str) -> None:
        name = str(shell.remote(typed))
        async with shell.connection.use() as client:
            await client.mkdir(name, parents="p" in flags)
        shell.console.line(f"made {_shown(shell, name)}")

    await _each(shell, arguments, one)


async def mv(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    old, new = shell.remote(arguments[0]), shell.remote(arguments[1])
    if arguments[1].endswith(("/", "..", "/.")) or arguments[1] == ".":  # into that folder
        new = shell.remote(f"{arguments[1]}/{old.last}")

    async def move(target: str) -> str:
        await client.rename(str(old), target, replace="f" in flags)
        return target

    async with shell.connection.use() as client:
        target = await into_folder_if_one(client, move, str(new), old.last)
    shell.console.line(f"moved {_shown(shell, str(old))} to {_shown(shell, target)}")


async def rm(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    async def one(typed: str) -> None:
        name = str(shell.remote(typed))
        asked = f"{name}/" if name and typed.endswith("/") else name  # refused for a file
        async with shell.connection.use() as client:
            count = await client.remove(asked, recursive="r" in flags)
        shell.console.line(removed_line(shell.relative(name), count))

    await _each(shell, arguments, one)


async def _each(
    shell: ShellContext, names: Sequence[str], one: Callable[[str], Awaitable[None]]
) -> None:
    await attempt_each(names, one, lambda _, error: shell.console.error(error))


def _shown(shell: ShellContext, name: str) -> str:
    return escape(shell.relative(name)) or "/"
