"""The user's own command that is run for each event of a watch, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil

from ftransfer.cli.output import note
from ftransfer.names import escape
from ftransfer.protocol.live import Change, LiveEvent, event_to_notice
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import printable

_OURS = "FTRANSFER_"
_END_S = 5.0  # that a command may take to end when it is asked to


class Hook:
    """A command that is run by no shell. It is told of an event in its environment."""

    def __init__(self, command: str) -> None:
        """Raises WrongUsage if there is no such program."""
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise WrongUsage(f"--exec {printable(command)}: a quote is never closed") from error
        if not self._words:
            raise WrongUsage("--exec: the command is empty")
        if shutil.which(self._words[0]) is None:
            raise WrongUsage(f"--exec: there is no program {printable(self._words[0])}")

    async def run(self, event: LiveEvent, path: str) -> None:
        """Run it, and wait until it has ended; a failure is told, and is no reason to watch no
        more.
        """
        program = printable(self._words[0])
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, stdin=asyncio.subprocess.DEVNULL, env=environment(event, path)
            )
        except OSError as error:
            note(f"ftransfer: {program}: cannot be run: {error.strerror or error}")
            return
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        if code:
            note(f"ftransfer: {program} ended with {code}")


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def environment(event: LiveEvent, path: str) -> dict[str, str]:
    """Give the environment of the command: the user's own without what is meant for us, secrets
    above all, and the event.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    told = {"EVENT": event_to_notice(event).what, "NAME": "", "PATH": ""}
    if isinstance(event, Change):
        told = {
            "EVENT": event.what,
            "NAME": event.name,
            "OLD": event.old,
            "KIND": event.kind,
            "SIZE": str(event.size),
            "DIGEST": event.digest,
            "BY": event.person.name if event.person is not None else "",
            "PATH": path,
        }
    return inherited | {f"{_OURS}{name}": _as_value(text) for name, text in told.items()}


def _as_value(text: str) -> str:
    """Give text that an environment can hold; a server may say anything where no name is asked
    for.
    """
    try:
        return text if b"\0" not in os.fsencode(text) else escape(text)
    except UnicodeEncodeError:
        return escape(text)
