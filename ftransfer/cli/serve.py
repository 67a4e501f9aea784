"""serve: one folder on one port until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftransfer.cli import limit_options as bounds
from ftransfer.cli import served_folder as serving
from ftransfer.cli.config import ConfigFile
from ftransfer.cli.options import check_listening_port, checked_by, parse_age, strip_brackets
from ftransfer.cli.output import DONE, INTERRUPTED, note
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.running import run
from ftransfer.cli.sandbox_option import LockDown, close_lock
from ftransfer.cli.server_security import GuardOptions, ServerSecurity, check_anonymous, check_tls
from ftransfer.names import escape
from ftransfer.shell.errors import WrongUsage
from ftransfer.system.threads import stop_task, switch_often

if TYPE_CHECKING:
    from ftransfer.cli.reloading import Settings
    from ftransfer.gateways.native.listener import Server
    from ftransfer.service.audit import Audit
    from ftransfer.service.share import Share
    from ftransfer.storage.local import LocalStore

log = logging.getLogger("ftransfer.server")
_SAME_TROUBLE_S = 10.0  # before it is told again
_LOOK_AT_FILES_S = 2.0  # users who were removed are gone after so long, also if nobody logs in

SERVE_EXAMPLES = """\b
Examples:
  ftransfer serve ./share
  ftransfer serve ./share --read-only --welcome "the lab's measurements"
  ftransfer serve ./inbox --drop-box
  ftransfer serve /tmp/scratch --no-fsync --keep-partials 1d
  ftransfer serve ./share --host 0.0.0.0 --port 9021    # encrypted; what others need is printed
  ftransfer serve ./share --anonymous all   # without a login, also for other users of this machine
  ftransfer serve ./share --host 0.0.0.0 --users users.toml
  ftransfer serve ./share --port 0        # any free port; the first line says which
  ftransfer serve ./share --quota 50G --keep-free 10G --rate 20M --audit /var/log/ftransfer.log
  ftransfer serve ./share --config /etc/ftransfer.toml


Sizes are written 500M, 10G or 10GB (K, M, G, T: powers of 1024; KB, MB, GB: of 1000), times 30s,
15m or 1h30m. Every flag has its key in the file for --config: --max-file 2G is max_file = "2G".
SIGHUP reads that file anew.

SIGINT (Ctrl-C) and SIGTERM let running transfers finish for ten seconds; a second one cuts them.
"""


def serve(
    context: typer.Context,
    folder: Annotated[str, Argument(metavar="FOLDER", help="The folder to share.")],
    host: Annotated[
        str,
        Option(
            callback=strip_brackets,
            help="Address to listen on; :: for all, 0.0.0.0 for all of IPv4.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, Option(callback=check_listening_port, help="Port to listen on; 0 for any free one.")
    ] = 9021,
    read_only: Annotated[bool, Option("--read-only", help="Refuse every change.")] = False,
    drop_box: Annotated[
        bool, Option("--drop-box", help="Let others put new files, and see nothing.")
    ] = False,
    hide: serving.Hide = None,
    hide_nothing: serving.HideNothing = False,
    yes_really: serving.YesReally = False,
    no_fsync: Annotated[
        bool,
        Option(
            "--no-fsync", help="Do not wait for the disk, and say so: for folders that may be lost."
        ),
    ] = False,
    keep_partials: Annotated[
        str,
        Option(
            metavar="AGE",
            callback=checked_by(parse_age),
            help="How long interrupted uploads are kept, to be resumed.",
        ),
    ] = "7d",
    welcome: Annotated[
        str, Option(help="What users are greeted with; else the folder's name.", show_default=False)
    ] = "",
    lock_down: LockDown = None,
    tls: Annotated[
        str,
        Option(
            metavar="auto|on|off",
            callback=checked_by(check_tls),
            help="auto encrypts wherever others can reach.",
        ),
    ] = "auto",
    cert: Annotated[
        str,
        Option(metavar="FILE", help="Certificate to show; else one is made.", show_default=False),
    ] = "",
    key: Annotated[
        str, Option(metavar="FILE", help="Its key, if it is in another file.", show_default=False)
    ] = "",
    client_ca: Annotated[
        str,
        Option(
            metavar="FILE",
            help="Clients must show a certificate from these authorities.",
            show_default=False,
        ),
    ] = "",
    users: Annotated[
        str,
        Option(
            metavar="FILE",
            help="Users with passwords and rights (ftransfer user).",
            show_default=False,
        ),
    ] = "",
    anonymous: Annotated[
        str,
        Option(
            metavar="RIGHTS",
            callback=checked_by(check_anonymous),
            help="What all may do without a login: read, change, all.",
            show_default=False,
        ),
    ] = "",
    token_file: Annotated[
        str,
        Option(
            metavar="FILE", help="File with the token that opens the share.", show_default=False
        ),
    ] = "",
    new_token: Annotated[
        bool,
        Option("--new-token", help="Make another token, in place of the one that the server kept."),
    ] = False,
    config: ConfigFile = None,
    audit: bounds.AuditFile = None,
    quota: bounds.Quota = None,
    user_quota: bounds.UserQuota = None,
    quota_files: bounds.QuotaFiles = None,
    user_quota_files: bounds.UserQuotaFiles = None,
    keep_free: bounds.KeepFree = None,
    max_file: bounds.MaxFile = None,
    rate: bounds.Rate = None,
    user_rate: bounds.UserRate = None,
    session_rate: bounds.SessionRate = None,
    max_sessions: bounds.MaxSessions = 1024,
    max_source_sessions: bounds.MaxSourceSessions = None,
    max_unproven: bounds.MaxUnproven = 256,
    trust_from: bounds.TrustFrom = None,
    handshake_time: bounds.HandshakeTime = "10s",
    login_time: bounds.LoginTime = "60s",
    line_time: bounds.LineTime = "30s",
    idle_time: bounds.IdleTime = "15m",
    stall_time: bounds.StallTime = "60s",
    quiet_time: bounds.QuietTime = "15m",
    least_progress: bounds.StallDetector = "4K",
    max_line: bounds.MaxLine = "64K",
    max_frame: bounds.MaxFrame = "4M",
) -> None:
    """Share one folder. The first line on stdout is `listening on HOST:PORT`; the log goes to
    stderr.
    """
    from ftransfer.cli.reloading import Settings

    _dump_no_core()
    settings = Settings(context)
    guarding = GuardOptions(tls, cert, key, client_ca, users, anonymous, token_file, new_token)
    guarding.check()
    keep_partials_s = parse_age(settings.values["keep_partials"])
    own = {
        "--users": users,
        "--token-file": token_file,
        "--cert": cert,
        "--key": key,
        "--audit": audit,
        "--config": config,
    }
    serving.refuse_secrets(folder, own, yes_really=yes_really)
    guard = ServerSecurity.build(guarding, host, folder)
    records = (
        audit
        if audit is not None and os.path.isdir(os.path.dirname(os.path.abspath(audit)))
        else None
    )
    # Before the first thread, and after the last complaint.
    lock = close_lock(lock_down, folder, changed=[records], read=[config, *guard.files])
    raise typer.Exit(run(_serve(settings, guard, keep_partials_s, lock), keeps_interrupt=True))


async def _serve(
    settings: Settings, guard: ServerSecurity, keep_partials_s: float, lock: str
) -> int:
    # The first two are for later: when they are needed, there may be no descriptor left to import
    # them with.
    import aiofiles.threadpool  # noqa: F401

    import ftransfer.storage.local.bulk_read  # noqa: F401
    from ftransfer.gateways.native.listener import Server
    from ftransfer.service.share import Share
    from ftransfer.storage.local import LocalStore
    from ftransfer.watch.watcher import FolderWatcher

    values = settings.values
    _start_log()
    _allow_many_descriptors()
    switch_often()
    signals: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    if not os.environ.get("FTRANSFER_DEBUG"):
        loop.set_exception_handler(_Troubles())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, None)
    store = await LocalStore.open(values["folder"], durable=not values["no_fsync"])
    share = Share(
        store,
        read_only=values["read_only"],
        drop_box=values["drop_box"],
        hiding=serving.hiding_of(values),
        bounds=bounds.bounds_of(values),
    )
    audit = _open_audit(values["audit"])
    try:
        await _refuse_rights_by_folder(store, share, guard)
        server = await Server.start(
            share,
            host=values["host"],
            port=values["port"],
            welcome=values["welcome"] or _default_welcome(values["folder"]),
            watcher=FolderWatcher(values["folder"], store),
            tls=guard.tls,
            admission=guard.admission,
            keep_partials_s=keep_partials_s,
            limits=bounds.limits_of(values),
            rates=bounds.rates_of(values),
            audit=audit,
            trusted=bounds.trusted_of(values),
        )
        reloads: asyncio.Queue[None] = asyncio.Queue()

        def reload() -> None:
            settings.reload(server, share, audit)
            reloads.put_nowait(None)

        guard.publish(server.addresses)
        loop.add_signal_handler(signal.SIGHUP, reload)
        reloading = asyncio.create_task(_reload(guard, server, reloads))
        try:
            _announce(server.addresses, guard, values)
            if not values["host"]:
                log.warning("--host is empty: this server listens on all addresses of the machine")
            if os.geteuid() == 0:
                log.warning("running as root: new files belong to root; a user of its own is safer")
            log.info(lock)
            await signals.get()
            return await _stop(server, signals)
        finally:
            reloading.cancel()
    finally:
        guard.close()
        await share.close()
        if audit is not None:
            audit.close()


async def _refuse_rights_by_folder(store: LocalStore, share: Share, guard: ServerSecurity) -> None:
    """Refuse rights that a name gives, where another spelling of the name leads to the same place.
    Raises WrongUsage.

    Users who come later with such rights may do nothing.
    """
    if not guard.options.users:
        return
    for principal in guard.admission.principals:
        for grant in () if principal.is_uniform else principal.grants:
            if spelling := await store.other_spelling(grant.prefix):
                shown = escape(str(grant.prefix))
                raise WrongUsage(
                    f"{escape(principal.name)}: rights for /{shown} would not hold: this file"
                    f" system takes {escape(spelling)} for the same name; give rights for the whole"
                    " share, or serve a file system that tells names apart"
                )
    share.folds_names = await store.folds_names()


class _Troubles:
    """What asyncio itself meets, as a connection that cannot be taken for want of a descriptor: a
    line each, not a traceback.
    """

    def __init__(self) -> None:
        self._last = ("", float("-inf"))

    def __call__(self, loop: asyncio.AbstractEventLoop, trouble: dict[str, Any]) -> None:
        error = trouble.get("exception")
        line = f"{trouble['message']}: {error}" if error is not None else str(trouble["message"])
        said, at = self._last
        if line != said or loop.time() - at > _SAME_TROUBLE_S:
            self._last = (line, loop.time())
            log.warning("%s", line)


async def _reload(guard: ServerSecurity, server: Server, asked: asyncio.Queue[None]) -> None:
    """Read certificate, users and token again whenever it is asked for; and users and token when
    they have changed.
    """
    while True:
        try:
            async with asyncio.timeout(_LOOK_AT_FILES_S):
                await asked.get()
        except TimeoutError:
            await asyncio.to_thread(guard.credentials.refresh)
        else:
            await asyncio.to_thread(guard.reload)
            guard.publish(server.addresses)


def _default_welcome(folder: str) -> str:
    return f"welcome to {escape(os.path.basename(os.path.realpath(folder))) or '/'}"


def _open_audit(path: str | None) -> Audit | None:
    from ftransfer.service.audit import Audit

    if path is None:
        return None
    try:
        return Audit.open(path, time.time)
    except OSError as error:
        raise WrongUsage(f"--audit {escape(path)}: cannot be opened: {error.strerror}") from error


async def _stop(server: Server, signals: asyncio.Queue[None]) -> int:
    note("stopping; running transfers may finish for up to 10 s; a second signal cuts them")
    gentle = asyncio.create_task(server.stop())
    second = asyncio.create_task(signals.get())
    await asyncio.wait([gentle, second], return_when=asyncio.FIRST_COMPLETED)
    if gentle.done():
        second.cancel()
        gentle.result()
        return DONE
    await stop_task(gentle)
    await server.stop(0)
    return INTERRUPTED


def _announce(
    addresses: list[tuple[str, int]], guard: ServerSecurity, values: Mapping[str, Any]
) -> None:
    """Say where the server is, and how to reach it; to a person at a terminal also what it shares,
    and how to stop it.
    """
    for host, port in addresses:
        sys.stdout.write(f"listening on {_bracketed(host)}:{port}\n")
    sys.stdout.flush()
    is_watched = sys.stderr.isatty()
    if is_watched:
        note(f"sharing {escape(os.path.realpath(values['folder']))}")
    note(serving.who_may_what(values, guard.options))
    host, port = addresses[0]
    for line in guard.lines_to_hand_on(host, port):
        note(line)
    if is_watched:
        note("Ctrl-C stops it; what others do is logged here")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _allow_many_descriptors() -> None:
    """Take all the descriptors that the system grants: the usual soft limit would stop at some
    hundred sessions.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _dump_no_core() -> None:
    """Keep passwords and keys out of core files."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _start_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("ftransfer")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
