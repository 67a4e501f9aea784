"""get: download files, patterns and folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from ftransfer.cli.batch import run_each
from ftransfer.cli.connection import connection_to
from ftransfer.cli.options import Host, Json, Length, NoFsync, Offset, Port, Retries, Streams
from ftransfer.cli.output import note, progress_bar, receipt_text, write_result
from ftransfer.cli.runtime.parameters import Argument
from ftransfer.cli.runtime.runner import PATIENCE_S, STREAM_PATIENCE_S, run
from ftransfer.cli.runtime.streams import content_output, output_failed
from ftransfer.cli.trees import Recursive, get_folder, get_pattern
from ftransfer.errors import NameRefused, NotFound
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.local import look
from ftransfer.shell.operands import STREAM, get_operands
from ftransfer.transfer.selection import is_glob

if TYPE_CHECKING:
    from ftransfer.client.client import Client

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


def get(
    host: Host,
    port: Port,
    name: Annotated[str, Argument(metavar="NAME", help="File in the share.")],
    more: Annotated[
        list[str] | None,
        Argument(
            metavar="[NAME...] [DEST]",
            help="More files; then the local file or folder to write to; - is stdout.",
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
    """Download files and verify them. A file appears under its name only when it is complete.

    With several names, the last argument is the local folder to write to. -r downloads whole
    folders. A pattern such as '*.csv' (quote it, so that the server matches it) downloads all
    files that match.
    """
    operands = get_operands([name, *(more or [])], look)
    part = _Part(offset, length)
    is_stream = operands.dest == STREAM
    is_one_file = len(operands.sources) == 1 and not recursive
    if streams and (part or recursive or is_stream):
        raise WrongUsage("--streams needs one whole file that is written to a file; leave it out")
    if is_stream and (recursive or is_glob(operands.sources[0])):
        raise WrongUsage(
            "only one file can be written to stdout; name one file, or a folder for all"
        )
    if part and not is_one_file:
        raise WrongUsage("--offset and --length need one file, without -r; name one file")
    connection = connection_to(host, port, retries=retries, durable=not no_fsync)
    download = _Download(operands.dest or ".", part, streams, recursive=recursive, as_json=as_json)
    run(
        run_each(connection, operands.sources, download.get, as_json=as_json),
        patience_s=STREAM_PATIENCE_S if is_stream else PATIENCE_S,
    )


class _Part(NamedTuple):
    """The wanted part of a file; false if all of it is wanted."""

    offset: int = 0
    length: int | None = None

    def __bool__(self) -> bool:
        return self != (0, None)


class _Download(NamedTuple):
    """How each name is downloaded."""

    dest: str
    part: _Part
    streams: int | None
    recursive: bool
    as_json: bool

    async def get(self, client: Client, name: str) -> None:
        if self.recursive:
            return await get_folder(client, name, self.dest, as_json=self.as_json)
        try:
            return await self._get_file(client, name)  # a file may have the name of a pattern
        except (NotFound, NameRefused):
            if not is_glob(name) or self.part:
                raise
        return await get_pattern(client, name, self.dest, as_json=self.as_json)

    async def _get_file(self, client: Client, name: str) -> None:
        if self.dest == STREAM:
            return await self._get_stream(client, name)
        offset, length = self.part
        with progress_bar() as bar:
            receipt = await client.get(
                name,
                self.dest,
                offset=offset,
                length=length,
                streams=self.streams or None,
                progress=bar.callback,
            )
        return write_result(receipt_text(receipt, "get", as_json=self.as_json))

    async def _get_stream(self, client: Client, name: str) -> None:
        offset, length = self.part
        with progress_bar() as bar:
            try:
                receipt = await client.get_to(
                    name, content_output(), offset=offset, length=length, progress=bar.callback
                )
            except OSError as error:
                raise output_failed(error) from error
        if self.as_json:
            note(receipt_text(receipt, "get", as_json=True))  # stdout has the content
