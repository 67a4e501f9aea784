"""get, put and dir."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

from ftransfer.cli.connecting import connection_to
from ftransfer.cli.options import Host, Json, Length, NoFsync, Offset, Port, Retries, Streams
from ftransfer.cli.output import entries_text, note, receipt_text
from ftransfer.cli.parameters import Argument, Option
from ftransfer.cli.running import PATIENCE_S, STREAM_PATIENCE_S, run
from ftransfer.cli.streams import content_input, content_output, only_show, output_failed
from ftransfer.cli.trees import Recursive, get_folder, get_pattern, put_folder
from ftransfer.digest import is_digest
from ftransfer.errors import NameRefused, NotFound
from ftransfer.shell.failures import WrongUsage
from ftransfer.shell.listing import in_order
from ftransfer.shell.local import check_sendable
from ftransfer.shell.progress import ProgressBar
from ftransfer.transfer.selection import is_glob

if TYPE_CHECKING:
    from ftransfer.client.client import connect as Connection
    from ftransfer.transfer.records import Receipt

_STREAM = "-"

GET_EXAMPLES = """\b
Examples:
  ftransfer get localhost 9021 射频仿真.pptx
  ftransfer get localhost 9021 "my holiday photo.jpg" /tmp/photo.jpg
  ftransfer get localhost 9021 backup.tar - | tar x
  ftransfer get localhost 9021 backup.tar head.bin --length 1048576
  ftransfer get -r localhost 9021 photos
  ftransfer get localhost 9021 'results/*.csv' ./here
  ftransfer get --json localhost 9021 report.csv
"""

PUT_EXAMPLES = """\b
Examples:
  ftransfer put localhost 9021 天线15.doc
  ftransfer put localhost 9021 /tmp/photo.jpg "my holiday photo.jpg"
  ftransfer put localhost 9021 report.csv reports/
  ftransfer put --if-absent localhost 9021 report.csv
  ftransfer put -r localhost 9021 ./photos
  tar c folder | ftransfer put localhost 9021 - backup.tar
"""

DIR_EXAMPLES = """\b
Examples:
  ftransfer dir localhost 9021
  ftransfer dir localhost 9021 photos
  ftransfer dir --json localhost 9021 | jq -r .name
"""


def get(
    host: Host,
    port: Port,
    name: Annotated[str, Argument(metavar="NAME", help="The file in the share.")],
    dest: Annotated[str, Argument(metavar="DEST", help="File or folder to write to; - is stdout.", show_default=False)] = ".",
    recursive: Recursive = False,
    offset: Offset = 0,
    length: Length = None,
    streams: Streams = None,
    retries: Retries = None,
    no_fsync: NoFsync = False,
    as_json: Json = False,
) -> None:
    """Receive a file, verified. It appears under its name when it is complete, not before.

    With -r a whole folder; with a pattern like '*.csv' (in quotes, so that the server's names are meant) all files that match.
    """
    part = _Part(offset, length)
    if streams and (part or recursive or dest == _STREAM):
        raise WrongUsage("--streams is for one whole file that goes to a file; leave it out")
    if dest == _STREAM and (recursive or is_glob(name)):
        raise WrongUsage("only one file can be written to stdout; name it, or choose a folder to write to")
    if recursive and part:
        raise WrongUsage("--offset and --length are for a part of one file, and -r is for folders; choose one")

    def connection() -> Connection:
        return connection_to(host, port, retries=retries, durable=not no_fsync)

    if recursive:
        return get_folder(connection(), name, dest, as_json=as_json)
    try:
        return _get_one(connection(), name, dest, part, streams, as_json=as_json)  # there may be a file of just that name
    except (NotFound, NameRefused):
        if not is_glob(name) or part:
            raise
    return get_pattern(connection(), name, dest, as_json=as_json)


class _Part(NamedTuple):
    """What is wanted of a file; false if it is all of it."""

    offset: int = 0
    length: int | None = None

    def __bool__(self) -> bool:
        return self != (0, None)


def _get_one(connection: Connection, name: str, dest: str, part: _Part, streams: int | None, *, as_json: bool) -> None:
    receipt = run(_get(connection, name, dest, part, streams), patience_s=_patience_s(dest))
    text = receipt_text(receipt, "get", as_json=as_json)
    if dest != _STREAM:
        sys.stdout.write(f"{text}\n")
    elif as_json:
        note(text)  # stdout holds the content


def put(
    host: Host,
    port: Port,
    file: Annotated[str, Argument(metavar="FILE", help="The file to send; - is stdin.")],
    name: Annotated[
        str, Argument(metavar="NAME", help="Its name in the share; NAME/ puts it into that folder.", show_default=False)
    ] = "",
    recursive: Recursive = False,
    if_absent: Annotated[bool, Option("--if-absent", help="Refuse if something has the name.")] = False,
    if_match: Annotated[
        str,
        Option("--if-match", metavar="DIGEST", help="Refuse unless that is the content there.", show_default=False),
    ] = "",
    streams: Streams = None,
    retries: Retries = None,
    no_fsync: NoFsync = False,
    as_json: Json = False,
) -> None:
    """Send a file. It is done when the server has verified it and has it on disk. With -r a whole folder."""
    connection = connection_to(host, port, retries=retries, durable=not no_fsync)
    conditions = _Conditions(if_absent, if_match.lower())
    _check_conditions(conditions)
    if streams and (recursive or file == _STREAM):
        raise WrongUsage("--streams is for one whole file; leave it out")
    if recursive:
        if conditions != _Conditions() or no_fsync:
            raise WrongUsage("--if-absent, --if-match and --no-fsync are for one file, and -r is for folders; choose one")
        return put_folder(connection, file, name, as_json=as_json)
    if file == _STREAM and (not name or name.endswith("/")):
        raise WrongUsage("what comes from stdin needs a name; usage: ftransfer put HOST PORT - NAME")
    if file != _STREAM:
        check_sendable(file)
    receipt = run(_put(connection, file, name, conditions, streams), patience_s=_patience_s(file))
    sys.stdout.write(f"{receipt_text(receipt, 'put', as_json=as_json)}\n")
    return None


class _Conditions(NamedTuple):
    """When a put is to refuse."""

    if_absent: bool = False
    if_match: str = ""


def _check_conditions(conditions: _Conditions) -> None:
    if conditions.if_absent and conditions.if_match:
        raise WrongUsage("--if-absent wants nothing under the name and --if-match something; choose one")
    if conditions.if_match and not is_digest(conditions.if_match):
        raise WrongUsage("--if-match takes the 64 hexadecimal digits that ftransfer checksum and b3sum print")


def dir_(
    host: Host,
    port: Port,
    path: Annotated[str, Argument(metavar="PATH", help="Folder in the share.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """List a folder. Each line gives the kind, the size in bytes, the time of the last change, and the name."""
    only_show()
    run(_dir(connection_to(host, port), path, as_json=as_json))


async def _get(connection: Connection, name: str, dest: str, part: _Part, streams: int | None) -> Receipt:
    async with connection as client:
        with _progress() as bar:
            if dest == _STREAM:
                try:
                    return await client.get_to(
                        name, content_output(), offset=part.offset, length=part.length, progress=bar.callback
                    )
                except OSError as error:
                    raise output_failed(error) from error
            return await client.get(
                name, dest, offset=part.offset, length=part.length, streams=streams or None, progress=bar.callback
            )


async def _put(connection: Connection, file: str, name: str, conditions: _Conditions, streams: int | None) -> Receipt:
    async with connection as client:
        with _progress() as bar:
            if file == _STREAM:
                return await client.put_from(content_input(), name, progress=bar.callback, **conditions._asdict())
            return await client.put(file, name or None, progress=bar.callback, streams=streams or None, **conditions._asdict())


async def _dir(connection: Connection, path: str, *, as_json: bool) -> None:
    async with connection as client, contextlib.aclosing(in_order(client.iter_dir(path))) as batches:
        async for entries in batches:
            # In a thread, since a pager may take its time, and the connection has to be kept alive meanwhile.
            await asyncio.to_thread(_write, entries_text(entries, as_json=as_json))


def _patience_s(path: str) -> float:
    return STREAM_PATIENCE_S if path == _STREAM else PATIENCE_S


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _progress() -> ProgressBar:
    return ProgressBar(sys.stderr, is_shown=sys.stderr.isatty())
