"""The commands of `ftransfer`, registered, and the call that runs one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from ftransfer.cli.connect import CONNECT_EXAMPLES, connect
from ftransfer.cli.files import (
    CHECKSUM_EXAMPLES,
    MKDIR_EXAMPLES,
    MV_EXAMPLES,
    PARTIALS_EXAMPLES,
    RM_EXAMPLES,
    STAT_EXAMPLES,
    checksum,
    mkdir,
    mv,
    partials,
    rm,
    stat,
)
from ftransfer.cli.live import (
    CHAT_EXAMPLES,
    SAY_EXAMPLES,
    TELL_EXAMPLES,
    WATCH_EXAMPLES,
    WHO_EXAMPLES,
    chat,
    say,
    tell,
    watch,
    who,
)
from ftransfer.cli.login import LOGIN_EXAMPLES, LOGOUT_EXAMPLES, login, logout
from ftransfer.cli.output import DONE, INTERRUPTED, USAGE
from ftransfer.cli.quick import QuickCommand, QuickGroup
from ftransfer.cli.serve import SERVE_EXAMPLES, serve
from ftransfer.cli.transfers import DIR_EXAMPLES, GET_EXAMPLES, PUT_EXAMPLES, dir_, get, put
from ftransfer.cli.trees import SYNC_EXAMPLES, sync
from ftransfer.cli.users import USER_ADD_EXAMPLES, USER_LIST_EXAMPLES, USER_PASSWD_EXAMPLES, user_add, user_list, user_passwd
from ftransfer.cli.way import RemoteCommand
from ftransfer.shell.wording import printable
from ftransfer.version import VERSION

_EPILOG = """\b
Examples:
  ftransfer serve ./share
  ftransfer dir localhost 9021
  ftransfer get localhost 9021 射频仿真.pptx
  ftransfer put localhost 9021 天线15.doc
  ftransfer connect localhost 9021

\b
Exit codes:
  0    done
  1    the server refused, or the transfer failed
  2    wrong usage
  3    cannot connect, or the connection was lost
  4    the content did not verify
  5    not trusted, or not authorised
  130  interrupted
"""

# Without rich: it would cost every command 50 ms for the sake of coloured help.
app = typer.Typer(
    name="ftransfer",
    cls=QuickGroup,
    help="Serve one folder to many people and scripts, and move files in and out of it, verified.",
    epilog=_EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ftransfer {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(USAGE)


def _register(
    name: str, command: Callable[..., None], examples: str, *, group: typer.Typer = app, cls: type[QuickCommand] = RemoteCommand
) -> None:
    group.command(name, cls=cls, epilog=examples)(command)


_register("serve", serve, SERVE_EXAMPLES, cls=QuickCommand)
_register("connect", connect, CONNECT_EXAMPLES)
_register("get", get, GET_EXAMPLES)
_register("put", put, PUT_EXAMPLES)
_register("dir", dir_, DIR_EXAMPLES)
_register("sync", sync, SYNC_EXAMPLES)
_register("who", who, WHO_EXAMPLES)
_register("say", say, SAY_EXAMPLES)
_register("tell", tell, TELL_EXAMPLES)
_register("watch", watch, WATCH_EXAMPLES)
_register("chat", chat, CHAT_EXAMPLES)
_register("stat", stat, STAT_EXAMPLES)
_register("checksum", checksum, CHECKSUM_EXAMPLES)
_register("mkdir", mkdir, MKDIR_EXAMPLES)
_register("mv", mv, MV_EXAMPLES)
_register("rm", rm, RM_EXAMPLES)
_register("partials", partials, PARTIALS_EXAMPLES)
_register("login", login, LOGIN_EXAMPLES)
_register("logout", logout, LOGOUT_EXAMPLES)

_users = typer.Typer(cls=QuickGroup, help="Change the file of users, for serve --users.", rich_markup_mode=None)
app.add_typer(_users, name="user")
_register("add", user_add, USER_ADD_EXAMPLES, group=_users, cls=QuickCommand)
_register("passwd", user_passwd, USER_PASSWD_EXAMPLES, group=_users, cls=QuickCommand)
_register("list", user_list, USER_LIST_EXAMPLES, group=_users, cls=QuickCommand)


def run_app(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code. What a command raises comes out, save wrong usage, which is told here."""
    try:
        result: object = app(list(arguments), prog_name="ftransfer", standalone_mode=False)
    except typer.Abort:
        sys.stderr.write("ftransfer: interrupted\n")
        return INTERRUPTED
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None  # typer makes a failure of it
        raise
    except Exception as error:
        # Typer's classes for wrong usage have moved between its versions; what they can do has not.
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            sys.stderr.write(f"ftransfer: {_usage_line(error)}\n")
            return USAGE
        raise
    return result if isinstance(result, int) else DONE


def _usage_line(error: Exception) -> str:
    message = printable(error.format_message()).rstrip(".")  # type: ignore[attr-defined]  # see above
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "ftransfer"
    return f"{message[:1].lower()}{message[1:]}; {command} --help shows how"
