"""The program for typer: help, completion, wrong usage, and commands that need typer's context."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ftransfer.cli.output import DONE, INTERRUPTED, USAGE, note
from ftransfer.cli.renamed_flags import current_flag
from ftransfer.cli.runtime.commands import HOMES
from ftransfer.cli.runtime.typer_adapter import AppGroup, LazyCommands
from ftransfer.shell.columns import fitted
from ftransfer.shell.formatting import printable
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
  1    the server refused the request, or the transfer failed
  2    wrong usage
  3    cannot connect, or the connection was lost
  4    the content could not be verified
  5    server not trusted, or login refused
  130  interrupted
"""

COMMANDS = LazyCommands(HOMES)


class _Program(AppGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = COMMANDS


# Without rich: it would cost each command 50 ms, for coloured help.
app = typer.Typer(
    name="ftransfer",
    cls=_Program,
    help="Share a folder with people and scripts, and transfer files with verification.",
    epilog=_EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "token_normalize_func": current_flag,
    },
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ftransfer {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(USAGE)


def run_app(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Wrong usage is reported; other errors propagate."""
    try:
        result: object = app(list(arguments), prog_name="ftransfer", standalone_mode=False)
    except typer.Abort:
        sys.stderr.write("ftransfer: interrupted\n")
        return INTERRUPTED
    except Exception as error:
        # Typer's classes for wrong usage have moved between versions, so look at their attributes.
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            note(fitted(f"ftransfer: {_usage_line(error)}", sys.stderr))
            return USAGE
        raise
    return result if isinstance(result, int) else DONE


def _usage_line(error: Exception) -> str:
    message = error.format_message()  # type: ignore[attr-defined]  # see above
    # A list of choices has a line for each.
    message, _, choices = message.partition(". Choose from:")
    if choices:
        message += f"; choose from {' '.join(choices.split())}"
    message = printable(message)
    # Typer writes sentences, of which the last may be a suggestion.
    message = message.rstrip(".").replace(". Did you mean", "; did you mean")
    message = re.sub(r" \(Possible options: (.*)\)$", r"; possible options: \1", message)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "ftransfer"
    line = f"{message[:1].lower()}{message[1:]}"
    return line if line.endswith("?") else f"{line}; {command} --help shows the usage"
