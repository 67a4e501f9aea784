"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import printable

_MAX_PORT = 65_535


def strip_brackets(host: str) -> str:
    """Return an IPv6 address without brackets."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _check_port(port: int) -> int:
    if not 1 <= port <= _MAX_PORT:
        raise ValueError(f"{port} is not a port; use 1 to {_MAX_PORT}")
    return port


def check_listening_port(port: int) -> int:
    """Check a port to listen on; 0 means any free port."""
    return port and _check_port(port)


def parse_age(text: str) -> int:
    """Return the seconds of an age: 90, 90s, 15m, 12h or 7d.

    Raises:
        WrongUsage: It is not an age.
    """
    from ftransfer.units import parse_time

    try:
        return int(parse_time(text))
    except ValueError as error:
        raise WrongUsage(
            f"{printable(text)} is not an age; use for example 90s, 15m, 12h or 7d"
        ) from error


def checked_by(check: Callable[[str], object]) -> Callable[[str | None], str | None]:
    """Return a callback that refuses what `check` raises for, and leaves the value a text.

    A mistake is thus reported before anything is done, and with its place in a configuration file.

    Args:
        check: Raises ValueError or WrongUsage with a message for people.
    """

    def callback(text: str | None) -> str | None:
        if text is not None:
            try:
                check(text)
            except WrongUsage as error:
                raise ValueError(str(error)) from error
        return text

    return callback


def _check_count(count: int | None) -> int | None:
    if count is not None and count < 0:
        raise ValueError(f"{count} is negative; use 0 or more")
    return count


Host = Annotated[
    str, Argument(metavar="HOST", help="Name or address of the server.", callback=strip_brackets)
]
Port = Annotated[int, Argument(metavar="PORT", help="Port of the server.", callback=_check_port)]
Json = Annotated[bool, Option("--json", help="Print results as JSON, one object per line.")]
As = Annotated[
    str,
    Option(
        "--as",
        metavar="NAME",
        help="Name shown to others; default user@host.",
        show_default=False,
    ),
]
Retries = Annotated[
    int | None,
    Option(
        "--retries",
        metavar="N",
        callback=_check_count,
        help=(
            "Retries without progress before giving up; 0 disables. Default: keep retrying for five"
            " minutes."
        ),
    ),
]
NoFsync = Annotated[
    bool, Option("--no-fsync", help="Do not sync to disk; a power failure may lose the file.")
]
Offset = Annotated[
    int,
    Option(
        "--offset",
        metavar="N",
        callback=_check_count,
        help="Start at this byte.",
        show_default=False,
    ),
]
Length = Annotated[
    int | None,
    Option("--length", metavar="N", callback=_check_count, help="Download at most N bytes."),
]
Streams = Annotated[
    int | None,
    Option(
        "--streams",
        metavar="N",
        callback=_check_count,
        help="Number of parallel connections. Default: chosen automatically.",
        show_default=False,
    ),
]
KeyFile = Annotated[
    str,
    Option(
        "--key",
        metavar="FILE",
        help="Key of the certificate, if it is in another file.",
        show_default=False,
    ),
]
