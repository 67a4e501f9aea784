"""connect: the shell, at a terminal or for a script from a pipe."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ftransfer.cli.connection import connection_to
from ftransfer.cli.options import As, Host, Port
from ftransfer.cli.runtime.runner import run
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import printable

if TYPE_CHECKING:
    from ftransfer.client.client import Client
    from ftransfer.errors import RequestError
    from ftransfer.protocol.replies import Hello
    from ftransfer.shell.console import Console
    from ftransfer.shell.context import ShellContext

CONNECT_EXAMPLES = """\b
Examples:
  ftransfer connect localhost 9021
  printf 'cd photos\\nget "my holiday photo.jpg"\\n' | ftransfer connect localhost 9021
  ftransfer connect localhost 9021 < commands.txt

A script stops at its first error and exits with its code. Lines that begin with # are comments.
"""


def connect(host: Host, port: Port, name: As = "") -> None:
    """Open a shell on a share. Without a terminal, commands are read from stdin."""
    if sys.stdin is None:
        raise WrongUsage("stdin is closed; connect reads commands from stdin")
    is_interactive = sys.stdin.isatty()
    run(_connect(host, port, name, is_interactive=is_interactive), keeps_interrupt=is_interactive)


async def _connect(host: str, port: int, name: str, *, is_interactive: bool) -> None:
    from ftransfer.shell.console import Console
    from ftransfer.shell.context import RemoteConnection, ShellContext

    width = (lambda: shutil.get_terminal_size().columns) if sys.stdout.isatty() else None
    console = Console(
        sys.stdout, sys.stderr, width=width, shows_progress=is_interactive and sys.stderr.isatty()
    )
    refused: list[RequestError] = []
    async with connection_to(host, port, name=name, on_name_refused=refused.append) as share:
        shell = ShellContext(RemoteConnection(share, console.note), console, Path.cwd())
        if is_interactive:
            _greet(console, share.hello, host, port)
        for error in refused:  # the session continues without the name
            console.error(error)
        if is_interactive:
            await _run_repl(shell, share, host)
        else:
            from ftransfer.shell.script import run_script

            await run_script(shell, sys.stdin.fileno())


def _greet(console: Console, hello: Hello, host: str, port: int) -> None:
    console.note(f"connected to {host} {port} ({printable(hello.server)})")
    console.note(f"you are session #{hello.session}; help lists the commands, Ctrl-D leaves")
    if hello.welcome:
        console.note(printable(hello.welcome))


async def _run_repl(shell: ShellContext, share: Client, label: str) -> None:
    from ftransfer.shell.live_view import LiveView
    from ftransfer.shell.repl import Repl

    async with LiveView(share) as shell.live:
        await Repl(shell, label).run()
