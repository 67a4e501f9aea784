"""get, put and dir."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

from ftransfer.cli.connecting import connection_to
from ftransfer.cli.options import Host, Json, Length, NoFsync, Offset, Port, Retries, Streams
from ftransfer.cli.output import entries_text, failure_record, note, receipt_text
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.running import PATIENCE_S, STREAM_PATIENCE_S, run
from ftransfer.cli.runtime.streams import content_input, content_output, only_show, output_failed
from ftransfer.cli.trees import Recursive, get_folder, get_pattern, put_folder
from ftransfer.digest import is_digest
from ftransfer.errors import NameRefused, NotFound
from ftransfer.shell.attempts import Attempts
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import explain
from ftransfer.shell.listing import in_order
from ftransfer.shell.local import check_sendable, look
from ftransfer.shell.operands import STREAM, Here, Operands, get_operands, own_name, put_operands
from ftransfer.shell.progress import ProgressBar
from ftransfer.shell.targets import check_folder, into_folder_if_one
from ftransfer.transfer.selection import is_glob

if TYPE_CHECKING:
    from ftransfer.client.client import Client
    from ftransfer.client.client import connect as Connection

GET_EXAMPLES = """\b
Examples:
  ftransfer get localhost 9021 射频仿真.pptx
  ftransfer get localhost 9021 "my holiday photo.jpg" /tmp/photo.jpg
  ftransfer get localhost 9021 backup.tar - | tar x
  ftransfer get localhost 9021 backup.tar head.bin --length 1048576
  ftransfer get -r localhost 9021 photos
  ftransfer get localhost 9021 'results/*.csv' ./here
  ftransfer get localhost 9021 a.csv b.csv ./here/
  ftransfer get --json localhost 9021 report.csv
"""

PUT_EXAMPLES = """\b
Examples:
  ftransfer put localhost 9021 天线15.doc
  ftransfer put localhost 9021 /tmp/photo.jpg "my holiday photo.jpg"
  ftransfer put localhost 9021 report.csv reports/
  ftransfer put localhost 9021 *.csv reports/
  ftransfer put localhost 9021 new.csv --as current.csv
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
    more: Annotated[
        list[str] | None,
        Argument(
            metavar="[NAME...] [DEST]",
            help="More of them; the last word is the file or folder to write to; - is stdout.",
            show_default=False,
        ),
    ] = None,
    recursive: Recursive = False,
    offset: Offset = 0,
    length: Length = None,
    streams: Streams = None,
    retries: Retries = None,
    no_fsync: NoFsync = False,
    as_json: Json = False,
) -> None:
    """Receive files, verified. Each appears under its name when it is complete, not before.

    Of several names the last is the folder to write to. With -r whole folders; with a pattern like
    '*.csv' (in quotes, so that the server's names are meant) all files that match.
    """
    operands = get_operands([name, *(more or [])], look)
    part = _Part(offset, length)
    is_stream = operands.dest == STREAM
    is_one_file = len(operands.sources) == 1 and not recursive
    if streams and (part or recursive or is_stream):
        raise WrongUsage("--streams is for one whole file that goes to a file; leave it out")
    if is_stream and (recursive or is_glob(operands.sources[0])):
        raise WrongUsage(
            "only one file can be written to stdout; name it, or choose a folder to write to"
        )
    if part and not is_one_file:
        raise WrongUsage(
            "--offset and --length are for a part of one file; name just that, without -r"
        )
    connection = connection_to(host, port, retries=retries, durable=not no_fsync)
    getting = _Getting(operands.dest or ".", part, streams, recursive=recursive, as_json=as_json)
    run(
        _each(connection, operands.sources, getting.get, as_json=as_json),
        patience_s=_patience_s(operands.dest),
    )


class _Part(NamedTuple):
    """What is wanted of a file; false if it is all of it."""

    offset: int = 0
    length: int | None = None

    def __bool__(self) -> bool:
        return self != (0, None)


class _Getting(NamedTuple):
    """How names of the share are received."""

    dest: str
    part: _Part
    streams: int | None
    recursive: bool
    as_json: bool

    async def get(self, client: Client, name: str) -> None:
        if self.recursive:
            return await get_folder(client, name, self.dest, as_json=self.as_json)
        try:
            return await self._get_file(client, name)  # there may be a file of just that name
        except (NotFound, NameRefused):
            if not is_glob(name) or self.part:
                raise
        return await get_pattern(client, name, self.dest, as_json=self.as_json)

    async def _get_file(self, client: Client, name: str) -> None:
        offset, length = self.part
        with _progress() as bar:
            if self.dest == STREAM:
                try:
                    receipt = await client.get_to(
                        name, content_output(), offset=offset, length=length, progress=bar.callback
                    )
                except OSError as error:
                    raise output_failed(error) from error
            else:
                receipt = await client.get(
                    name,
                    self.dest,
                    offset=offset,
                    length=length,
                    streams=self.streams or None,
                    progress=bar.callback,
                )
        text = receipt_text(receipt, "get", as_json=self.as_json)
        if self.dest != STREAM:
            _write(f"{text}\n")
        elif self.as_json:
            note(text)  # stdout holds the content


def put(
    host: Host,
    port: Port,
    file: Annotated[str, Argument(metavar="FILE", help="The file to send; - is stdin.")],
    more: Annotated[
        list[str] | None,
        Argument(
            metavar="[FILE...] [NAME]",
            help=(
                "More of them; a last word that is no file here is its name in the share, or a"
                " folder there."
            ),
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str,
        Option("--as", metavar="NAME", help="Send one file under this name.", show_default=False),
    ] = "",
    recursive: Recursive = False,
    if_absent: Annotated[
        bool, Option("--if-absent", help="Refuse if something has the name.")
    ] = False,
    if_match: Annotated[
        str,
        Option(
            "--if-match",
            metavar="DIGEST",
            help="Refuse unless that is the content there.",
            show_default=False,
        ),
    ] = "",
    streams: Streams = None,
    retries: Retries = None,
    no_fsync: NoFsync = False,
    as_json: Json = False,
) -> None:
    """Send files. A put is done when the server has verified the content and has it on disk. With
    -r whole folders.

    A last word that is no file here is the name of the one file before it, or the folder there for
    all of them. What is here as well is one more file to send, never a name for another one; --as
    NAME says that it is one.
    """
    operands = _operands([file, *(more or [])], name, recursive=recursive, is_one=bool(if_match))
    conditions = _Conditions(if_absent, if_match.lower())
    _check_conditions(conditions)
    is_stream = operands.sources[0] == STREAM
    if streams and (recursive or is_stream):
        raise WrongUsage("--streams is for one whole file; leave it out")
    if recursive and (conditions != _Conditions() or no_fsync):
        raise WrongUsage(
            "--if-absent, --if-match and --no-fsync are for one file, and -r is for folders;"
            " choose one"
        )
    if if_match and len(operands.sources) > 1:
        raise WrongUsage("--if-match is for one file; put them one after the other")
    if is_stream and (not operands.dest or operands.dest.endswith("/")):
        raise WrongUsage(
            "what comes from stdin needs a name; usage: ftransfer put HOST PORT - NAME"
        )
    if len(operands.sources) == 1 and not is_stream and not recursive:
        check_sendable(operands.sources[0])
    connection = connection_to(host, port, retries=retries, durable=not no_fsync)
    putting = _Putting(operands, conditions, streams, recursive=recursive, as_json=as_json)
    work = _each(connection, operands.sources, putting.put, as_json=as_json, before=putting.check)
    run(work, patience_s=_patience_s(operands.sources[0]))


def _operands(words: Sequence[str], name: str, *, recursive: bool, is_one: bool) -> Operands:
    """Sort the words of a put. With a `name`, or if it `is_one` file for another reason, there is
    no choice to make.
    """
    if name:
        if len(words) > 1:
            raise WrongUsage("--as is the name of one file; leave it out, or name one file")
        return Operands(words, name)
    if is_one and len(words) == 2:
        return Operands(words[:1], words[1])
    return put_operands(words, look, recursive=recursive)


class _Putting(NamedTuple):
    """How files of this machine are sent."""

    operands: Operands
    conditions: _Conditions
    streams: int | None
    recursive: bool
    as_json: bool

    async def check(self, client: Client) -> None:
        """Refuse several files for what is no folder, before the first is sent."""
        if self.operands.is_into and not self.recursive:
            await check_folder(client, self.operands.dest)

    async def put(self, client: Client, file: str) -> None:
        dest = self.operands.dest
        if file == STREAM:
            return await self._store(client, file, dest)
        if self.operands.is_into and not dest.endswith("/"):
            dest += "/"
        if self.recursive and look(file) is not Here.FILE:
            return await put_folder(client, file, dest, as_json=self.as_json)
        check_sendable(file)
        last = own_name(file)
        if not dest or dest.endswith("/"):
            return await self._store(client, file, f"{dest}{last}")
        return await into_folder_if_one(
            client, lambda name: self._store(client, file, name), dest, last
        )

    async def _store(self, client: Client, file: str, name: str) -> None:
        with _progress() as bar:
            if file == STREAM:
                receipt = await client.put_from(
                    content_input(), name, progress=bar.callback, **self.conditions._asdict()
                )
            else:
                receipt = await client.put(
                    file,
                    name,
                    progress=bar.callback,
                    streams=self.streams or None,
                    **self.conditions._asdict(),
                )
        _write(f"{receipt_text(receipt, 'put', as_json=self.as_json)}\n")


class _Conditions(NamedTuple):
    """When a put is to refuse."""

    if_absent: bool = False
    if_match: str = ""


def _check_conditions(conditions: _Conditions) -> None:
    if conditions.if_absent and conditions.if_match:
        raise WrongUsage(
            "--if-absent wants nothing under the name and --if-match something; choose one"
        )
    if conditions.if_match and not is_digest(conditions.if_match):
        raise WrongUsage(
            "--if-match takes the 64 hexadecimal digits that ftransfer checksum and b3sum print"
        )


def dir_(
    host: Host,
    port: Port,
    path: Annotated[
        str, Argument(metavar="PATH", help="Folder in the share.", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """List a folder. Each line gives the kind, the size in bytes, the time of the last change, and
    the name.
    """
    only_show()
    run(_dir(connection_to(host, port), path, as_json=as_json))


async def _each(
    connection: Connection,
    names: Sequence[str],
    move: Callable[[Client, str], Awaitable[None]],
    *,
    as_json: bool,
    before: Callable[[Client], Awaitable[None]] | None = None,
) -> None:
    """Move one after the other over one connection; what fails is told, and the others go on."""

    def tell(name: str, error: Exception) -> None:
        note(f"ftransfer: {explain(error)}")
        if as_json:
            _write(f"{json.dumps(failure_record(name, error))}\n")

    attempts = Attempts(len(names), tell)
    async with connection as client:
        if before is not None:
            await before(client)
        for name in names:
            with attempts.at(name):
                await move(client, name)
    attempts.finish()


async def _dir(connection: Connection, path: str, *, as_json: bool) -> None:
    async with (
        connection as client,
        contextlib.aclosing(in_order(client.iter_dir(path))) as batches,
    ):
        async for entries in batches:
            # In a thread, since a pager may take its time, and the connection has to be kept alive
            # meanwhile.
            await asyncio.to_thread(_write, entries_text(entries, as_json=as_json))


def _patience_s(path: str) -> float:
    return STREAM_PATIENCE_S if path == STREAM else PATIENCE_S


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _progress() -> ProgressBar:
    return ProgressBar(sys.stderr, is_shown=sys.stderr.isatty())
