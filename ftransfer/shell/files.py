"""The commands of the shell that look after files: stat, checksum, mkdir, mv and rm."""

from __future__ import annotations

from collections.abc import Sequence

from ftransfer.names import escape
from ftransfer.shell.context import ShellContext
from ftransfer.shell.wording import checksum_line, removed_line, stat_lines

Flags = frozenset[str]


async def stat(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    for typed in arguments or [""]:
        name = shell.remote(typed)
        async with shell.line.use() as client:
            entry = await client.stat(str(name))
        shell.console.lines(stat_lines(entry))


async def checksum(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    for typed in arguments:
        name = str(shell.remote(typed))
        async with shell.line.use() as client:
            found = await client.checksum(name)
        shell.console.line(checksum_line(found.digest, shell.relative(name)))


async def mkdir(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    for typed in arguments:
        name = str(shell.remote(typed))
        async with shell.line.use() as client:
            await client.mkdir(name, parents="p" in flags)
        shell.console.line(f"made {_shown(shell, name)}")


async def mv(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    old, new = shell.remote(arguments[0]), shell.remote(arguments[1])
    if arguments[1].endswith(("/", "..", "/.")) or arguments[1] == ".":  # a folder, to move it into
        new = shell.remote(f"{arguments[1]}/{old.last}")
    async with shell.line.use() as client:
        await client.rename(str(old), str(new), replace="f" in flags)
    shell.console.line(f"moved {_shown(shell, str(old))} to {_shown(shell, str(new))}")


async def rm(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    for typed in arguments:
        name = str(shell.remote(typed))
        async with shell.line.use() as client:
            count = await client.remove(name, recursive="r" in flags)
        shell.console.line(removed_line(shell.relative(name), count))


def _shown(shell: ShellContext, name: str) -> str:
    return escape(shell.relative(name)) or "/"
