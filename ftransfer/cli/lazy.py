"""The commands of the program, each imported and built when it is asked for.

Typer would build all of them, with all that they import, before it looks at the command line: 30 ms for each run of any of them.
"""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from typing import Any

import typer

from ftransfer.cli.quick import QuickCommand
from ftransfer.cli.way import RemoteCommand


class LazyCommands(UserDict[str, Any]):
    """Names of commands -> typer's commands. To list the names imports nothing.

    Made from what is found where: {"sync": "trees:sync"} is a function, or a typer.Typer, of ftransfer.cli.trees. The examples of
    a function stand beside it as SYNC_EXAMPLES.
    """

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = _build(name, found)
        return found


def _build(name: str, home: str) -> Any:
    module_name, _, attribute = home.partition(":")
    module = import_module(f"ftransfer.cli.{module_name}")
    found = getattr(module, attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    cls = QuickCommand if name == "serve" else RemoteCommand
    app.command(name, cls=cls, epilog=getattr(module, f"{name.upper()}_EXAMPLES"))(found)
    return typer.main.get_command(app)
