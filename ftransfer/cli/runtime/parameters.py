"""The parameters of a command, declared in its signature:
`port: Annotated[int, Argument(metavar="PORT", help="Port of the server.")]`.

A declaration is a call of typer.Argument or typer.Option that is delayed until typer is needed,
because importing typer and building a command take as long as the rest of a small get. A plain
command line is parsed here; help, completion and every mistake are left to typer, which gets the
same declarations from typer_adapter.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

REQUIRED: Any = inspect.Parameter.empty


class Declaration(NamedTuple):
    """The arguments for typer's function `maker`. A `callback` checks and returns a value."""

    maker: str
    flags: Sequence[str]
    settings: Mapping[str, Any]


def Argument(**settings: Any) -> Declaration:
    """Declare an argument; settings are those of typer.Argument."""
    return Declaration("Argument", (), settings)


def Option(*flags: str, **settings: Any) -> Declaration:
    """Declare an option; flags and settings are those of typer.Option.

    The default flag is its name.
    """
    return Declaration("Option", flags, settings)


class Parameter(NamedTuple):
    """One parameter of a command; `default` is REQUIRED if it has none."""

    name: str
    type: Any
    declaration: Declaration
    default: Any

    @property
    def flags(self) -> Sequence[str]:
        return self.declaration.flags or [f"--{self.name.replace('_', '-')}"]

    @property
    def takes_many(self) -> bool:
        return any(get_origin(choice) is list for choice in (self.type, *get_args(self.type)))

    def value(self, texts: Sequence[str]) -> Any:
        """Return the value of the texts of an option or argument. Raise ValueError if not valid."""
        value: Any = list(texts) if self.takes_many else self._converted(texts[-1])
        check = self.declaration.settings.get("callback")
        return value if check is None else check(value)

    def _converted(self, text: str) -> Any:
        wanted = next(
            (choice for choice in get_args(self.type) if choice is not NoneType), self.type
        )
        return wanted(text) if wanted is int or issubclass(wanted, Enum) else text


def parameters_of(function: Callable[..., object]) -> Sequence[Parameter]:
    """Return the declared parameters of a function."""
    return [
        Parameter(
            parameter.name,
            parameter.annotation.__origin__,
            parameter.annotation.__metadata__[0],
            parameter.default,
        )
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
    ]


def read(parameters: Sequence[Parameter], words: Sequence[str]) -> dict[str, Any] | None:
    """Parse a command line; return the values by parameter name, or None if typer is needed."""
    arguments = [parameter for parameter in parameters if parameter.declaration.maker == "Argument"]
    options = {
        flag: parameter
        for parameter in parameters
        if parameter not in arguments
        for flag in parameter.flags
    }
    values = {parameter.name: parameter.default for parameter in parameters}
    texts_of: dict[str, list[str]] = {}
    places: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-" or not word.startswith("-"):
            places.append(word)
            continue
        flag, equals, text = word.partition("=")
        option = options.get(flag)
        if option is None or (equals and (option.type is bool or not flag.startswith("--"))):
            return None
        if option.type is bool:
            values[option.name] = True
            continue
        text = text if equals else next(rest, "-")
        if text.startswith("-"):
            return None
        texts_of.setdefault(option.name, []).append(text)
    for place, argument in enumerate(arguments):
        if found := places[place:] if argument.takes_many else places[place : place + 1]:
            texts_of[argument.name] = found
    if len(places) > len(arguments) and not any(argument.takes_many for argument in arguments):
        return None
    try:
        values |= {
            parameter.name: parameter.value(texts_of[parameter.name])
            for parameter in parameters
            if parameter.name in texts_of
        }
    except ValueError:
        return None
    return None if REQUIRED in values.values() else values
