"""stat, checksum, mkdir, mv, rm and partials: looking after the files of a share."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

from ftransfer.cli.connecting import connection_to
from ftransfer.cli.options import Host, Json, Port, parse_age
from ftransfer.cli.output import entry_record, note
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.running import run
from ftransfer.cli.runtime.streams import only_show
from ftransfer.client.paths import from_root
from ftransfer.shell.attempts import Attempts
from ftransfer.shell.formatting import (
    checksum_line,
    explain,
    partial_line,
    partials_line,
    removed_line,
    short_name,
    stat_lines,
)
from ftransfer.shell.targets import into_folder_if_one

if TYPE_CHECKING:
    from ftransfer.client.client import Client
    from ftransfer.storage.base import Partial

STAT_EXAMPLES = """\b
Examples:
  ftransfer stat localhost 9021 射频仿真.pptx
  ftransfer stat --json localhost 9021 lab | jq .mtime_ns
"""

CHECKSUM_EXAMPLES = """\b
Examples:
  ftransfer checksum localhost 9021 backup.tar
  ftransfer checksum localhost 9021 a.csv b.csv | b3sum --check
"""

MKDIR_EXAMPLES = """\b
Examples:
  ftransfer mkdir localhost 9021 reports
  ftransfer mkdir -p localhost 9021 lab/2024/notes
"""

MV_EXAMPLES = """\b
Examples:
  ftransfer mv localhost 9021 draft.doc final.doc
  ftransfer mv localhost 9021 report.csv archive/
  ftransfer mv --force localhost 9021 new.csv current.csv
"""

RM_EXAMPLES = """\b
Examples:
  ftransfer rm localhost 9021 old.csv older.csv
  ftransfer rm -r localhost 9021 archive/2019
"""

PARTIALS_EXAMPLES = """\b
Examples:
  ftransfer partials localhost 9021
  ftransfer partials --clear --older 7d localhost 9021
  ftransfer partials --clear localhost 9021 backup.tar
"""

Names = Annotated[
    list[str], Argument(metavar="NAME", help="Files or folders in the share.", show_default=False)
]


def stat(host: Host, port: Port, names: Names, as_json: Json = False) -> None:
    """Describe files and folders. Kind, size, time of the last change, mode, and identity."""

    async def one(client: Client, name: str) -> str:
        entry = await client.stat(name)
        return json.dumps(entry_record(entry)) if as_json else "\n".join(stat_lines(entry))

    only_show()
    run(_each(host, port, names, one))


def checksum(host: Host, port: Port, names: Names, as_json: Json = False) -> None:
    """Print the BLAKE3 of files, as b3sum does. They are not received."""

    async def one(client: Client, name: str) -> str:
        found = await client.checksum(name)
        return json.dumps(found._asdict()) if as_json else checksum_line(found.digest, found.name)

    only_show()
    run(_each(host, port, names, one))


def mkdir(
    host: Host,
    port: Port,
    names: Names,
    parents: Annotated[
        bool, Option("--parents", "-p", help="Folders above too; no error if it is there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make folders in the share."""

    async def one(client: Client, name: str) -> str:
        await client.mkdir(name, parents=parents)
        return json.dumps({"name": name, "did": "made"}) if as_json else f"made {short_name(name)}"

    run(_each(host, port, names, one))


def mv(
    host: Host,
    port: Port,
    old: Annotated[str, Argument(metavar="OLD", help="The file or folder to move.")],
    new: Annotated[
        str, Argument(metavar="NEW", help="Its new name; NEW/ moves it into that folder.")
    ],
    force: Annotated[
        bool, Option("--force", "-f", help="Replace a file that has the new name.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Move or rename a file or folder within the share, in one step."""
    target = from_root(f"{new}{old.rstrip('/').rsplit('/', 1)[-1]}" if new.endswith("/") else new)

    async def one(client: Client, name: str) -> str:
        async def move(to: str) -> str:
            await client.rename(name, to, replace=force)
            return to

        to = await into_folder_if_one(client, move, target, name.rstrip("/").rsplit("/", 1)[-1])
        return (
            json.dumps({"name": name, "did": "moved", "to": to})
            if as_json
            else f"moved {short_name(name)} to {short_name(to)}"
        )

    run(_each(host, port, [old], one))


def rm(
    host: Host,
    port: Port,
    names: Names,
    recursive: Annotated[
        bool, Option("--recursive", "-r", help="Folders with all their content.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove files and folders from the share, for good."""

    async def one(client: Client, name: str) -> str:
        count = await client.remove(name, recursive=recursive)
        return (
            json.dumps({"name": name, "did": "removed", "removed": count})
            if as_json
            else removed_line(name, count)
        )

    run(_each(host, port, names, one))


def partials(
    host: Host,
    port: Port,
    path: Annotated[
        str, Argument(metavar="PATH", help="Only those of this file, or below this folder.")
    ] = "",
    clear: Annotated[
        bool, Option("--clear", help="Remove them, but none that is running.")
    ] = False,
    older: Annotated[
        str,
        Option(
            "--older",
            metavar="AGE",
            help="Only those untouched for so long: 90s, 12h, 7d.",
            show_default=False,
        ),
    ] = "0",
    as_json: Json = False,
) -> None:
    """List interrupted uploads, or remove them. They go on when the same file is put again."""
    found = run(_partials(host, port, path, clear=clear, older_s=parse_age(older)))
    if as_json:
        sys.stdout.write("".join(f"{json.dumps(_partial_record(partial))}\n" for partial in found))
        return
    sys.stdout.write("".join(f"{partial_line(partial)}\n" for partial in found))
    note(partials_line(found, cleared=clear))


async def _each(
    host: str, port: int, names: Sequence[str], one: Callable[[Client, str], Awaitable[str]]
) -> None:
    """Do something to each name and print what it gives; an error of one does not keep the others
    from it.

    Raises:
        SomeFailed: Some of several failed, which has been told.
    """
    attempts = Attempts(len(names), lambda name, error: note(f"ftransfer: {explain(error)}"))
    async with connection_to(host, port) as client:
        for name in map(from_root, names):
            with attempts.at(name):
                text = await one(client, name)
                sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    attempts.finish()


async def _partials(
    host: str, port: int, path: str, *, clear: bool, older_s: int
) -> Sequence[Partial]:
    async with connection_to(host, port) as client:
        return await (client.clear_partials if clear else client.partials)(path, older_s=older_s)


def _partial_record(partial: Partial) -> dict[str, object]:
    record: dict[str, object] = {
        "name": partial.name,
        "kept": partial.kept,
        "size": partial.size,
        "mtime_ns": partial.mtime_ns,
    }
    return record | ({"owner": partial.owner} if partial.owner else {})
