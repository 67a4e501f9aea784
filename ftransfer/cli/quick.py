"""Commands of typer whose plain arguments pass without pydantic.

Typer from 0.29 on imports pydantic (60 ms, more than all of ours) to turn a text into a text. Where a parameter has a slot for its
conversion, a plain one is put there; with a typer that has no such slot these classes do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_SLOT = "_runtime_param"


class QuickCommand(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _spare_pydantic(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # Typer from 0.29 on writes {HOST} for what must be there; everybody else writes HOST.
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class QuickGroup(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _spare_pydantic(super().get_params(ctx))


def _spare_pydantic(parameters: Iterable[Any]) -> Iterable[Any]:
    for parameter in parameters:
        wanted = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        is_single = getattr(parameter, "nargs", 0) == 1 and not getattr(parameter, "multiple", False)
        if wanted in (str, int, bool) and is_single and getattr(parameter, _SLOT, ...) is None:
            setattr(parameter, _SLOT, _Plain(wanted))
    return parameters


class _Plain:
    def __init__(self, wanted: type[str] | type[int]) -> None:
        self._wanted = wanted

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None or isinstance(value, self._wanted):
            return value
        try:
            return self._wanted(value)
        except ValueError as error:
            raise typer.BadParameter(f"{value} is not a number", ctx=ctx, param=param) from error
