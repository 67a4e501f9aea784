"""Commands of typer whose plain arguments pass without pydantic.

Typer from 0.29 on imports pydantic (60 ms, more than all of ours) to turn a text into a text. Where
a parameter has a slot for its conversion, a plain one is put there; with a typer that has no such
slot these classes do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from types import UnionType
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

_SLOT = "_runtime_param"


class QuickCommand(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return spare_pydantic(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        # A command that is carried out needs none
        from ftransfer.cli.runtime.help import (
            write_help,
        )

        write_help(self, ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # Typer from 0.29 on writes {HOST} for what must be there; everybody else writes HOST.
        pieces = [
            piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)
        ]
        # It sets [ ]... around a metavar that says by itself what may be left out and repeated.
        return [piece[1:-4] if piece.startswith("[[") else piece for piece in pieces]


class QuickGroup(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return spare_pydantic(super().get_params(ctx))


def spare_pydantic(parameters: Iterable[Any]) -> Iterable[Any]:
    for parameter in parameters:
        descriptor = getattr(parameter, "type_descriptor", None)
        wanted = getattr(descriptor, "annotation", None)
        if getattr(parameter, _SLOT, ...) is not None:
            continue
        choices = [choice for choice in get_args(wanted) if choice is not type(None)]
        if isinstance(wanted, UnionType) and len(choices) == 1:
            wanted = choices[0]  # what may be left out
        is_single = getattr(parameter, "nargs", 0) == 1 and not getattr(
            parameter, "multiple", False
        )
        if wanted in (str, int, bool) and is_single:
            setattr(parameter, _SLOT, _Plain(wanted, "a number"))
        elif isinstance(wanted, type) and issubclass(wanted, Enum) and is_single:
            setattr(
                parameter, _SLOT, _Plain(wanted, " or ".join(choice.value for choice in wanted))
            )
        elif wanted == list[str]:
            setattr(parameter, _SLOT, _PlainList())
    return parameters


class _PlainList:
    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        return list(value) if value else value


class _Plain:
    def __init__(self, wanted: type[Any], what: str) -> None:
        self._wanted = wanted
        self._what = what

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None or isinstance(value, self._wanted):
            return value
        try:
            return self._wanted(value)
        except ValueError as error:
            raise typer.BadParameter(
                f"{value} is not {self._what}", ctx=ctx, param=param
            ) from error
