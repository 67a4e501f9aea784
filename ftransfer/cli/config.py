"""`serve --config FILE`: a TOML file in which every flag has a key; reloaded on SIGHUP.

The keys are the flags with _ for -, so no second list can become outdated. The command line takes
precedence over the file. A mistake is reported in one line with file, line and column.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ftransfer.cli.renamed_flags import RENAMED_KEYS
from ftransfer.names import escape
from ftransfer.shell.errors import WrongUsage

_NOT_IN_FILE = frozenset(("folder", "config", "help"))
_MAX_BYTES = 1 << 20


def read_config(path: str, context: Any) -> dict[str, Any]:
    """Read a file, check each value as on the command line, and return them by parameter name.

    Args:
        context: Typer's context of the command.

    Raises:
        WrongUsage: It cannot be read, or holds a mistake.
    """
    text = _text_of(path)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WrongUsage(_toml_mistake(path, text, str(error))) from error
    except (ValueError, RecursionError) as error:
        # For these, tomllib has no error class and no position.
        raise WrongUsage(
            f"{escape(path)}: not valid TOML: a number is too long, or the nesting too deep"
        ) from error
    options = {
        option.name: option for option in context.command.params if option.name not in _NOT_IN_FILE
    }
    values: dict[str, Any] = {}
    for key, value in found.items():
        name = RENAMED_KEYS.get(key, key)
        if name != key and name in found:
            where = _place_of(path, text, key)
            raise WrongUsage(f"{where}: {key} is the old name of {name}; keep only {name}")
        values[name] = _checked(_place_of(path, text, key), key, value, options, context)
    return values


def _take_config(context: typer.Context, path: str | None) -> str | None:
    if path is not None:
        context.default_map = read_config(path, context)
    return path


ConfigFile = Annotated[
    str | None,
    # Eager, because it sets the defaults of the other parameters.
    typer.Option(
        metavar="FILE",
        callback=_take_config,
        is_eager=True,
        help='TOML file with flags, such as max_file = "2G"; SIGHUP reloads it.',
        show_default=False,
    ),
]


def _text_of(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise WrongUsage(f"{escape(path)}: too large for a configuration file")
        return data.decode("utf-8-sig")  # some editors begin a file with a byte-order mark
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{escape(path)}: not valid UTF-8") from error
    except (OSError, ValueError) as error:
        raise WrongUsage(
            f"{escape(path)}: cannot read the file: {getattr(error, 'strerror', None) or error}"
        ) from error


def _toml_mistake(path: str, text: str, message: str) -> str:
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    end = (text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)
    line, column = (place[1], place[2]) if place and place[1] else end
    what = message[: place.start()] if place else message
    return f"{escape(path)}:{line}:{column}: not valid TOML: {escape(what[:1].lower() + what[1:])}"


def _place_of(path: str, text: str, key: str) -> str:
    line, column = position_of(text, key)
    return f"{escape(path)}:{line}:{column}"


def _checked(where: str, key: str, value: Any, options: Mapping[str, Any], context: Any) -> Any:
    option = options.get(RENAMED_KEYS.get(key, key))
    if option is None:
        near = difflib.get_close_matches(key.replace("-", "_"), options, 1)
        hint = (
            f"; did you mean {near[0]}?" if near else f"; the keys are {', '.join(sorted(options))}"
        )
        raise WrongUsage(f"{where}: unknown key {escape(key)}{hint}")
    value = _of_type(where, key, value, option)
    if option.callback is not None:
        try:
            return option.callback(context, option, value)
        except Exception as error:
            # Typer's class for a bad value has moved between versions, so look at its attributes.
            if hasattr(error, "message") and hasattr(error, "exit_code"):
                raise WrongUsage(f"{where}: {key}: {error.message}") from error
            raise
    return value


def _of_type(where: str, key: str, value: Any, option: Any) -> Any:
    if getattr(option, "is_flag", False):
        if type(value) is not bool:
            raise WrongUsage(f"{where}: {key} must be true or false")
        return value
    if _takes(int, option):
        if type(value) is not int:
            raise WrongUsage(f"{where}: {key} must be a whole number")
        return value
    if _takes(list[str], option):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise WrongUsage(f"{where}: {key} must be a list of strings")
        return value
    if type(value) not in (str, int, float):
        raise WrongUsage(f"{where}: {key} must be a quoted string or a number")
    return str(value)


def _takes(wanted: Any, option: Any) -> bool:
    """Return whether a parameter has a type, as the different versions of typer store it."""
    descriptor = getattr(option, "type_descriptor", None)
    if descriptor is not None:
        annotation = descriptor.annotation
        return wanted in (annotation, *get_args(annotation))
    name = getattr(getattr(option, "type", None), "name", "")
    return bool(getattr(option, "multiple", False)) if wanted is not int else name == "integer"


def position_of(text: str, key: str) -> tuple[int, int]:
    """Return line and column, from 1, of a top-level key or table in a TOML text."""
    quoted = "|".join(re.escape(form) for form in (key, f'"{key}"', f"'{key}'"))
    found = re.search(rf"^[ \t]*\[*[ \t]*({quoted})[ \t]*[=.\]]", text, re.MULTILINE)
    if found is None:
        return 1, 1
    start = found.start(1)
    return text.count("\n", 0, start) + 1, start - (text.rfind("\n", 0, start) + 1) + 1
