"""The commands of `ftransfer`: where each is defined, and how to run one without typer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

# In the order of --help: name -> module below cli/ and function. The examples of a command are in
# the same module, as GET_EXAMPLES.
HOMES = {
    "serve": "serve:serve",
    "connect": "connect:connect",
    "get": "get:get",
    "put": "put:put",
    "dir": "files:dir_",
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
# Other names that people type.
_ALIASES = {"ls": ["dir"], "version": ["--version"], "-V": ["--version"]}

# All other commands need a connection.
_LOCAL = frozenset(("serve", "user"))


def command_of(name: str) -> tuple[Any, str]:
    """Return the function of a command, or the typer.Typer of a group, and its examples."""
    module_name, _, attribute = HOMES[name].partition(":")
    module = import_module(f"ftransfer.cli.{module_name}")
    found = getattr(module, attribute)
    if name not in _LOCAL:
        from ftransfer.cli.connection_options import with_connection_options

        found = with_connection_options(found)
    return found, getattr(module, f"{name.upper()}_EXAMPLES", "")


def refuse_empty_words(arguments: Sequence[str]) -> None:
    """Refuse an empty argument: mostly an unset variable, which must not mean the whole share.

    Raises:
        WrongUsage: The command line has one.
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
            f"{name}: empty argument, perhaps an unset variable; use . or / for the whole folder"
        )


def without_aliases(arguments: Sequence[str]) -> Sequence[str]:
    """Return the command line with aliases replaced: `help get` is `get --help`."""
    first, *rest = arguments or [""]
    if first == "help":
        return [*rest, "--help"]
    return [*_ALIASES[first], *rest] if first in _ALIASES else arguments


def run_without_typer(arguments: Sequence[str]) -> bool:
    """Run a plain command line; return False, having done nothing, if typer is needed for it."""
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
