"""The arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import printable

_MAX_PORT = 65_535


def strip_brackets(host: str) -> str:
    """Give an address of IPv6 without the brackets that it has beside a port."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _check_port(port: int) -> int:
    if not 1 <= port <= _MAX_PORT:
        raise ValueError(f"{port} is not a port; ports are 1 to {_MAX_PORT}")
    return port


def check_listening_port(port: int) -> int:
    """As for any port; 0 stands for any free one."""
    return port and _check_port(port)


def parse_age(text: str) -> int:
    """Give the seconds that an age means: 90, 90s, 15m, 12h or 7d.

    Raises:
        WrongUsage: It is none.
    """
    from ftransfer.units import parse_time

    try:
        return int(parse_time(text))
    except ValueError as error:
        raise WrongUsage(
            f"{printable(text)} is not an age; write for example 90s, 15m, 12h or 7d"
        ) from error


def checked_by(check: Callable[[str], object]) -> Callable[[str | None], str | None]:
    """Make a callback for a flag that refuses what `check` raises for; the text stays text.

    So what is wrong with a flag is told before anything is done, and in the configuration file with
    its place.

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
        raise ValueError(f"{count} is less than nothing")
    return count


Host = Annotated[
    str, Argument(metavar="HOST", help="Name or address of the server.", callback=strip_brackets)
]
Port = Annotated[int, Argument(metavar="PORT", help="Its port.", callback=_check_port)]
Json = Annotated[bool, Option("--json", help="Write results as JSON, one object on each line.")]
As = Annotated[
    str,
    Option(
        "--as",
        metavar="NAME",
        help="What you are called there; else user@host.",
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
            "Give up after N tries without progress; 0 for no second try. Without it: after five"
            " minutes."
        ),
    ),
]
NoFsync = Annotated[
    bool, Option("--no-fsync", help="Do not wait for the disk; a power cut may cost the file.")
]
Offset = Annotated[
    int,
    Option(
        "--offset",
        metavar="N",
        callback=_check_count,
        help="Begin at this byte.",
        show_default=False,
    ),
]
Length = Annotated[
    int | None,
    Option("--length", metavar="N", callback=_check_count, help="Receive at most N bytes."),
]
Streams = Annotated[
    int | None,
    Option(
        "--streams",
        metavar="N",
        callback=_check_count,
        help="Use N parallel connections; without it the number is chosen automatically.",
        show_default=False,
    ),
]
