"""The shell without a terminal: a script from a pipe or file, which stops at the first error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from ftransfer.shell.commands import execute
from ftransfer.shell.context import ShellContext
from ftransfer.shell.errors import ScriptFailed, WrongUsage

_READ_BYTES = 65_536
_MAX_LINE_BYTES = 1 << 20


async def run_script(shell: ShellContext, descriptor: int) -> None:
    """Execute the lines from a descriptor until their end, or until the script closes the shell.

    Raises:
        ScriptFailed: A line failed; the lines after it were not executed.
    """
    number = 0
    async for line in read_lines(descriptor):
        number += 1
        try:
            await execute(shell, line)
        except Exception as error:
            raise ScriptFailed(number, error) from error
        finally:
            shell.console.flush()
        if not shell.is_open:
            return


async def read_lines(descriptor: int) -> AsyncIterator[str]:
    """Yield the lines of a pipe, socket or file as they arrive, without newlines.

    The descriptor is not made non-blocking, since others may share it, and not read in a thread,
    which could not be stopped.

    Raises:
        WrongUsage: A line is longer than a megabyte.
    """
    held = b""
    while chunk := await _read(descriptor):
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            yield _decode(line)
        if len(held) > _MAX_LINE_BYTES:
            raise WrongUsage("a line is longer than 1 MiB; check that stdin is a script")
    if held:
        yield _decode(held)


async def _read(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except (PermissionError, ValueError):
        # epoll refuses regular files and /dev/null, which are always ready.
        return os.read(descriptor, _READ_BYTES)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _READ_BYTES)


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "surrogateescape").removeprefix("\ufeff")
