"""The users file: TOML, edited by a person or by `ftransfer user`.

Mistakes are reported with line and column.

[[user]]
name = "ann"
password = "$argon2id$..."          # ftransfer user passwd FILE ann
rights = "read"                     # or, by folder:
rights = { "/" = "read", "/inbox" = "read,write" }
quota = "10G"                       # optional: how much may lie where this user may write,
quota_files = 50000                 # and how many files, folders and links,
max_file = "1G"                     # how large one file may be,
rate = "5M"                         # and how much may move in a second
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftransfer.auth.passwords import is_hash
from ftransfer.auth.permissions import Allowance, Grant, parse_rights
from ftransfer.errors import BadFile, NameRefused
from ftransfer.names import escape, parse_path
from ftransfer.system.private_files import read_private, warn_if_readable
from ftransfer.units import parse_count, parse_rate, parse_size

_NEEDED = ("name", "password", "rights")
_AMOUNTS = {
    "quota": parse_size,
    "quota_files": parse_count,
    "max_file": parse_size,
    "rate": parse_rate,
}
_KEYS = (*_NEEDED, *_AMOUNTS)
_MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class User:
    """One user; `password` is a hash."""

    name: str
    password: str
    grants: tuple[Grant, ...]
    allowance: Allowance = Allowance()


class _Mistake(Exception):
    """An unusable value in the table with this number and under this key; `word` is its text."""

    def __init__(self, message: str, number: int, key: str | None = None, word: str = "") -> None:
        super().__init__(message)
        self.number = number
        self.key = key
        self.word = word


def load_users(path: str) -> dict[str, User]:
    """Read a users file, and warn if everyone may read it. Blocking.

    Raises:
        BadFile: It cannot be read, others may change it, or it has a mistake, reported with line
            and column.
    """
    if not Path(path).exists():
        raise BadFile(f"{path}: there is no such file; ftransfer user add {path} NAME makes it")
    users = parse_users(read_private(Path(path)), path)
    warn_if_readable(path, "the hashes of the passwords")
    return users


def parse_users(text: str, path: str) -> dict[str, User]:
    """Read users from text, as load_users."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadFile(_syntax(str(error), text, path)) from error
    except (ValueError, RecursionError) as error:
        # For a number of thousands of digits, or a thousand brackets, tomllib gives neither its
        # usual error nor a position.
        raise BadFile(
            f"{path}: a number is too long, or brackets are nested too deeply; it must be TOML"
        ) from error
    try:
        return _users(document)
    except _Mistake as mistake:
        line, column = _place(text, mistake)
        raise BadFile(f"{path}: line {line}, column {column}: {mistake}") from mistake


def _users(document: Mapping[str, Any]) -> dict[str, User]:
    tables = document.get("user", [])
    for key in document:
        if key != "user":
            raise _Mistake(f"{escape(key)} is not known; users are written as [[user]]", -1, key)
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise _Mistake("users are written as [[user]], with two brackets", -1, "user")
    users: dict[str, User] = {}
    for number, table in enumerate(tables):
        user = _user(number, table)
        if user.name in users:
            raise _Mistake(f"there is another user {escape(user.name)} above", number, "name")
        users[user.name] = user
    return users


def _user(number: int, table: Mapping[str, Any]) -> User:
    for key in table:
        if key not in _KEYS:
            raise _Mistake(
                f"{escape(key)} is not known; the keys of a user are {', '.join(_KEYS)}",
                number,
                key,
            )
    for key in _NEEDED:
        if key not in table:
            raise _Mistake(f"this user has no {key}", number)
    name, password = table["name"], table["password"]
    if why := why_no_name(name):
        raise _Mistake(why, number, "name")
    if not isinstance(password, str) or not is_hash(password):
        raise _Mistake(
            "the password is not a hash; ftransfer user passwd writes one", number, "password"
        )
    return User(name, password, _grants(number, table["rights"]), _allowance(number, table))


def why_no_name(name: object) -> str:
    """Return why a value cannot be the name of a user, or ""."""
    if not isinstance(name, str) or not name:
        return "a name is a text that is not empty"
    if len(name) > _MAX_NAME or not name.isprintable() or name != name.strip():
        return (
            f"a name is printable, at most {_MAX_NAME} characters, and does not begin or end with a"
            " space"
        )
    return ""


def _grants(number: int, rights: object) -> tuple[Grant, ...]:
    by_folder = rights if isinstance(rights, dict) else {"/": rights}
    grants: list[Grant] = []
    for folder, words in by_folder.items():
        where = folder if isinstance(rights, dict) else "rights"
        try:
            grant = Grant(parse_path(folder.strip("/")), parse_rights(_words(words)))
        except NameRefused as error:
            raise _Mistake(str(error), number, where) from error
        except ValueError as error:
            wrong = re.match(r"'(\S+)' is no right", str(error))
            raise _Mistake(str(error), number, where, wrong[1] if wrong else "") from error
        if any(grant.prefix == other.prefix for other in grants):
            raise _Mistake(f"{escape(folder) or 'the root'} has rights already", number, where)
        grants.append(grant)
    return tuple(grants)


def _allowance(number: int, table: Mapping[str, Any]) -> Allowance:
    found = {key: _amount(number, key, table[key]) for key in _AMOUNTS if key in table}
    allowance = Allowance(
        found.get("quota"), found.get("max_file"), found.get("rate"), found.get("quota_files")
    )
    if (
        allowance.quota_bytes is not None
        and (allowance.max_file_bytes or 0) > allowance.quota_bytes
    ):
        raise _Mistake(
            f"max_file {table['max_file']} is more than quota {table['quota']} allows",
            number,
            "max_file",
        )
    return allowance


def _amount(number: int, key: str, value: object) -> int:
    """Read an amount as the option of the same name does."""
    if type(value) not in (str, int, float):
        raise _Mistake(f"{key} must be a text in quotes or a number", number, key)
    try:
        return _AMOUNTS[key](str(value))
    except ValueError as error:
        raise _Mistake(f"{key}: {error}", number, key) from error


def _words(words: object) -> str | Sequence[str]:
    if isinstance(words, str) or (
        isinstance(words, list) and all(isinstance(word, str) for word in words)
    ):
        return words
    raise ValueError("rights are words in a text, or a list of words")


# The position of a mistake. tomllib reports it only for syntax errors; others are searched for
# here.

_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*user[ \t]*\]\]", re.MULTILINE)


def _place(text: str, mistake: _Mistake) -> tuple[int, int]:
    """Return the line and column of a mistake, from 1; if not found, of its [[user]]."""
    start, end = section_of(text, mistake.number)
    found = start
    if mistake.key is not None:
        key = re.escape(mistake.key)
        quoted = rf"""(?:"{key}"|'{key}'|{key or "(?!)"})"""
        if at := re.compile(rf"(?:^|[\s{{,.\[]){quoted}(?=[ \t]*[=.\]])", re.MULTILINE).search(
            text, start, end
        ):
            found = at.start() + len(at[0]) - len(at[0].lstrip(" \t\r\n{,.["))
            if mistake.word and (word := text.find(mistake.word, at.end(), end)) >= 0:
                found = word
    return text.count("\n", 0, found) + 1, found - (text.rfind("\n", 0, found) + 1) + 1


def section_of(text: str, number: int) -> tuple[int, int]:
    """Return where the table of a user begins and ends; for a negative number, the whole text."""
    headers = [
        found.start() + len(found[0]) - len(found[0].lstrip(" \t"))
        for found in _HEADER.finditer(text)
    ]
    if not 0 <= number < len(headers):
        return 0, len(text)
    return headers[number], headers[number + 1] if number + 1 < len(headers) else len(text)


def _syntax(message: str, text: str, path: str) -> str:
    found = re.search(r"\s*\((?:at line (\d+), column (\d+)|at end of document)\)$", message)
    what = message[: found.start()] if found else message
    if found and found[1]:
        line, column = found[1], found[2]
    else:
        line, column = str(text.count("\n") + 1), str(len(text) - (text.rfind("\n") + 1) + 1)
    return f"{path}: line {line}, column {column}: {what[:1].lower()}{what[1:]}; it must be TOML"
