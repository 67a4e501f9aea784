"""put: upload files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

from ftransfer.cli.batch import run_each
from ftransfer.cli.connection import connection_to
from ftransfer.cli.options import Host, Json, NoFsync, Port, Retries, Streams
from ftransfer.cli.output import progress_bar, receipt_text, write_result
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.runner import PATIENCE_S, STREAM_PATIENCE_S, run
from ftransfer.cli.runtime.streams import content_input
from ftransfer.cli.trees import Recursive, put_folder
from ftransfer.digest import is_digest
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.local import check_sendable, look
from ftransfer.shell.operands import STREAM, Here, Operands, own_name, put_operands
from ftransfer.shell.targets import check_folder, into_folder_if_one

if TYPE_CHECKING:
    from ftransfer.client.client import Client

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


def put(
    host: Host,
    port: Port,
    file: Annotated[str, Argument(metavar="FILE", help="Local file to upload; - is stdin.")],
    more: Annotated[
        list[str] | None,
        Argument(
            metavar="[FILE...] [NAME]",
            help=(
                "More files; then, if no local file has that name, the name or folder in the share."
            ),
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str,
        Option("--as", metavar="NAME", help="Upload one file under this name.", show_default=False),
    ] = "",
    recursive: Recursive = False,
    if_absent: Annotated[
        bool, Option("--if-absent", help="Fail if the name already exists.")
    ] = False,
    if_match: Annotated[
        str,
        Option(
            "--if-match",
            metavar="DIGEST",
            help="Fail unless the file there has this digest.",
            show_default=False,
        ),
    ] = "",
    streams: Streams = None,
    retries: Retries = None,
    no_fsync: NoFsync = False,
    as_json: Json = False,
) -> None:
    """Upload files. A put succeeds when the server has verified the content and written it to disk.

    The last argument is the name for one file, or the folder for several, unless it is a local
    file: then it is uploaded as well. Use --as NAME if the new name is also that of a local file.
    -r uploads whole folders.
    """
    operands = _operands([file, *(more or [])], name, recursive=recursive, is_one=bool(if_match))
    conditions = _Conditions(if_absent, if_match.lower())
    conditions.check()
    is_stream = operands.sources[0] == STREAM
    if streams and (recursive or is_stream):
        raise WrongUsage("--streams needs one whole file; leave it out")
    if recursive and (conditions != _Conditions() or no_fsync):
        raise WrongUsage(
            "--if-absent, --if-match and --no-fsync cannot be used with -r; choose one"
        )
    if if_match and len(operands.sources) > 1:
        raise WrongUsage("--if-match needs one file; upload them one after the other")
    if is_stream and (not operands.dest or operands.dest.endswith("/")):
        raise WrongUsage("stdin needs a name in the share; usage: ftransfer put HOST PORT - NAME")
    if len(operands.sources) == 1 and not is_stream and not recursive:
        check_sendable(operands.sources[0])
    connection = connection_to(host, port, retries=retries, durable=not no_fsync)
    upload = _Upload(operands, conditions, streams, recursive=recursive, as_json=as_json)
    run(
        run_each(connection, operands.sources, upload.put, as_json=as_json, before=upload.check),
        patience_s=STREAM_PATIENCE_S if is_stream else PATIENCE_S,
    )


def _operands(words: Sequence[str], name: str, *, recursive: bool, is_one: bool) -> Operands:
    """Sort the arguments into files and destination.

    Args:
        name: What --as says, "" without it.
        is_one: Only one file can be meant, so the second argument is its name.
    """
    if name:
        if len(words) > 1:
            raise WrongUsage("--as names one file; leave it out, or upload one file")
        return Operands(words, name)
    if is_one and len(words) == 2:
        return Operands(words[:1], words[1])
    return put_operands(words, look, recursive=recursive)


class _Conditions(NamedTuple):
    """When to refuse a put."""

    if_absent: bool = False
    if_match: str = ""

    def check(self) -> None:
        """Raise WrongUsage if they cannot be met."""
        if self.if_absent and self.if_match:
            raise WrongUsage(
                "--if-absent needs a free name and --if-match an existing file; choose one"
            )
        if self.if_match and not is_digest(self.if_match):
            raise WrongUsage(
                "--if-match needs the 64 hexadecimal digits that ftransfer checksum or b3sum prints"
            )


class _Upload(NamedTuple):
    """How each file is uploaded."""

    operands: Operands
    conditions: _Conditions
    streams: int | None
    recursive: bool
    as_json: bool

    async def check(self, client: Client) -> None:
        """Refuse several files for one name, before the first is sent."""
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
        conditions = self.conditions._asdict()
        with progress_bar() as bar:
            if file == STREAM:
                receipt = await client.put_from(
                    content_input(), name, progress=bar.callback, **conditions
                )
            else:
                receipt = await client.put(
                    file, name, progress=bar.callback, streams=self.streams or None, **conditions
                )
        write_result(receipt_text(receipt, "put", as_json=self.as_json))
