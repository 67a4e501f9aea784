"""Our commands as typer's: each is imported and built when it is named.

Typer would build all commands, with everything they import, before it reads the command line:
30 ms for each run. Typer from 0.29 on also imports pydantic (60 ms) to convert text to text; where
a parameter has a slot for its conversion, a plain one is put there instead.
"""

from __future__ import annotations

import inspect
from collections import UserDict
from collections.abc import Callable, Iterable
from enum import Enum
from types import UnionType
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from ftransfer.cli.runtime.commands import command_of
from ftransfer.cli.runtime.parameters import Declaration

_SLOT = "_runtime_param"


class LazyCommands(UserDict[str, Any]):
    """Command names -> typer's commands, built from commands.HOMES on first use."""

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
    app.command(name, cls=AppCommand, epilog=examples)(for_typer(found))
    return typer.main.get_command(app)


def for_typer(function: Callable[..., object]) -> Callable[..., object]:
    """Return a function whose declarations are typer's; those that already are stay as they are."""
    signature = inspect.signature(function, eval_str=True)
    parameters = [
        parameter.replace(annotation=_typers(parameter.annotation))
        for parameter in signature.parameters.values()
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
        settings["callback"] = _raising_bad_parameter(check)
    return Annotated[
        annotation.__origin__, getattr(typer, declaration.maker)(*declaration.flags, **settings)
    ]


def _raising_bad_parameter(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def callback(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return callback


class AppCommand(TyperCommand):
    """A command whose parameters are converted without pydantic, with our help screen."""

    def get_params(self, ctx: Any) -> Any:
        return _without_pydantic(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from ftransfer.cli.runtime.help import write_help  # only help needs it

        write_help(self, ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # Typer from 0.29 on writes {HOST} for a required argument; other programs write HOST.
        pieces = [
            piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)
        ]
        # It puts [ ]... around a metavar that already shows what is optional and repeated.
        return [piece[1:-4] if piece.startswith("[[") else piece for piece in pieces]


class AppGroup(TyperGroup):
    """A group of commands whose own parameters are converted without pydantic."""

    def get_params(self, ctx: Any) -> Any:
        return _without_pydantic(super().get_params(ctx))


def _without_pydantic(parameters: Iterable[Any]) -> Iterable[Any]:
    for parameter in parameters:
        if getattr(parameter, _SLOT, ...) is None:
            conversion = _conversion_of(parameter)
            if conversion is not None:
                setattr(parameter, _SLOT, conversion)
    return parameters


def _conversion_of(parameter: Any) -> _TextList | _Text | None:
    wanted = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    choices = [choice for choice in get_args(wanted) if choice is not type(None)]
    if isinstance(wanted, UnionType) and len(choices) == 1:
        wanted = choices[0]
    if wanted == list[str]:
        return _TextList()
    if getattr(parameter, "nargs", 0) != 1 or getattr(parameter, "multiple", False):
        return None
    if wanted in (str, int, bool):
        return _Text(wanted, "a number")
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return _Text(wanted, " or ".join(choice.value for choice in wanted))
    return None


class _TextList:
    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        return list(value) if value else value


class _Text:
    def __init__(self, wanted: type[Any], description: str) -> None:
        self._wanted = wanted
        self._description = description

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None or isinstance(value, self._wanted):
            return value
        try:
            return self._wanted(value)
        except ValueError as error:
            raise typer.BadParameter(
                f"{value} is not {self._description}", ctx=ctx, param=param
            ) from error
