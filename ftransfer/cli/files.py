"""dir, stat, checksum, mkdir, mv, rm and partials: list and manage the files of a share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

from ftransfer.cli.batch import run_each
from ftransfer.cli.connection import connection_to
from ftransfer.cli.options import Host, Json, Port, parse_age
from ftransfer.cli.output import entries_text, entry_record, note, write_result
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.runner import run
from ftransfer.cli.runtime.streams import only_show
from ftransfer.client.paths import from_root
from ftransfer.shell.formatting import (
    checksum_line,
    partial_line,
    partials_line,
    removed_line,
    short_name,
    stat_lines,
)
from ftransfer.shell.listing import in_order
from ftransfer.shell.targets import into_folder_if_one

if TYPE_CHECKING:
    from ftransfer.client.client import Client
    from ftransfer.storage.base import Partial

DIR_EXAMPLES = """\b
Examples:
  ftransfer dir localhost 9021
  ftransfer dir localhost 9021 photos
  ftransfer dir --json localhost 9021 | jq -r .name
"""

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


def dir_(
    host: Host,
    port: Port,
    path: Annotated[
        str, Argument(metavar="PATH", help="Folder in the share.", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """List a folder. Each line shows kind, size in bytes, modification time and name."""
    only_show()
    run(_dir(connection_to(host, port), path, as_json=as_json))


async def _dir(connection: Client, path: str, *, as_json: bool) -> None:
    async with (
        connection as client,
        contextlib.aclosing(in_order(client.iter_dir(path))) as batches,
    ):
        async for entries in batches:
            # In a thread: a pager may block, and the connection must be kept alive meanwhile.
            await asyncio.to_thread(_write, entries_text(entries, as_json=as_json))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def stat(host: Host, port: Port, names: Names, as_json: Json = False) -> None:
    """Show details of files and folders. Kind, size, modification time, mode and identity."""

    async def one(client: Client, name: str) -> str:
        entry = await client.stat(name)
        return json.dumps(entry_record(entry)) if as_json else "\n".join(stat_lines(entry))

    only_show()
    run(_print_each(host, port, names, one))


def checksum(host: Host, port: Port, names: Names, as_json: Json = False) -> None:
    """Print BLAKE3 checksums, in the format of b3sum. The files are not downloaded."""

    async def one(client: Client, name: str) -> str:
        found = await client.checksum(name)
        return json.dumps(found._asdict()) if as_json else checksum_line(found.digest, found.name)

    only_show()
    run(_print_each(host, port, names, one))


def mkdir(
    host: Host,
    port: Port,
    names: Names,
    parents: Annotated[
        bool, Option("--parents", "-p", help="Make parent folders too; no error if it exists.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create folders in the share."""

    async def one(client: Client, name: str) -> str:
        await client.mkdir(name, parents=parents)
        return json.dumps({"name": name, "did": "made"}) if as_json else f"made {short_name(name)}"

    run(_print_each(host, port, names, one))


def mv(
    host: Host,
    port: Port,
    old: Annotated[str, Argument(metavar="OLD", help="File or folder in the share.")],
    new: Annotated[str, Argument(metavar="NEW", help="New name; NEW/ moves it into that folder.")],
    force: Annotated[bool, Option("--force", "-f", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Move or rename a file or folder in the share, atomically."""
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

    run(_print_each(host, port, [old], one))


def rm(
    host: Host,
    port: Port,
    names: Names,
    recursive: Annotated[
        bool, Option("--recursive", "-r", help="Remove folders and everything in them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove files and folders from the share. This cannot be undone."""

    async def one(client: Client, name: str) -> str:
        count = await client.remove(name, recursive=recursive)
        return (
            json.dumps({"name": name, "did": "removed", "removed": count})
            if as_json
            else removed_line(name, count)
        )

    run(_print_each(host, port, names, one))


def partials(
    host: Host,
    port: Port,
    path: Annotated[
        str,
        Argument(
            metavar="PATH",
            help="Only uploads of this file, or below this folder.",
            show_default=False,
        ),
    ] = "",
    clear: Annotated[
        bool, Option("--clear", help="Remove them, except those that are running.")
    ] = False,
    older: Annotated[
        str,
        Option(
            "--older",
            metavar="AGE",
            help="Only those not touched for this long: 90s, 12h, 7d.",
            show_default=False,
        ),
    ] = "0",
    as_json: Json = False,
) -> None:
    """List interrupted uploads, or remove them. Uploading the same file again resumes one."""
    found = run(_partials(host, port, path, clear=clear, older_s=parse_age(older)))
    if as_json:
        sys.stdout.write("".join(f"{json.dumps(_partial_record(partial))}\n" for partial in found))
        return
    sys.stdout.write("".join(f"{partial_line(partial)}\n" for partial in found))
    note(partials_line(found, cleared=clear))


async def _print_each(
    host: str, port: int, names: Sequence[str], one: Callable[[Client, str], Awaitable[str]]
) -> None:
    """Print the result for each name; a name that fails does not stop the rest."""

    async def show(client: Client, name: str) -> None:
        write_result(await one(client, name))

    await run_each(connection_to(host, port), [from_root(name) for name in names], show)


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
