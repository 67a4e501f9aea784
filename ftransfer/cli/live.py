"""who, say, tell, watch and chat: the others who are connected, and what changes."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

from ftransfer.cli.connecting import connection_to
from ftransfer.cli.options import As, Host, Json, Port
from ftransfer.cli.output import note
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.running import run
from ftransfer.cli.runtime.streams import only_show
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import explain, printable

if TYPE_CHECKING:
    from ftransfer.cli.hook import Hook
    from ftransfer.client.client import Client
    from ftransfer.client.client import connect as Connection
    from ftransfer.client.presence import Delivery
    from ftransfer.errors import RequestError
    from ftransfer.protocol.live import LiveEvent, Presence

WHO_EXAMPLES = """\b
Examples:
  ftransfer who localhost 9021
  ftransfer who --json localhost 9021 | jq -r .name

A ? before a name says that only its client vouches for it.
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

--exec finds in its environment: FTRANSFER_EVENT (created, changed, moved, removed, rescan or
missed), FTRANSFER_NAME, FTRANSFER_OLD, FTRANSFER_KIND, FTRANSFER_SIZE, FTRANSFER_DIGEST,
FTRANSFER_BY, and with --get FTRANSFER_PATH, the local file.
Of your own environment it finds nothing that begins with FTRANSFER_: FTRANSFER_TOKEN is not for it.
"""

CHAT_EXAMPLES = """\b
Examples:
  ftransfer chat localhost 9021
  ftransfer chat --as ann localhost 9021
"""

Text = Annotated[str, Argument(metavar="TEXT", help="One line of text.")]


def who(host: Host, port: Port, as_json: Json = False) -> None:
    """List who is connected. Each line says who, from where, since when, and what is being
    transferred.
    """
    from ftransfer.shell.people import presence_lines, presence_record

    only_show()
    found = run(_who(connection_to(host, port)))
    lines = [presence_record(presence) for presence in found] if as_json else presence_lines(found)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def say(host: Host, port: Port, text: Text, name: As = "", as_json: Json = False) -> None:
    """Say something to all who listen."""
    _report(run(_say(connection_to(host, port, name=name), "", text)), as_json=as_json)


def tell(
    host: Host,
    port: Port,
    to: Annotated[
        str,
        Argument(metavar="NAME", help="Whom: a name that who shows, without its ?, or #NUMBER."),
    ],
    text: Text,
    name: As = "",
    as_json: Json = False,
) -> None:
    """Say something to one."""
    if not to:
        raise WrongUsage("tell needs a name; ftransfer who lists those who are there")
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
            help="Keep this folder up to date with PATH.",
            show_default=False,
        ),
    ] = "",
    delete: Annotated[
        bool, Option("--delete", help="With --get: remove from DEST what goes there.")
    ] = False,
    command: Annotated[
        str,
        Option("--exec", metavar="CMD", help="Run a command for each event.", show_default=False),
    ] = "",
    name: As = "",
    as_json: Json = False,
) -> None:
    """Say what changes, a line for each file, until interrupted. Begins again by itself when the
    connection was lost.
    """
    if delete and not dest:
        raise WrongUsage("--delete is about the folder that --get names")
    told = _Told(_hook_of(command), as_json=as_json)
    if not (dest or command):
        only_show()
    run(_watch(connection_to(host, port, name=name), path, dest, told, delete=delete))


def chat(host: Host, port: Port, name: As = "") -> None:
    """Hear what others say and do, and answer. Without a terminal it says the lines that it reads
    from stdin.
    """
    if sys.stdin is None:
        raise WrongUsage("stdin is closed; chat reads from there what to say")
    is_interactive = sys.stdin.isatty()
    refused: list[RequestError] = []
    connection = connection_to(host, port, name=name, on_name_refused=refused.append)
    run(
        _chat(connection, host, refused, is_interactive=is_interactive),
        keeps_interrupt=is_interactive,
    )


async def _who(connection: Connection) -> list[Presence]:
    async with connection as client:
        return await client.who()


async def _say(connection: Connection, to: str, text: str) -> Delivery:
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


class _Told:
    """What is done about each event: a line, or a record, and the user's command."""

    def __init__(self, hook: Hook | None, *, as_json: bool) -> None:
        self._hook = hook
        self._as_json = as_json

    async def event(self, event: LiveEvent, path: str) -> None:
        """Tell of an event; `path` is the local file it is about, if any. Waits until the command
        has ended.
        """
        from ftransfer.shell.people import event_line, event_record

        sys.stdout.write(f"{event_record(event) if self._as_json else event_line(event)}\n")
        sys.stdout.flush()
        if self._hook is not None:
            await self._hook.run(event, path)

    def failure(self, error: Exception) -> None:
        note(f"ftransfer: {explain(error)}")


async def _watch(
    connection: Connection, path: str, dest: str, told: _Told, *, delete: bool
) -> None:
    async with connection as client:
        if dest:
            await _follow(client, path, dest, told, delete=delete)
            return
        async with client.watching(path) as events:
            note(
                f"watching /{printable(path.strip('/'))} as session #{client.hello.session}; Ctrl-C"
                " ends it"
            )
            async for event in events:
                await told.event(event, "")


async def _follow(client: Client, path: str, dest: str, told: _Told, *, delete: bool) -> None:
    from ftransfer.client.trees.mirror import Mirror

    follower = Mirror(
        client, path, dest, delete=delete, on_event=told.event, on_failure=told.failure
    )
    note(f"keeping {printable(dest)} up to date with /{printable(path.strip('/'))}; Ctrl-C ends it")
    await follower.run()


async def _chat(
    connection: Connection, host: str, refused: list[RequestError], *, is_interactive: bool
) -> None:
    from ftransfer.shell.chat import HELP, chat, typed_lines
    from ftransfer.shell.console import Console
    from ftransfer.shell.live_view import LiveView
    from ftransfer.shell.script import read_lines

    console = Console(sys.stdout, sys.stderr)
    async with connection as client:
        hello = client.hello
        console.note(f"you are session #{hello.session}; {printable(hello.welcome)}")
        for error in refused:  # the session goes on without the name
            console.error(error)
            console.note("until then you are user@host to the others; /name NAME sets another name")
        async with LiveView(client):
            lines: AsyncIterator[str]
            if is_interactive:
                console.note(HELP)
                lines = typed_lines(host)
            else:
                lines = read_lines(sys.stdin.fileno())
            await chat(client, console, lines)
