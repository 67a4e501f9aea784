"""The commands of the program for typer, each imported and built when it is asked for.

Typer would build all of them, with all that they import, before it looks at the command line: 30 ms
for each run of any of them.
"""

from __future__ import annotations

import inspect
from collections import UserDict
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ftransfer.cli.runtime.commands import command_of
from ftransfer.cli.runtime.parameters import Declaration
from ftransfer.cli.runtime.quick import QuickCommand


class LazyCommands(UserDict[str, Any]):
    """Names of commands -> typer's commands, made from commands.HOMES. To list the names imports
    nothing.
    """

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = _build(name)
        return found


def _build(name: str) -> Any:
    found, examples = command_of(name)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=QuickCommand, epilog=examples)(for_typer(found))
    return typer.main.get_command(app)


def for_typer(function: Callable[..., object]) -> Callable[..., object]:
    """Give a function with typer's declarations in place of ours; what is typer's own already stays
    as it is.
    """
    signature = inspect.signature(function, eval_str=True)
    parameters = [
        parameter.replace(annotation=_typers(parameter.annotation))
        for name, parameter in signature.parameters.items()
    ]

    def command(**values: Any) -> object:
        return function(**values)

    command.__doc__ = function.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what inspect looks for
    return command


def _typers(annotation: Any) -> Any:
    declaration = getattr(annotation, "__metadata__", (None,))[0]
    if not isinstance(declaration, Declaration):
        return annotation
    settings = dict(declaration.settings)
    if check := settings.get("callback"):
        settings["callback"] = _telling(check)
    return Annotated[
        annotation.__origin__, getattr(typer, declaration.maker)(*declaration.flags, **settings)
    ]


def _telling(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def callback(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return callback
