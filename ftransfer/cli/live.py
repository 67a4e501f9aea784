"""who, say, tell, watch and chat: other sessions, messages and changes."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

from ftransfer.cli.connection import connection_to
from ftransfer.cli.options import As, Host, Json, Port
from ftransfer.cli.output import note
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.runner import run
from ftransfer.cli.runtime.streams import only_show
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import explain, printable

if TYPE_CHECKING:
    from ftransfer.cli.hook import Hook
    from ftransfer.client.client import Client
    from ftransfer.client.presence import Delivery
    from ftransfer.errors import RequestError
    from ftransfer.protocol.live import LiveEvent, Presence

WHO_EXAMPLES = """\b
Examples:
  ftransfer who localhost 9021
  ftransfer who --json localhost 9021 | jq -r .name

A ? before a name means that it is not authenticated.
"""

SAY_EXAMPLES = """\b
Examples:
  ftransfer say localhost 9021 "the measurements are in lab/2024"
  ftransfer say --as lab localhost 9021 "done"
"""

TELL_EXAMPLES = """\b
Examples:
  ftransfer tell localhost 9021 ann "the file is there"
  ftransfer tell localhost 9021 "#7" "who are you?"
"""

WATCH_EXAMPLES = """\b
Examples:
  ftransfer watch localhost 9021
  ftransfer watch --json localhost 9021 incoming | jq -r .name
  ftransfer watch --get ./incoming localhost 9021 incoming
  ftransfer watch --get ./incoming --exec ./process.sh localhost 9021 incoming

The command of --exec gets these environment variables: FTRANSFER_EVENT (created, changed, moved,
removed, rescan or missed), FTRANSFER_NAME, FTRANSFER_OLD, FTRANSFER_KIND, FTRANSFER_SIZE,
FTRANSFER_DIGEST, FTRANSFER_BY and, with --get, FTRANSFER_PATH, the local file.
It inherits none of your own variables that begin with FTRANSFER_, such as FTRANSFER_TOKEN.
"""

CHAT_EXAMPLES = """\b
Examples:
  ftransfer chat localhost 9021
  ftransfer chat --as ann localhost 9021
"""

Text = Annotated[str, Argument(metavar="TEXT", help="One line of text.")]


def who(host: Host, port: Port, as_json: Json = False) -> None:
    """List who is connected. Each line shows name, address, start time and current transfer."""
    from ftransfer.shell.people import presence_lines, presence_record

    only_show()
    found = run(_who(connection_to(host, port)))
    lines = [presence_record(presence) for presence in found] if as_json else presence_lines(found)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def say(host: Host, port: Port, text: Text, name: As = "", as_json: Json = False) -> None:
    """Send a message to everybody who is listening."""
    _report(run(_say(connection_to(host, port, name=name), "", text)), as_json=as_json)


def tell(
    host: Host,
    port: Port,
    to: Annotated[
        str,
        Argument(metavar="NAME", help="Recipient: a name from who, without the ?, or #NUMBER."),
    ],
    text: Text,
    name: As = "",
    as_json: Json = False,
) -> None:
    """Send a message to one person."""
    if not to:
        raise WrongUsage("tell needs a name; ftransfer who lists who is connected")
    _report(run(_say(connection_to(host, port, name=name), to, text)), as_json=as_json)


def watch(
    host: Host,
    port: Port,
    path: Annotated[
        str, Argument(metavar="PATH", help="Folder or file in the share.", show_default=False)
    ] = "",
    dest: Annotated[
        str,
        Option(
            "--get",
            metavar="DEST",
            help="Keep this local folder up to date with PATH.",
            show_default=False,
        ),
    ] = "",
    delete: Annotated[
        bool,
        Option(
            "--delete", help="With --get: remove files from DEST that are removed in the share."
        ),
    ] = False,
    command: Annotated[
        str,
        Option("--exec", metavar="CMD", help="Command to run for each event.", show_default=False),
    ] = "",
    name: As = "",
    as_json: Json = False,
) -> None:
    """Show changes, one line per file, until interrupted. Reconnects after a lost connection."""
    if delete and not dest:
        raise WrongUsage("--delete needs --get; give both")
    reporter = _EventReporter(_hook_of(command), as_json=as_json)
    if not (dest or command):
        only_show()
    run(_watch(connection_to(host, port, name=name), path, dest, reporter, delete=delete))


def chat(host: Host, port: Port, name: As = "") -> None:
    """Chat with the others who are connected. Without a terminal, each line of stdin is sent."""
    if sys.stdin is None:
        raise WrongUsage("stdin is closed; chat reads messages from stdin")
    is_interactive = sys.stdin.isatty()
    refused: list[RequestError] = []
    connection = connection_to(host, port, name=name, on_name_refused=refused.append)
    run(
        _chat(connection, host, refused, is_interactive=is_interactive),
        keeps_interrupt=is_interactive,
    )


async def _who(connection: Client) -> list[Presence]:
    async with connection as client:
        return await client.who()


async def _say(connection: Client, to: str, text: str) -> Delivery:
    async with connection as client:
        return await (client.tell(to, text) if to else client.say(text))


def _report(delivery: Delivery, *, as_json: bool) -> None:
    from ftransfer.shell.people import delivery_line

    if as_json:
        sys.stdout.write(f"{json.dumps(delivery._asdict())}\n")
    else:
        sys.stdout.write(f"{delivery_line(delivery.number, delivery.received)}\n")


def _hook_of(command: str) -> Hook | None:
    if not command:
        return None
    from ftransfer.cli.hook import Hook

    return Hook(command)


class _EventReporter:
    """Reports each event as a line or a record, and runs the user's command."""

    def __init__(self, hook: Hook | None, *, as_json: bool) -> None:
        self._hook = hook
        self._as_json = as_json

    async def event(self, event: LiveEvent, path: str) -> None:
        """Report an event and wait for the user's command; `path` is the local file, if any."""
        from ftransfer.shell.people import event_line, event_record

        sys.stdout.write(f"{event_record(event) if self._as_json else event_line(event)}\n")
        sys.stdout.flush()
        if self._hook is not None:
            await self._hook.run(event, path)

    def failure(self, error: Exception) -> None:
        note(f"ftransfer: {explain(error)}")


async def _watch(
    connection: Client, path: str, dest: str, reporter: _EventReporter, *, delete: bool
) -> None:
    async with connection as client:
        if dest:
            await _follow(client, path, dest, reporter, delete=delete)
            return
        async with client.watching(path) as events:
            note(
                f"watching /{printable(path.strip('/'))} as session #{client.hello.session}; Ctrl-C"
                " stops"
            )
            async for event in events:
                await reporter.event(event, "")


async def _follow(
    client: Client, path: str, dest: str, reporter: _EventReporter, *, delete: bool
) -> None:
    from ftransfer.client.trees.mirror import Mirror

    mirror = Mirror(
        client, path, dest, delete=delete, on_event=reporter.event, on_failure=reporter.failure
    )
    note(f"keeping {printable(dest)} up to date with /{printable(path.strip('/'))}; Ctrl-C stops")
    await mirror.run()


async def _chat(
    connection: Client, host: str, refused: list[RequestError], *, is_interactive: bool
) -> None:
    from ftransfer.shell.chat import HELP, chat, typed_lines
    from ftransfer.shell.console import Console
    from ftransfer.shell.live_view import LiveView
    from ftransfer.shell.script import read_lines

    console = Console(sys.stdout, sys.stderr)
    async with connection as client:
        hello = client.hello
        console.note(f"you are session #{hello.session}; {printable(hello.welcome)}")
        for error in refused:  # the session continues without the name
            console.error(error)
            console.note("others see you as user@host; /name NAME chooses another name")
        async with LiveView(client):
            lines: AsyncIterator[str]
            if is_interactive:
                console.note(HELP)
                lines = typed_lines(host)
            else:
                lines = read_lines(sys.stdin.fileno())
            await chat(client, console, lines)
