"""The process behind `serve`: from the open folder to the last session, its signals and its log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

# The first two are for later: when they are needed, there may be no descriptor left to import them
# with.
import aiofiles.threadpool  # noqa: F401  # see above

import ftransfer.storage.local.bulk_read  # noqa: F401  # see above
from ftransfer.addresses import format_address
from ftransfer.cli import served_folder
from ftransfer.cli.limit_options import bandwidth_limits_of, limits_of, quota_limits_of, trusted_of
from ftransfer.cli.options import parse_age
from ftransfer.cli.output import DONE, INTERRUPTED, note
from ftransfer.cli.server_security import ServerSecurity
from ftransfer.cli.settings import Settings
from ftransfer.gateways.native.listener import Server
from ftransfer.names import escape
from ftransfer.service.audit import Audit
from ftransfer.service.service import Service, ServiceOptions
from ftransfer.service.share import Share
from ftransfer.shell.errors import WrongUsage
from ftransfer.storage.local import LocalStore
from ftransfer.system.threads import stop_task, switch_often
from ftransfer.watch.watcher import FolderWatcher

log = logging.getLogger("ftransfer.server")
_SAME_ERROR_S = 10.0  # before the same error is logged again
_CHECK_FILES_S = 2.0  # a removed user is logged out after this time, even if nobody logs in


async def serve_until_stopped(
    settings: Settings, security: ServerSecurity, sandbox_note: str
) -> int:
    """Serve one folder until a signal stops the process. Closes `security`.

    Args:
        sandbox_note: Logged once the server runs.

    Returns:
        The exit code.
    """
    _start_log()
    _raise_descriptor_limit()
    switch_often()
    signals = _stop_signals()
    values = settings.values
    store = await LocalStore.open(values["folder"], durable=not values["no_fsync"])
    share = Share(
        store,
        read_only=values["read_only"],
        drop_box=values["drop_box"],
        hiding=served_folder.hiding_of(values),
        quota_limits=quota_limits_of(values),
    )
    audit = _open_audit(values["audit"])
    try:
        await _refuse_rights_by_folder(store, share, security)
        service = Service(share, _options(values, store, security, audit))
        try:
            server = await Server.listen(
                service,
                host=values["host"],
                port=values["port"],
                welcome=values["welcome"] or _default_welcome(values["folder"]),
                tls=security.tls,
            )
            security.publish(server.addresses)
            async with _reloading(settings, security, server):
                _announce(server.addresses, security, values)
                _log_start(values, sandbox_note)
                await signals.get()
                return await _stop(server, signals)
        finally:
            await service.stop()
    finally:
        security.close()
        await share.close()
        if audit is not None:
            audit.close()


def _stop_signals() -> asyncio.Queue[None]:
    """Return a queue that receives an item for each SIGINT and SIGTERM."""
    signals: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    if not os.environ.get("FTRANSFER_DEBUG"):
        loop.set_exception_handler(_LoopErrors())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, None)
    return signals


def _options(
    values: Mapping[str, Any], store: LocalStore, security: ServerSecurity, audit: Audit | None
) -> ServiceOptions:
    return ServiceOptions(
        limits=limits_of(values),
        watcher=FolderWatcher(values["folder"], store),
        admission=security.admission,
        bandwidth=bandwidth_limits_of(values),
        audit=audit,
        trusted=trusted_of(values),
        keep_partials_s=parse_age(values["keep_partials"]),
    )


@contextlib.asynccontextmanager
async def _reloading(
    settings: Settings, security: ServerSecurity, server: Server
) -> AsyncIterator[None]:
    """Read settings and credentials again on SIGHUP, and credentials when their files change."""
    reloads: asyncio.Queue[None] = asyncio.Queue()

    def reload() -> None:
        settings.reload(server.service)
        reloads.put_nowait(None)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    reloading = asyncio.create_task(_reload_credentials(security, server, reloads))
    try:
        yield
    finally:
        reloading.cancel()


def _log_start(values: Mapping[str, Any], sandbox_note: str) -> None:
    if not values["host"]:
        log.warning("--host is empty: this server listens on all addresses of the machine")
    if os.geteuid() == 0:
        log.warning("running as root: new files will belong to root; use a separate user")
    log.info(sandbox_note)


async def _refuse_rights_by_folder(
    store: LocalStore, share: Share, security: ServerSecurity
) -> None:
    """Refuse rights below a folder, if the file system has other spellings for its name.

    Users who are added later with such rights may do nothing.

    Raises:
        WrongUsage: Such rights are given.
    """
    if not security.options.users:
        return
    for principal in security.admission.principals:
        for grant in () if principal.is_uniform else principal.grants:
            if spelling := await store.other_spelling(grant.prefix):
                shown = escape(str(grant.prefix))
                raise WrongUsage(
                    f"{escape(principal.name)}: rights for /{shown} cannot be enforced: the file"
                    f" system takes {escape(spelling)} for the same name; give rights for the whole"
                    " share, or use a case-sensitive file system"
                )
    share.folds_names = await store.folds_names()


class _LoopErrors:
    """Logs errors that asyncio itself meets, such as too few descriptors, as a line each."""

    def __init__(self) -> None:
        self._last = ("", float("-inf"))

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        line = f"{context['message']}: {error}" if error is not None else str(context["message"])
        logged, at = self._last
        if line != logged or loop.time() - at > _SAME_ERROR_S:
            self._last = (line, loop.time())
            log.warning("%s", line)


async def _reload_credentials(
    security: ServerSecurity, server: Server, requests: asyncio.Queue[None]
) -> None:
    """Reload certificate, users and token on request, and users and token when they change."""
    while True:
        try:
            async with asyncio.timeout(_CHECK_FILES_S):
                await requests.get()
        except TimeoutError:
            await asyncio.to_thread(security.credentials.refresh)
        else:
            await asyncio.to_thread(security.reload)
            security.publish(server.addresses)


def _default_welcome(folder: str) -> str:
    return f"welcome to {escape(os.path.basename(os.path.realpath(folder))) or '/'}"


def _open_audit(path: str | None) -> Audit | None:
    if path is None:
        return None
    try:
        return Audit.open(path, time.time)
    except OSError as error:
        raise WrongUsage(
            f"--audit {escape(path)}: cannot open the file: {error.strerror}"
        ) from error


async def _stop(server: Server, signals: asyncio.Queue[None]) -> int:
    note("stopping; waiting up to 10 s for running transfers (Ctrl-C again aborts them)")
    stopping = asyncio.create_task(server.stop())
    second = asyncio.create_task(signals.get())
    await asyncio.wait([stopping, second], return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        second.cancel()
        stopping.result()
        return DONE
    await stop_task(stopping)
    await server.stop(0)
    return INTERRUPTED


def _announce(
    addresses: list[tuple[str, int]], security: ServerSecurity, values: Mapping[str, Any]
) -> None:
    """Print where the server listens and how to connect; at a terminal also what it shares."""
    for host, port in addresses:
        sys.stdout.write(f"listening on {format_address(host, port)}\n")
    sys.stdout.flush()
    is_terminal = sys.stderr.isatty()
    if is_terminal:
        note(f"sharing {escape(os.path.realpath(values['folder']))}")
    note(served_folder.describe_access(values, security.options))
    host, port = addresses[0]
    for line in security.instructions(host, port):
        note(line)
    if is_terminal:
        note("Ctrl-C stops the server; the log follows")


def _raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors to the hard one.

    The usual soft limit allows only some hundred sessions.
    """
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def forbid_core_files() -> None:
    """Keep passwords and keys out of core files."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _start_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("ftransfer")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
