"""What a command takes, declared in its signature: `port: Annotated[int, Argument(metavar="PORT",
help="Its port.")]`.

A declaration is a call of typer.Argument or typer.Option that is put off until somebody needs
typer: to import it, and to build a command of it, takes as long as all else that a small get does.
A command line that raises no question is read here; help, completion and whatever is wrong are left
to typer, which has the same declarations from lazy.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

REQUIRED: Any = inspect.Parameter.empty


class Declaration(NamedTuple):
    """What typer's function `maker` will be called with. A `callback` takes and gives a value, and
    raises ValueError.
    """

    maker: str
    flags: Sequence[str]
    settings: Mapping[str, Any]


def Argument(**settings: Any) -> Declaration:
    """Declare an argument; settings are those of typer.Argument."""
    return Declaration("Argument", (), settings)


def Option(*flags: str, **settings: Any) -> Declaration:
    """Declare an option; flags and settings are those of typer.Option. Without flags it has its
    name for one.
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
        """Give what the texts after a flag, or in the place of an argument, mean. Raises
        ValueError.
        """
        value: Any = list(texts) if self.takes_many else self._converted(texts[-1])
        check = self.declaration.settings.get("callback")
        return value if check is None else check(value)

    def _converted(self, text: str) -> Any:
        wanted = next(
            (choice for choice in get_args(self.type) if choice is not NoneType), self.type
        )
        return wanted(text) if wanted is int or issubclass(wanted, Enum) else text


def parameters_of(function: Callable[..., object]) -> Sequence[Parameter]:
    """Give the declared parameters of a function."""
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
    """Read a command line; give the values by the names of the parameters, or None if that is a
    matter for typer.
    """
    arguments = [parameter for parameter in parameters if parameter.declaration.maker == "Argument"]
    options = {
        flag: parameter
        for parameter in parameters
        if parameter not in arguments
        for flag in parameter.flags
    }
    values = {parameter.name: parameter.default for parameter in parameters}
    said: dict[str, list[str]] = {}
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
        said.setdefault(option.name, []).append(text)
    for place, argument in enumerate(arguments):
        if found := places[place:] if argument.takes_many else places[place : place + 1]:
            said[argument.name] = found
    if len(places) > len(arguments) and not any(argument.takes_many for argument in arguments):
        return None
    try:
        values |= {
            parameter.name: parameter.value(said[parameter.name])
            for parameter in parameters
            if parameter.name in said
        }
    except ValueError:
        return None
    return None if REQUIRED in values.values() else values
