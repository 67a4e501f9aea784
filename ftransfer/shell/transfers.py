"""The shell's `get` and `put`: files and, with -r, whole folders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ftransfer.names import SafeName
from ftransfer.shell.attempts import attempt_each
from ftransfer.shell.context import ShellContext
from ftransfer.shell.formatting import receipt_line
from ftransfer.shell.local import check_sendable, look
from ftransfer.shell.operands import STREAM, Here, Operands, get_operands, put_operands
from ftransfer.shell.targets import check_folder, into_folder_if_one
from ftransfer.shell.trees import get_folder, put_folder

Flags = frozenset[str]


async def get(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    """Download the named files, into the local folder or to the last argument."""
    operands = await asyncio.to_thread(
        get_operands, arguments, lambda typed: look(shell.here(typed))
    )
    dest = _local_dest(shell, operands.dest)

    async def get_one(typed: str) -> None:
        name = shell.remote(typed)
        if "r" in flags:
            await get_folder(shell, name, dest)
        elif dest == STREAM:
            await _show(shell, name)
        else:
            await _get_file(shell, name, dest)

    await attempt_each(operands.sources, get_one, lambda _, error: shell.console.error(error))


def _local_dest(shell: ShellContext, typed: str) -> str:
    if not typed:
        return str(shell.local)
    if typed == STREAM:
        return typed
    # A trailing slash means a folder; Path would drop it.
    return f"{shell.here(typed)}/" if typed.endswith("/") else str(shell.here(typed))


async def _get_file(shell: ShellContext, name: SafeName, dest: str) -> None:
    async with shell.connection.use() as client:
        with shell.transfer("get") as bar:
            receipt = await client.get(str(name), dest, progress=bar.callback)
    shell.console.line(receipt_line(receipt, "get", _as_typed(shell, receipt.path)))


async def _show(shell: ShellContext, name: SafeName) -> None:
    """Write the content of a file to stdout, without a progress bar, which would mix with it."""
    sink = shell.console.binary()
    async with shell.connection.use() as client:
        await client.get_to(str(name), sink)
    sink.flush()


async def put(shell: ShellContext, arguments: Sequence[str], flags: Flags) -> None:
    """Upload the named files, into the current folder of the share or to the last argument."""
    operands = await asyncio.to_thread(
        put_operands, arguments, lambda typed: look(shell.here(typed)), recursive="r" in flags
    )
    if operands.is_into and "r" not in flags:
        async with shell.connection.use() as client:
            await check_folder(client, _folder_typed(shell, operands.dest))

    async def put_one(typed: str) -> None:
        try:
            await _put_path(shell, shell.here(typed), operands, flags)
        except FileNotFoundError as error:  # name the file as it was typed
            raise FileNotFoundError(error.errno, error.strerror, typed) from error

    await attempt_each(operands.sources, put_one, lambda _, error: shell.console.error(error))


def _folder_typed(shell: ShellContext, typed: str) -> str:
    name = str(shell.remote(typed))
    return f"{name}/" if typed.endswith("/") else name


async def _put_path(shell: ShellContext, file: Path, operands: Operands, flags: Flags) -> None:
    typed = f"{operands.dest}/" if operands.is_into else operands.dest or "."
    name = remote_target(shell, typed, file.name)
    if "r" in flags and await asyncio.to_thread(look, file) is not Here.FILE:
        return await put_folder(shell, file, name)
    await asyncio.to_thread(check_sendable, file)

    async def store(target: str) -> None:
        with shell.transfer("put") as bar:
            receipt = await client.put(file, target, progress=bar.callback)
        shell.console.line(receipt_line(receipt, "put", _as_typed(shell, receipt.path)))

    async with shell.connection.use() as client:
        await into_folder_if_one(client, store, str(name), file.name)
    return None


def remote_target(shell: ShellContext, typed: str, file_name: str) -> SafeName:
    """Return the remote name for an upload: the typed one, or one below it if that is a folder."""
    if typed.endswith("/") or typed.rpartition("/")[2] in ("", ".", ".."):
        typed = f"{typed.rstrip('/') or '/'}/{file_name}"
    return shell.remote(typed)


def _as_typed(shell: ShellContext, path: str) -> str:
    return path and path.removeprefix(f"{shell.local}/")
