"""The shell at a terminal: prompt, history, completion and Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
from collections.abc import AsyncGenerator, Coroutine, Iterator
from pathlib import Path

from platformdirs import user_state_path
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import completion_is_selected
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle

from ftransfer.errors import FtransferError
from ftransfer.names import escape
from ftransfer.shell.commands import execute
from ftransfer.shell.completion import RemoteNames, complete
from ftransfer.shell.context import ShellContext


class Repl:
    """One shell at one terminal."""

    def __init__(self, shell: ShellContext, label: str) -> None:
        """Make a shell; `label`, the name of the server, begins its prompt."""
        self._shell = shell
        self._label = label
        self._names = RemoteNames(shell)
        self._running: asyncio.Task[None] | None = None
        self._session: PromptSession[str] = PromptSession(
            history=open_history(),
            completer=_ShellCompleter(shell, self._names),
            complete_while_typing=False,  # each completion may need a listing
            complete_style=CompleteStyle.MULTI_COLUMN,
            key_bindings=_key_bindings(shell, self._names),
            # The prompt goes to the terminal, even if stdout is a file.
            output=create_output(always_prefer_tty=True),
        )

    async def run(self) -> None:
        """Read and execute lines until the user leaves."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            while self._shell.is_open:
                try:
                    with patch_stdout(raw=True):
                        line = await self._session.prompt_async(self._prompt(), handle_sigint=False)
                except KeyboardInterrupt:
                    continue  # Ctrl-C at the prompt clears the line
                except EOFError:
                    return
                await self._execute(line)
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _execute(self, line: str) -> None:
        self._shell.stopped = "stopped"
        self._running = asyncio.create_task(_plain(execute(self._shell, line, is_lenient=True)))
        with _no_echo():
            await asyncio.wait([self._running])
        task, self._running = self._running, None
        self._names.forget()
        if task.cancelled():
            self._shell.console.note(self._shell.stopped)
        elif error := task.exception():
            if not isinstance(error, Exception):
                raise error
            if not isinstance(error, (FtransferError, OSError)) and os.environ.get(
                "FTRANSFER_DEBUG"
            ):
                raise error
            self._shell.console.error(error)
        self._shell.console.flush()

    def _interrupt(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def _prompt(self) -> str:
        return f"{self._label}:/{escape(str(self._shell.folder))}> "


async def _plain(work: Coroutine[None, None, None]) -> None:
    await work


@contextlib.contextmanager
def _no_echo() -> Iterator[None]:
    """Do not echo what is typed while a command runs: it would break the progress bar.

    The next prompt shows it.
    """
    try:
        mode = termios.tcgetattr(sys.stdin)
    except (termios.error, ValueError, OSError):
        yield
        return
    silent = [*mode]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, mode)


class _ShellCompleter(Completer):
    """The completion menu, shown if there is a choice."""

    def __init__(self, shell: ShellContext, names: RemoteNames) -> None:
        self._shell = shell
        self._names = names

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> list[Completion]:
        return []  # remote names need a request

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        offer = await complete(self._shell, self._names, document.text_before_cursor)
        for candidate in offer.candidates:
            yield Completion(
                candidate.typed, start_position=-offer.replaces, display=candidate.shown
            )


def _key_bindings(shell: ShellContext, names: RemoteNames) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("tab")
    async def _complete(event: KeyPressEvent) -> None:
        # As in bash: first the common part, then the menu. prompt_toolkit itself cannot add quotes
        # around typed text.
        buffer = event.current_buffer
        if buffer.complete_state is not None:
            buffer.complete_next()
            return
        document = buffer.document
        offer = await complete(shell, names, document.text_before_cursor)
        if buffer.document != document:
            return  # more was typed meanwhile
        text = offer.text
        if text is not None:
            buffer.delete_before_cursor(offer.replaces)
            buffer.insert_text(text)
        else:
            buffer.start_completion()

    @bindings.add("enter", filter=completion_is_selected)
    def _take(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None

    return bindings


def open_history() -> History:
    """Return the history in the user's state folder, private to the user.

    It is in memory if the folder is not writable.
    """
    path = user_state_path("ftransfer") / "history"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()
    return _PatientHistory(path)


class _PatientHistory(FileHistory):
    def __init__(self, path: Path) -> None:
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError:
            return  # a full disk must not end the shell
