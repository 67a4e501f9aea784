"""Changes of the users file that keep what a person has written around them.

Each change is made in the text, and the result is parsed: if its content is not as expected, it is
not written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ftransfer.auth.users import User, parse_users, section_of, why_no_name
from ftransfer.errors import BadFile
from ftransfer.names import escape
from ftransfer.system.private_files import locked, read_private, rewrite

# A value on one line, without what follows it there.
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|\{[^{}\n]*\}|\[[^\[\]\n]*\]|[\w.+-]+)"""


def add_user(path: str, name: str, values: Mapping[str, str | Mapping[str, str]]) -> None:
    """Add a user at the end of the file, which is created if necessary. Blocking.

    Args:
        values: The value of each key of the user, besides the name.

    Raises:
        BadFile: As load_users, or the user already exists.
    """
    if why := why_no_name(name):
        raise BadFile(f"{path}: {escape(name)}: {why}", name=name)
    file = _real(path)
    with locked(file):
        text = read_private(file)
        if name in parse_users(text, path):
            raise BadFile(
                f"{path}: there is a user {escape(name)} already; ftransfer user set or passwd"
                " changes one"
            )
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        lines = [f"{key} = {_to_toml(value)}\n" for key, value in {"name": name, **values}.items()]
        new = f"{text}{gap}[[user]]\n{''.join(lines)}"
        parse_users(new, path)
        rewrite(file, new)


def set_values(path: str, name: str, values: Mapping[str, str | Mapping[str, str] | None]) -> User:
    """Set some keys of a user, None to remove one; return the user as it is now. Blocking.

    Raises:
        BadFile: As load_users; or the user does not exist, or only a person can change how it is
            written.
    """
    file = _real(path)
    with locked(file):
        text = read_private(file)
        users = parse_users(text, path)
        number = _number(users, name, path)
        new = text
        for key, value in values.items():
            new = _with_value(new, number, key, value)
        wanted = "".join(
            f"{key} = {_to_toml(value)}\n" for key, value in values.items() if value is not None
        )
        keys = " and ".join(values)
        why = (
            f"{path}: the {keys} of {escape(name)} cannot be replaced; put it on a line of its own,"
            " or change it in an editor"
        )
        if re.compile(rf"^[ \t]*\[[ \t]*user\.({'|'.join(values)})\b", re.MULTILINE).search(
            text, *section_of(text, number)
        ):
            raise BadFile(why)
        changed = parse_users(new, path)
        if not _is_as_wanted(users, changed, name, values, wanted):
            raise BadFile(why)
        rewrite(file, new)
        return changed[name]


def remove_user(path: str, name: str) -> None:
    """Remove a user. Blocking.

    Raises:
        BadFile: As set_values.
    """
    file = _real(path)
    with locked(file):
        text = read_private(file)
        users = parse_users(text, path)
        start, end = section_of(text, _number(users, name, path))
        # Comments right above the next user belong to that one.
        kept = re.search(r"(?:^[ \t]*(?:#[^\n]*)?\n)*\Z", text[start:end], re.MULTILINE)
        new = (
            text[:start]
            + (text[start + kept.start() : end].lstrip("\n") if kept else "")
            + text[end:]
        )
        if parse_users(new, path) != {
            other: user for other, user in users.items() if other != name
        }:
            raise BadFile(
                f"{path}: {escape(name)} cannot be removed where it stands; remove it in an editor"
            )
        rewrite(file, new)


def _number(users: Mapping[str, User], name: str, path: str) -> int:
    if name not in users:
        raise BadFile(
            f"{path}: there is no user {escape(name)}; ftransfer user list {path} shows who is"
            " there"
        )
    return list(users).index(name)


def _with_value(text: str, number: int, key: str, value: str | Mapping[str, str] | None) -> str:
    """Return the text with another value for a key of a user, on its line or below the name."""
    start, end = section_of(text, number)
    line = re.compile(
        rf"^([ \t]*{key}[ \t]*=[ \t]*){_VALUE}([ \t]*(?:#[^\n]*)?)$\n?", re.MULTILINE
    ).search(text, start, end)
    if line is not None:
        new = "" if value is None else f"{line[1]}{_to_toml(value)}{line[2]}\n"
        return text[: line.start()] + new + text[line.end() :]
    name = re.compile(r"^[ \t]*name[ \t]*=[^\n]*(?:\n|\Z)", re.MULTILINE).search(text, start, end)
    if value is None or name is None:
        return text
    gap = "" if text[: name.end()].endswith("\n") else "\n"
    return f"{text[: name.end()]}{gap}{key} = {_to_toml(value)}\n{text[name.end() :]}"


def _is_as_wanted(
    before: Mapping[str, User],
    after: Mapping[str, User],
    name: str,
    values: Mapping[str, object],
    wanted: str,
) -> bool:
    """Return whether the change has set what it should and nothing else.

    The values are parsed separately and compared with the old ones.
    """
    old, new = before[name], after.get(name)
    if new is None or {**before, name: new} != dict(after) or list(before) != list(after):
        return False
    rest = {"password": old.password, "rights": "none"}
    filling = "".join(
        f"{key} = {_to_toml(text)}\n" for key, text in rest.items() if key not in values
    )
    alone = parse_users(f"[[user]]\nname = {_to_toml(name)}\n{wanted}{filling}", "")[name]
    amounts = {
        "quota": "quota_bytes",
        "quota_files": "quota_files",
        "max_file": "max_file_bytes",
        "rate": "rate",
    }
    own = {
        field: getattr(alone.allowance, field) for key, field in amounts.items() if key in values
    }
    return new == replace(
        old,
        password=alone.password,
        grants=alone.grants if "rights" in values else old.grants,
        allowance=replace(old.allowance, **own),
    )


def _real(path: str) -> Path:
    """Return the file that a path leads to; a link to it stays a link."""
    return Path(os.path.realpath(path))


def _to_toml(value: str | Mapping[str, str]) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return (
        "{ "
        + ", ".join(f"{_to_toml(key)} = {_to_toml(text)}" for key, text in value.items())
        + " }"
    )
