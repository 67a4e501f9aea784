"""sync, and get and put of whole folders and patterns."""

from __future__ import annotations

import json
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from ftransfer.cli.connecting import connection_to
from ftransfer.cli.options import Host, Json, Port, Retries
from ftransfer.cli.output import note
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.running import run
from ftransfer.shell.errors import SomeFailed, WrongUsage
from ftransfer.shell.formatting import explain, short_name, tree_line
from ftransfer.shell.operands import own_name
from ftransfer.shell.progress import ProgressBar

if TYPE_CHECKING:
    from ftransfer.client.client import Client
    from ftransfer.client.client import connect as Connection
    from ftransfer.client.trees.run import TreeItem, TreeOptions, TreeReport
    from ftransfer.errors import FtransferError

SYNC_EXAMPLES = """\b
Examples:
  ftransfer sync localhost 9021 get results ./results
  ftransfer sync localhost 9021 put ./site www --delete --dry-run
  ftransfer sync localhost 9021 put . backup --exclude '*.tmp' --exclude build/
  ftransfer sync localhost 9021 get . ./mirror --checksum --json
"""


class Direction(StrEnum):
    get = "get"
    put = "put"


Recursive = Annotated[
    bool, Option("--recursive", "-r", help="The whole folder; only what differs is moved.")
]


def sync(
    host: Host,
    port: Port,
    direction: Annotated[Direction, Argument(metavar="get|put", help="From the server, or to it.")],
    source: Annotated[str, Argument(metavar="SOURCE", help="The folder to copy.")],
    dest: Annotated[str, Argument(metavar="DEST", help="The folder that becomes like it.")],
    delete: Annotated[
        bool, Option("--delete", help="Remove from DEST what SOURCE does not have.")
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", "-n", help="Only say what would be done.")
    ] = False,
    checksum: Annotated[
        bool, Option("--checksum", "-c", help="Compare by content, not by size and time.")
    ] = False,
    links: Annotated[
        bool, Option("--links", help="Copy links as links, not as what they lead to.")
    ] = False,
    include: Annotated[
        list[str] | None,
        Option("--include", metavar="PATTERN", help="Included even if --exclude matches."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        Option("--exclude", metavar="PATTERN", help="Leave out; patterns as in a .gitignore."),
    ] = None,
    watch: Annotated[
        bool, Option("--watch", help="Go on, and do it again after each change in SOURCE.")
    ] = False,
    retries: Retries = None,
    as_json: Json = False,
) -> None:
    """Make one folder like another, either way. Only what differs is moved, verified; what is there
    twice is not touched.
    """
    connection = connection_to(host, port, retries=retries)
    options = _options(delete, dry_run, checksum, links, include or [], exclude or [])
    if watch:
        if dry_run:
            raise WrongUsage("--watch goes on for ever, and --dry-run does nothing; choose one")
        run(_keep(connection, direction.value, source, dest, options, as_json=as_json))
        return
    run(_sync(connection, direction.value, source, dest, options, as_json=as_json))


async def _sync(
    connection: Connection,
    direction: str,
    source: str,
    dest: str,
    options: TreeOptions,
    *,
    as_json: bool,
) -> None:
    async with connection as client:
        await copy_tree(client, direction, source, dest, options, as_json=as_json)


async def get_folder(client: Client, name: str, dest: str, *, as_json: bool) -> None:
    """get -r: the folder, to where cp would put it."""
    await copy_tree(client, "get -r", name, dest, _options(), as_json=as_json)


async def put_folder(client: Client, folder: str, name: str, *, as_json: bool) -> None:
    """put -r: under the folder's own name, or as NAME; NAME/ puts it into that folder."""
    last = own_name(folder)
    if not name or name.endswith("/"):
        name = f"{name.lstrip('/')}{last}"
    await copy_tree(client, "put", folder, name, _options(), as_json=as_json)


async def get_pattern(client: Client, pattern: str, dest: str, *, as_json: bool) -> None:
    """get of all files that match a pattern, into the folder DEST."""
    await copy_tree(client, "match", pattern, dest, _options(), as_json=as_json)


async def copy_tree(
    client: Client, direction: str, source: str, dest: str, options: TreeOptions, *, as_json: bool
) -> None:
    """Copy, report each name as it is done (JSON, dry runs, failures) and the counts at the end;
    fails if a name failed.
    """
    told = _Told(as_json=as_json, dry_run=options.dry_run)
    report = await _copy(client, direction, source, dest, options, told)
    _write_total(report, direction, as_json=as_json)
    # A name may have failed in one attempt and not in the next: only the report knows what has come
    # of all of them.
    if not report.is_complete and told.error is not None:
        raise SomeFailed(report.failed, told.error, left_out=report.left_out + report.kept)


def _write_total(report: TreeReport, direction: str, *, as_json: bool, when: str = "") -> None:
    if as_json:
        sys.stdout.write(f"{json.dumps({'did': 'total', **report._asdict()})}\n")
    else:
        sys.stdout.write(f"{when}{tree_line(report, 'put' if direction == 'put' else 'get')}\n")
    sys.stdout.flush()


async def _keep(
    connection: Connection,
    direction: str,
    source: str,
    dest: str,
    options: TreeOptions,
    *,
    as_json: bool,
) -> None:
    """Copy at once and after each change, and say each time what was done."""
    from ftransfer.cli.sync_watch import keep_in_step

    async with connection as client:

        async def copy() -> None:
            copying = client.get_tree if direction == "get" else client.put_tree
            with ProgressBar(sys.stderr, is_shown=sys.stderr.isatty()) as bar:
                told = _Told(as_json=as_json, dry_run=False)
                report = await copying(
                    source, dest, options=options, on_item=told, progress=bar.callback
                )
            _write_total(report, direction, as_json=as_json, when=time.strftime("%H:%M:%S "))

        await keep_in_step(client, direction, source, copy)


class _Told:
    """Says what became of each name, as far as anybody wants to know it."""

    def __init__(self, *, as_json: bool, dry_run: bool) -> None:
        self.error: FtransferError | None = None  # the last one
        self._as_json = as_json
        self._dry_run = dry_run

    def __call__(self, item: TreeItem) -> None:
        if item.error is not None:
            self.error = item.error
            note(f"ftransfer: {explain(item.error)}")
        if self._as_json:
            sys.stdout.write(f"{json.dumps(_record(item))}\n")
        elif self._dry_run:
            sys.stdout.write(f"would be {item.did}: {short_name(item.name)}\n")


def _record(item: TreeItem) -> dict[str, object]:
    record: dict[str, object] = {"name": item.name, "did": item.did}
    if item.did == "copied":
        record["size"] = item.size
    if item.digest:
        record["digest"] = item.digest
    if item.error is not None:
        record["error"] = {"code": item.error.code, "message": str(item.error)}
    return record


async def _copy(
    client: Client, direction: str, source: str, dest: str, options: TreeOptions, told: _Told
) -> TreeReport:
    with ProgressBar(sys.stderr, is_shown=sys.stderr.isatty()) as bar:
        if direction == "get -r":
            from ftransfer.client.trees.destination import destination_of

            dest = await destination_of(source, dest)
        if direction in ("get", "get -r"):
            return await client.get_tree(
                source, dest, options=options, on_item=told, progress=bar.callback
            )
        if direction == "match":
            return await client.get_matching(
                source, dest, options=options, on_item=told, progress=bar.callback
            )
        return await client.put_tree(
            source, dest, options=options, on_item=told, progress=bar.callback
        )


def _options(
    delete: bool = False,
    dry_run: bool = False,
    checksum: bool = False,
    links: bool = False,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
) -> TreeOptions:
    from ftransfer.client.trees.run import TreeOptions
    from ftransfer.transfer.selection import selection

    try:
        wanted = selection(include or [], exclude or [])
    except ValueError as error:
        raise WrongUsage(
            f"a pattern is not valid: {error}; patterns are those of a .gitignore"
        ) from error
    return TreeOptions(
        delete=delete, dry_run=dry_run, checksum=checksum, links=links, wanted=wanted
    )
