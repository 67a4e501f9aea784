"""The help screen of a command: examples, then arguments, then options in groups."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ftransfer.cli.limit_options import RELOADED

_SECURITY = frozenset(
    "tls plain fingerprint ca cert key user token_file client_ca users anonymous new_token"
    " trust_from sandbox".split()
)
_LIMITS = "Quotas and limits"
_GROUPS = ("Arguments", "Options", "Security", _LIMITS)
# What typer shows for a type, and what we show.
_TYPES = {"<str>": "TEXT", "<int>": "N"}
_TYPE = re.compile(r" (<[^ ]+>)$")


def write_help(command: Any, context: Any, formatter: Any) -> None:
    """Write the help screen of a command of typer."""
    command.format_usage(context, formatter)
    command.format_help_text(context, formatter)
    command.format_epilog(context, formatter)
    write_parameters(command.get_params(context), context, formatter)


def write_parameters(parameters: Iterable[Any], context: Any, formatter: Any) -> None:
    """Write arguments and options, in groups."""
    rows: dict[str, list[tuple[str, str]]] = {group: [] for group in _GROUPS}
    for parameter in parameters:
        if (record := parameter.get_help_record(context)) is not None:
            is_argument = parameter.param_type_name == "argument"
            shown, text = record
            shown = _TYPE.sub("" if is_argument else _named, shown)
            rows["Arguments" if is_argument else _group_of(parameter.name)].append(
                (shown, text.removesuffix("  [required]"))
            )
    for group, found in rows.items():
        if found:
            with formatter.section(group):
                formatter.write_dl(found)


def _named(match: re.Match[str]) -> str:
    return f" {_TYPES.get(match[1], 'VALUE')}"


def _group_of(name: str) -> str:
    if name in _SECURITY:
        return "Security"
    return _LIMITS if name in RELOADED else "Options"
