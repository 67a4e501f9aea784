"""serve: one folder on one port until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ftransfer.cli.locking import LockDown, lock_down
from ftransfer.cli.options import check_listening_port, parse_age
from ftransfer.cli.output import DONE, INTERRUPTED, note
from ftransfer.cli.running import run
from ftransfer.names import escape
from ftransfer.shell.failures import WrongUsage

if TYPE_CHECKING:
    from ftransfer.server.listener import Server

log = logging.getLogger("ftransfer.server")

SERVE_EXAMPLES = """\b
Examples:
  ftransfer serve ./share
  ftransfer serve ./share --read-only --welcome "the lab's measurements"
  ftransfer serve ./inbox --drop-box
  ftransfer serve /tmp/scratch --no-fsync --keep-partials 1d
  ftransfer serve ./share --host 0.0.0.0 --port 9021
  ftransfer serve ./share --port 0        # any free port; the first line says which

SIGINT (Ctrl-C) and SIGTERM let running transfers finish for ten seconds; a second one cuts them.
"""


def serve(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder to share.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 or :: for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(callback=check_listening_port, help="Port to listen on; 0 for any free one.")] = 9021,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every change.")] = False,
    drop_box: Annotated[bool, typer.Option("--drop-box", help="Let others put new files, and see nothing.")] = False,
    no_fsync: Annotated[
        bool, typer.Option("--no-fsync", help="Do not wait for the disk, and say so: for folders that may be lost.")
    ] = False,
    keep_partials: Annotated[
        str, typer.Option("--keep-partials", metavar="AGE", help="How long uploads that were cut off may be gone on with.")
    ] = "7d",
    welcome: Annotated[str, typer.Option(help="What users are greeted with; else the folder's name.", show_default=False)] = "",
    locked: LockDown = None,
) -> None:
    """Share one folder. The first line on stdout is `listening on HOST:PORT`; the log goes to stderr."""
    if read_only and drop_box:
        raise WrongUsage("--read-only and --drop-box contradict each other: one takes no file, the other nothing else; choose one")
    opening = Opening(host, port, welcome or _default_welcome(folder), keep_partials_s=parse_age(keep_partials))
    lock = lock_down(locked, folder)  # before the first thread, and after the last complaint
    serving = _serve(folder, opening, durable=not no_fsync, read_only=read_only, drop_box=drop_box, lock=lock)
    raise typer.Exit(run(serving, keeps_interrupt=True))


class Opening(NamedTuple):
    """Where and how the server listens."""

    host: str
    port: int
    welcome: str
    keep_partials_s: float


async def _serve(folder: str, opening: Opening, *, durable: bool, read_only: bool, drop_box: bool, lock: str) -> int:
    from ftransfer.server.listener import Server
    from ftransfer.share import Share
    from ftransfer.storage.local import LocalStore
    from ftransfer.watch.watcher import FolderWatcher

    _start_log()
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, None)
    store = await LocalStore.open(folder, durable=durable)
    share = Share(store, read_only=read_only, drop_box=drop_box)
    watcher = FolderWatcher(folder, store)
    try:
        server = await Server.start(share, watcher=watcher, **opening._asdict())
        _announce(server.addresses)
        log.info(lock)
        await signals.get()
        return await _stop(server, signals)
    finally:
        await share.close()


def _default_welcome(folder: str) -> str:
    return f"welcome to {escape(os.path.basename(os.path.realpath(folder))) or '/'}"


async def _stop(server: Server, signals: asyncio.Queue[None]) -> int:
    note("stopping; what runs may finish, a second signal cuts it")
    gentle = asyncio.create_task(server.stop())
    second = asyncio.create_task(signals.get())
    await asyncio.wait([gentle, second], return_when=asyncio.FIRST_COMPLETED)
    if gentle.done():
        second.cancel()
        gentle.result()
        return DONE
    gentle.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await gentle
    await server.stop(0)
    return INTERRUPTED


def _announce(addresses: list[tuple[str, int]]) -> None:
    for host, port in addresses:
        sys.stdout.write(f"listening on {_bracketed(host)}:{port}\n")
    sys.stdout.flush()
    host, port = addresses[0]
    everywhere = host in ("0.0.0.0", "::")
    note(f"connect with: ftransfer connect {socket.gethostname() if everywhere else host} {port}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _start_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("ftransfer")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
