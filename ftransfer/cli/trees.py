"""sync, and get and put of whole folders and patterns."""

from __future__ import annotations

import json
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from ftransfer.cli.connection import connection_to
from ftransfer.cli.options import Host, Json, Port, Retries
from ftransfer.cli.output import note, progress_bar
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.runner import run
from ftransfer.shell.errors import SomeFailed, WrongUsage
from ftransfer.shell.formatting import explain, short_name, tree_line
from ftransfer.shell.operands import own_name

if TYPE_CHECKING:
    from ftransfer.client.client import Client
    from ftransfer.client.trees.options import TreeOptions
    from ftransfer.client.trees.report import TreeItem, TreeReport
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
    bool, Option("--recursive", "-r", help="Transfer whole folders; only changes are sent.")
]


def sync(
    host: Host,
    port: Port,
    direction: Annotated[
        Direction, Argument(metavar="get|put", help="Download (get) or upload (put).")
    ],
    source: Annotated[str, Argument(metavar="SOURCE", help="Folder to copy.")],
    dest: Annotated[str, Argument(metavar="DEST", help="Folder to update.")],
    delete: Annotated[
        bool, Option("--delete", help="Remove files from DEST that SOURCE does not have.")
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", "-n", help="Only show what would be done.")
    ] = False,
    checksum: Annotated[
        bool, Option("--checksum", "-c", help="Compare content instead of size and time.")
    ] = False,
    links: Annotated[bool, Option("--links", help="Copy symbolic links as links.")] = False,
    include: Annotated[
        list[str] | None,
        Option(
            "--include",
            metavar="PATTERN",
            help="Include these even if --exclude matches; may be repeated.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave these out; patterns as in .gitignore; may be repeated.",
        ),
    ] = None,
    watch: Annotated[
        bool, Option("--watch", help="Keep running, and copy again after each change in SOURCE.")
    ] = False,
    retries: Retries = None,
    as_json: Json = False,
) -> None:
    """Copy the changes from one folder to another. Every file is verified; files that are the same
    are not transferred.
    """
    connection = connection_to(host, port, retries=retries)
    options = _options(delete, dry_run, checksum, links, include or [], exclude or [])
    if watch:
        if dry_run:
            raise WrongUsage("--watch and --dry-run cannot be used together; choose one")
        run(_sync_on_changes(connection, direction.value, source, dest, options, as_json=as_json))
        return
    run(_sync(connection, direction.value, source, dest, options, as_json=as_json))


async def _sync(
    connection: Client,
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
    """Download a folder (get -r) to where `cp -r` would put it."""
    await copy_tree(client, "get -r", name, dest, _options(), as_json=as_json)


async def put_folder(client: Client, folder: str, name: str, *, as_json: bool) -> None:
    """Upload a folder (put -r) under its own name, or as NAME; NAME/ is the folder to put it in."""
    last = own_name(folder)
    if not name or name.endswith("/"):
        name = f"{name.lstrip('/')}{last}"
    await copy_tree(client, "put", folder, name, _options(), as_json=as_json)


async def get_pattern(client: Client, pattern: str, dest: str, *, as_json: bool) -> None:
    """Download all files that match a pattern, into the folder `dest`."""
    await copy_tree(client, "match", pattern, dest, _options(), as_json=as_json)


async def copy_tree(
    client: Client, direction: str, source: str, dest: str, options: TreeOptions, *, as_json: bool
) -> None:
    """Copy a folder; report names (JSON, dry runs, failures) and then the totals.

    Raises:
        SomeFailed: Some names failed or were left out, and have been reported.
    """
    reporter = _ItemReporter(as_json=as_json, dry_run=options.dry_run)
    report = await _copy(client, direction, source, dest, options, reporter)
    _write_total(report, direction, as_json=as_json)
    # A name may fail in one attempt and succeed in the next: only the report has the result.
    if not report.is_complete and reporter.error is not None:
        raise SomeFailed(report.failed, reporter.error, left_out=report.left_out + report.kept)


def _write_total(report: TreeReport, direction: str, *, as_json: bool, when: str = "") -> None:
    if as_json:
        sys.stdout.write(f"{json.dumps({'did': 'total', **report._asdict()})}\n")
    else:
        sys.stdout.write(f"{when}{tree_line(report, 'put' if direction == 'put' else 'get')}\n")
    sys.stdout.flush()


async def _sync_on_changes(
    connection: Client,
    direction: str,
    source: str,
    dest: str,
    options: TreeOptions,
    *,
    as_json: bool,
) -> None:
    """Copy at once and after each change, and report the totals each time."""
    from ftransfer.cli.sync_watch import sync_on_changes

    async with connection as client:

        async def copy() -> None:
            copying = client.get_tree if direction == "get" else client.put_tree
            with progress_bar() as bar:
                reporter = _ItemReporter(as_json=as_json, dry_run=False)
                report = await copying(
                    source, dest, options=options, on_item=reporter, progress=bar.callback
                )
            _write_total(report, direction, as_json=as_json, when=time.strftime("%H:%M:%S "))

        await sync_on_changes(client, direction, source, copy)


class _ItemReporter:
    """Reports failures at once, and other names for JSON and dry runs."""

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
    client: Client,
    direction: str,
    source: str,
    dest: str,
    options: TreeOptions,
    reporter: _ItemReporter,
) -> TreeReport:
    with progress_bar() as bar:
        if direction == "get -r":
            from ftransfer.client.trees.destination import destination_of

            dest = await destination_of(source, dest)
        if direction in ("get", "get -r"):
            return await client.get_tree(
                source, dest, options=options, on_item=reporter, progress=bar.callback
            )
        if direction == "match":
            return await client.get_matching(
                source, dest, options=options, on_item=reporter, progress=bar.callback
            )
        return await client.put_tree(
            source, dest, options=options, on_item=reporter, progress=bar.callback
        )


def _options(
    delete: bool = False,
    dry_run: bool = False,
    checksum: bool = False,
    links: bool = False,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
) -> TreeOptions:
    from ftransfer.client.trees.options import TreeOptions
    from ftransfer.transfer.selection import selection

    try:
        wanted = selection(include or [], exclude or [])
    except ValueError as error:
        raise WrongUsage(f"not a valid .gitignore pattern: {error}") from error
    return TreeOptions(
        delete=delete, dry_run=dry_run, checksum=checksum, links=links, wanted=wanted
    )
