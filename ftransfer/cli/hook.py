"""The user's command for each event of a watch, run one at a time."""

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
_END_S = 5.0  # how long a command may take to end after SIGTERM


class Hook:
    """A command that is run without a shell, with the event in its environment."""

    def __init__(self, command: str) -> None:
        """Parse the command. Raise WrongUsage if the program does not exist."""
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise WrongUsage(f"--exec {printable(command)}: missing closing quote") from error
        if not self._words:
            raise WrongUsage("--exec: the command is empty")
        if shutil.which(self._words[0]) is None:
            raise WrongUsage(f"--exec: program {printable(self._words[0])} not found")

    async def run(self, event: LiveEvent, path: str) -> None:
        """Run the command and wait until it ends. A failure is reported and otherwise ignored."""
        program = printable(self._words[0])
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, stdin=asyncio.subprocess.DEVNULL, env=environment(event, path)
            )
        except OSError as error:
            note(f"ftransfer: {program}: cannot run the command: {error.strerror or error}")
            return
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        if code:
            note(f"ftransfer: {program} exited with code {code}")


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
    """Return the environment of the command: the user's own, and the event.

    Our own variables are left out, since they may hold secrets.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    values = {"EVENT": event_to_notice(event).what, "NAME": "", "PATH": ""}
    if isinstance(event, Change):
        values = {
            "EVENT": event.what,
            "NAME": event.name,
            "OLD": event.old,
            "KIND": event.kind,
            "SIZE": str(event.size),
            "DIGEST": event.digest,
            "BY": event.person.name if event.person is not None else "",
            "PATH": path,
        }
    return inherited | {f"{_OURS}{name}": _as_value(text) for name, text in values.items()}


def _as_value(text: str) -> str:
    """Return text that an environment can hold: only names from a server are checked."""
    try:
        return text if b"\0" not in os.fsencode(text) else escape(text)
    except UnicodeEncodeError:
        return escape(text)
