"""serve: one folder on one port until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ftransfer.cli.guard import Guard, GuardOptions
from ftransfer.cli.locking import LockDown, lock_down
from ftransfer.cli.options import check_listening_port, parse_age
from ftransfer.cli.output import DONE, INTERRUPTED, note
from ftransfer.cli.running import run
from ftransfer.errors import BadFile
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
  ftransfer serve ./share --host 0.0.0.0 --port 9021    # encrypted; the line for others is printed
  ftransfer serve ./share --host 0.0.0.0 --users users.toml
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
    tls: Annotated[str, typer.Option(metavar="auto|on|off", help="auto encrypts wherever others can reach.")] = "auto",
    cert: Annotated[str, typer.Option(metavar="FILE", help="Certificate to show; else one is made.", show_default=False)] = "",
    key: Annotated[str, typer.Option(metavar="FILE", help="Its key, if it is in another file.", show_default=False)] = "",
    client_ca: Annotated[
        str, typer.Option(metavar="FILE", help="Clients must show a certificate from these authorities.", show_default=False)
    ] = "",
    users: Annotated[
        str, typer.Option(metavar="FILE", help="Users with passwords and rights (ftransfer user).", show_default=False)
    ] = "",
    anonymous: Annotated[
        str, typer.Option(metavar="RIGHTS", help="What all may do without a login: read, change, all.", show_default=False)
    ] = "",
    token_file: Annotated[
        str, typer.Option(metavar="FILE", help="File with the token that opens the share.", show_default=False)
    ] = "",
) -> None:
    """Share one folder. The first line on stdout is `listening on HOST:PORT`; the log goes to stderr."""
    if read_only and drop_box:
        raise WrongUsage("--read-only and --drop-box contradict each other: one takes no file, the other nothing else; choose one")
    guarding = GuardOptions(tls, cert, key, client_ca, users, anonymous, token_file)
    guarding.check()
    opening = Opening(host, port, welcome or _default_welcome(folder), keep_partials_s=parse_age(keep_partials))
    guard = Guard.build(guarding, host)
    lock = lock_down(locked, folder, read=guard.files)  # before the first thread, and after the last complaint
    serving = _serve(folder, opening, guard, durable=not no_fsync, read_only=read_only, drop_box=drop_box, lock=lock)
    raise typer.Exit(run(serving, keeps_interrupt=True))


class Opening(NamedTuple):
    """Where and how the server listens."""

    host: str
    port: int
    welcome: str
    keep_partials_s: float


async def _serve(folder: str, opening: Opening, guard: Guard, *, durable: bool, read_only: bool, drop_box: bool, lock: str) -> int:
    from ftransfer.server.listener import Server
    from ftransfer.share import Share
    from ftransfer.storage.local import LocalStore
    from ftransfer.watch.watcher import FolderWatcher

    _start_log()
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, None)
    reloads: asyncio.Queue[None] = asyncio.Queue()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloads.put_nowait, None)
    store = await LocalStore.open(folder, durable=durable)
    share = Share(store, read_only=read_only, drop_box=drop_box)
    watcher = FolderWatcher(folder, store)
    try:
        server = await Server.start(share, watcher=watcher, tls=guard.tls, admission=guard.admission, **opening._asdict())
        reloading = asyncio.create_task(_reload(guard, reloads))
        try:
            _announce(server.addresses, guard)
            log.info(lock)
            await signals.get()
            return await _stop(server, signals)
        finally:
            reloading.cancel()
    finally:
        await share.close()


async def _reload(guard: Guard, asked: asyncio.Queue[None]) -> None:
    """Read certificate and users again whenever it is asked for."""
    while True:
        await asked.get()
        try:
            await asyncio.to_thread(guard.reload)
        except BadFile as error:
            note(f"kept as it was: {error}")
        else:
            note("certificate and users are read again")


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


def _announce(addresses: list[tuple[str, int]], guard: Guard) -> None:
    for host, port in addresses:
        sys.stdout.write(f"listening on {_bracketed(host)}:{port}\n")
    sys.stdout.flush()
    host, port = addresses[0]
    note(f"connect with: {guard.connect_line(host, port)}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _start_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("ftransfer")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
