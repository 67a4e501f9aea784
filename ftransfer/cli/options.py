"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

_MAX_PORT = 65_535


def _strip_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _check_port(port: int) -> int:
    if not 1 <= port <= _MAX_PORT:
        raise typer.BadParameter(f"{port} is not a port; ports are 1 to {_MAX_PORT}")
    return port


def check_listening_port(port: int) -> int:
    """As for any port; 0 stands for any free one."""
    return port and _check_port(port)


Host = Annotated[str, typer.Argument(metavar="HOST", help="Name or address of the server.", callback=_strip_brackets)]
Port = Annotated[int, typer.Argument(metavar="PORT", help="Its port.", callback=_check_port)]
Json = Annotated[bool, typer.Option("--json", help="Write results as JSON, one object on each line.")]
