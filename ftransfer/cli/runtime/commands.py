"""The commands of `ftransfer`, where they are found, and the short way to run one: without
typer.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

# In the order of the help; each with the module below cli/ that has it, and what it is called
# there. The examples of a command stand beside it as GET_EXAMPLES.
HOMES = {
    "serve": "serve:serve",
    "connect": "connect:connect",
    "get": "transfers:get",
    "put": "transfers:put",
    "dir": "transfers:dir_",
    "sync": "trees:sync",
    "who": "live:who",
    "say": "live:say",
    "tell": "live:tell",
    "watch": "live:watch",
    "chat": "live:chat",
    "stat": "files:stat",
    "checksum": "files:checksum",
    "mkdir": "files:mkdir",
    "mv": "files:mv",
    "rm": "files:rm",
    "partials": "files:partials",
    "login": "login:login",
    "logout": "login:logout",
    "user": "users:users",
}
# What some type out of habit.
_ALIASES = {"ls": ["dir"], "version": ["--version"], "-V": ["--version"]}

# All others work over a connection.
_LOCAL = frozenset(("serve", "user"))


def command_of(name: str) -> tuple[Any, str]:
    """Give the function of a command, or the typer.Typer of several, and its examples."""
    module_name, _, attribute = HOMES[name].partition(":")
    module = import_module(f"ftransfer.cli.{module_name}")
    found = getattr(module, attribute)
    if name not in _LOCAL:
        from ftransfer.cli.connection_options import over_way

        found = over_way(found)
    return found, getattr(module, f"{name.upper()}_EXAMPLES", "")


def refuse_empty_words(arguments: Sequence[str]) -> None:
    """Refuse a command line that has an empty word: mostly a variable that is not set, and never to
    stand for a whole folder.

    Raises:
        WrongUsage.
    """
    name, *words = arguments or ("",)
    if name not in HOMES or name in _LOCAL:
        return
    options = words[: words.index("--")] if "--" in words else words
    if "" in words or any(
        word.startswith("--") and word.index("=") == len(word) - 1
        for word in options
        if "=" in word
    ):
        from ftransfer.shell.errors import WrongUsage

        raise WrongUsage(
            f"{name} was given an empty argument, perhaps a variable that is not set; . and / stand"
            " for whole folders"
        )


def spelled_out(arguments: Sequence[str]) -> Sequence[str]:
    """Give a command line with another word for a command as what it stands for: `help get` is `get
    --help`.
    """
    first, *rest = arguments or [""]
    if first == "help":
        return [*rest, "--help"]
    return [*_ALIASES[first], *rest] if first in _ALIASES else arguments


def run_plain(arguments: Sequence[str]) -> bool:
    """Run a command line that raises no question; whether it was one. What the command raises comes
    out.
    """
    name, *words = arguments or ("",)
    if name not in HOMES or name in _LOCAL:
        return False
    from ftransfer.cli.runtime.parameters import parameters_of, read

    command, _ = command_of(name)
    values = read(parameters_of(command), words)
    if values is None:
        return False
    command(**values)
    return True
