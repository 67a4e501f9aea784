"""What `serve` shares: no folder with the owner's own secrets, and no hidden names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ftransfer.cli.runtime.parameters import Option
from ftransfer.names import escape
from ftransfer.shell.errors import WrongUsage

if TYPE_CHECKING:
    from ftransfer.cli.server_security import ServerSecurityOptions
    from ftransfer.transfer.hidden_names import HiddenNames


def _check_patterns(patterns: list[str] | None) -> list[str] | None:
    from ftransfer.transfer.selection import hidden_names

    if any(not pattern.strip() for pattern in patterns or ()):
        raise ValueError("the pattern is empty; --hide-nothing shows what is hidden by default")
    try:
        hidden_names(patterns or ())
    except ValueError as error:
        raise ValueError(f"not a valid .gitignore pattern: {error}") from error
    return patterns


Hide = Annotated[
    list[str] | None,
    Option(
        "--hide",
        metavar="PATTERN",
        callback=_check_patterns,
        help="Hide names from everybody; patterns as in .gitignore; may be repeated.",
        show_default=False,
    ),
]
HideNothing = Annotated[
    bool,
    Option(
        "--hide-nothing",
        help="Also share what is hidden by default: .ssh, .env*, *.pem, .git and other secrets.",
    ),
]
YesReally = Annotated[
    bool,
    Option(
        "--yes-really",
        help="Allow sharing /, your home folder, or a folder with the server's own secrets.",
    ),
]


def hiding_of(values: Mapping[str, Any]) -> HiddenNames | None:
    from ftransfer.transfer.hidden_names import SECRETS
    from ftransfer.transfer.selection import hidden_names

    patterns = [*(() if values["hide_nothing"] else SECRETS), *(values["hide"] or ())]
    return hidden_names(patterns) if patterns else None


def refuse_secrets(folder: str, own_files: Mapping[str, str | None], *, yes_really: bool) -> None:
    """Refuse to serve a folder that would expose secrets. Blocking.

    Args:
        own_files: Option -> the path of a file that the server reads or writes, or None.

    Raises:
        WrongUsage: It is /, or contains the home folder, the state folder, or one of the files.
    """
    if yes_really or not os.path.isdir(folder):
        return  # reported when it is opened
    from ftransfer.system.private_files import state_folder

    root = Path(os.path.realpath(folder))
    why = ""
    if root == Path(root.anchor):
        why = "this is the whole machine"
    elif _contains(root, [os.path.expanduser("~")]):
        why = "contains your home folder, with its keys and passwords"
    elif _contains(root, [str(state_folder())]):
        why = "contains the keys and tokens of ftransfer"
    else:
        why = next(
            (
                f"contains the {option} file"
                for option, path in own_files.items()
                if path and _contains(root, [path])
            ),
            "",
        )
    if why:
        raise WrongUsage(f"{escape(folder)}: {why}; serve another folder, or add --yes-really")


def _contains(root: Path, paths: Iterable[str]) -> bool:
    """Return whether one of the paths, or its link target, is the folder or below it."""
    return any(
        Path(found).is_relative_to(root)
        for path in paths
        for found in (os.path.abspath(path), os.path.realpath(path))
    )


def describe_access(values: Mapping[str, Any], options: ServerSecurityOptions) -> str:
    """Return one line for the owner: who may do what."""
    everything = "read, change and delete"
    if values["drop_box"]:
        everything = "upload new files and see nothing"
    elif values["read_only"]:
        everything = "read"
    who = []
    if options.token_file or options.makes_token:
        who.append(f"anyone with the token may {everything}")
    if options.users:
        who.append(f"users have the rights in {escape(options.users)}")
    if options.anonymous:
        who.append(
            f"everybody else may {options.anonymous}"
            if who
            else f"everybody who can connect may {options.anonymous}"
        )
    hidden = "nothing is hidden" if hiding_of(values) is None else "secrets are hidden"
    if values["hide"]:
        hidden = f"hidden: {', '.join(map(escape, values['hide']))}" + (
            "" if values["hide_nothing"] else " and secrets"
        )
    return f"{'; '.join(who)}; {hidden}"
