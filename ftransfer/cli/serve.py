"""serve: the command that shares one folder until a signal stops it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ftransfer.cli import limit_options as limits
from ftransfer.cli import served_folder
from ftransfer.cli.config import ConfigFile
from ftransfer.cli.options import (
    KeyFile,
    check_listening_port,
    checked_by,
    parse_age,
    strip_brackets,
)
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.runner import run
from ftransfer.cli.sandbox_option import Sandbox, enter_sandbox
from ftransfer.cli.server_security import (
    ServerSecurity,
    ServerSecurityOptions,
    check_anonymous,
    check_tls,
)

SERVE_EXAMPLES = """\b
Examples:
  ftransfer serve ./share
  ftransfer serve ./share --read-only --welcome "the lab's measurements"
  ftransfer serve ./inbox --drop-box
  ftransfer serve /tmp/scratch --no-fsync --keep-partials 1d
  ftransfer serve ./share --host 0.0.0.0 --port 9021    # encrypted; prints what others need
  ftransfer serve ./share --anonymous all   # no login, also for other users of this machine
  ftransfer serve ./share --host 0.0.0.0 --users users.toml
  ftransfer serve ./share --port 0          # any free port, shown in the first line
  ftransfer serve ./share --quota 50G --keep-free 10G --rate 20M --audit /var/log/ftransfer.log
  ftransfer serve ./share --config /etc/ftransfer.toml


Sizes: 500M, 10G or 10GB (K, M, G, T are powers of 1024; KB, MB, GB of 1000). Times: 30s, 15m,
1h30m. Every flag is also a key of the --config file: --max-file 2G is max_file = "2G". SIGHUP
reloads that file.

SIGINT (Ctrl-C) and SIGTERM wait up to ten seconds for running transfers; a second signal aborts
them.
"""


def serve(
    context: typer.Context,
    folder: Annotated[str, Argument(metavar="FOLDER", help="Folder to share.")],
    host: Annotated[
        str,
        Option(
            callback=strip_brackets,
            help="Address to listen on; :: for all, 0.0.0.0 for all IPv4 addresses.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, Option(callback=check_listening_port, help="Port to listen on; 0 for any free port.")
    ] = 9021,
    read_only: Annotated[bool, Option("--read-only", help="Allow no changes.")] = False,
    drop_box: Annotated[
        bool, Option("--drop-box", help="Let others upload new files, but see nothing.")
    ] = False,
    hide: served_folder.Hide = None,
    hide_nothing: served_folder.HideNothing = False,
    yes_really: served_folder.YesReally = False,
    no_fsync: Annotated[
        bool,
        Option(
            "--no-fsync", help="Do not sync to disk, for data that may be lost. Clients are told."
        ),
    ] = False,
    keep_partials: Annotated[
        str,
        Option(
            metavar="AGE",
            callback=checked_by(parse_age),
            help="How long to keep interrupted uploads, so that they can be resumed.",
        ),
    ] = "7d",
    welcome: Annotated[
        str, Option(help="Welcome text. Default: the folder's name.", show_default=False)
    ] = "",
    sandbox: Sandbox = None,
    tls: Annotated[
        str,
        Option(
            metavar="auto|on|off",
            callback=checked_by(check_tls),
            help="auto encrypts unless the server listens on loopback only.",
        ),
    ] = "auto",
    cert: Annotated[
        str,
        Option(
            metavar="FILE", help="Server certificate. Default: one is created.", show_default=False
        ),
    ] = "",
    key: KeyFile = "",
    client_ca: Annotated[
        str,
        Option(
            metavar="FILE",
            help="Require client certificates from these CAs.",
            show_default=False,
        ),
    ] = "",
    users: Annotated[
        str,
        Option(
            metavar="FILE",
            help="Users file with passwords and rights (see ftransfer user).",
            show_default=False,
        ),
    ] = "",
    anonymous: Annotated[
        str,
        Option(
            metavar="RIGHTS",
            callback=checked_by(check_anonymous),
            help="Rights without a login, such as read, change or all.",
            show_default=False,
        ),
    ] = "",
    token_file: Annotated[
        str,
        Option(metavar="FILE", help="File with the token for the login.", show_default=False),
    ] = "",
    new_token: Annotated[
        bool,
        Option("--new-token", help="Replace the saved token of the server by a new one."),
    ] = False,
    config: ConfigFile = None,
    audit: limits.AuditFile = None,
    quota: limits.Quota = None,
    user_quota: limits.UserQuota = None,
    quota_files: limits.QuotaFiles = None,
    user_quota_files: limits.UserQuotaFiles = None,
    keep_free: limits.KeepFree = None,
    max_file: limits.MaxFile = None,
    rate: limits.Rate = None,
    user_rate: limits.UserRate = None,
    session_rate: limits.SessionRate = None,
    max_sessions: limits.MaxSessions = 1024,
    max_source_sessions: limits.MaxSourceSessions = None,
    max_unauthenticated: limits.MaxUnauthenticated = 256,
    trust_from: limits.TrustFrom = None,
    handshake_time: limits.HandshakeTime = "10s",
    login_time: limits.LoginTime = "60s",
    line_time: limits.LineTime = "30s",
    idle_time: limits.IdleTime = "15m",
    stall_time: limits.StallTime = "60s",
    heartbeat_limit: limits.HeartbeatLimit = "15m",
    min_progress: limits.MinProgress = "4K",
    max_line: limits.MaxLine = "64K",
    max_frame: limits.MaxFrame = "4M",
) -> None:
    """Share one folder. The first line on stdout is `listening on HOST:PORT`; the log goes to
    stderr.
    """
    from ftransfer.cli.server_process import forbid_core_files, serve_until_stopped
    from ftransfer.cli.settings import Settings

    forbid_core_files()
    settings = Settings(context)
    options = ServerSecurityOptions(
        tls, cert, key, client_ca, users, anonymous, token_file, new_token
    )
    options.check()
    own_files = {
        "--users": users,
        "--token-file": token_file,
        "--cert": cert,
        "--key": key,
        "--audit": audit,
        "--config": config,
    }
    served_folder.refuse_secrets(folder, own_files, yes_really=yes_really)
    security = ServerSecurity.build(options, host, folder)
    # Before the first thread starts, and after everything that can be refused.
    has_audit_folder = bool(audit) and os.path.isdir(os.path.dirname(os.path.abspath(audit or "")))
    sandbox_note = enter_sandbox(
        sandbox,
        folder,
        changed=[audit if has_audit_folder else None],
        read=[config, *security.files],
    )
    raise typer.Exit(
        run(serve_until_stopped(settings, security, sandbox_note), keeps_interrupt=True)
    )
