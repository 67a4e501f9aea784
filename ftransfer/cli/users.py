"""user add, set, passwd, rm and list: edit the users file."""

from __future__ import annotations

import getpass
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from ftransfer.cli.options import Json
from ftransfer.cli.output import note
from ftransfer.cli.runtime.parameters import Argument, Option
from ftransfer.cli.runtime.typer_adapter import AppCommand, AppGroup, for_typer
from ftransfer.errors import NameRefused
from ftransfer.names import escape
from ftransfer.shell.errors import WrongUsage
from ftransfer.system.private_files import read_piped_secret

_RIGHTS = """\
Rights are separated by commas: list, read (get and list), get (without list), write (new files),
overwrite, delete, change (all of these), drop-box (write only), say (send messages),
watch (changes, and who is connected), all, none.
FOLDER=RIGHTS sets the rights below a folder.
"""

USER_ADD_EXAMPLES = f"""\b
Examples:
  ftransfer user add users.toml ann
  ftransfer user add users.toml bob --rights read,write
  ftransfer user add users.toml eve --rights read --rights /inbox=change --quota 10G
  printf 'a good password\\n' | ftransfer user add users.toml robot --rights all

The password is asked for twice, or read from the first line of stdin if it is not a terminal.
{_RIGHTS}"""

USER_SET_EXAMPLES = f"""\b
Examples:
  ftransfer user set users.toml ann --rights read,write
  ftransfer user set users.toml ann --quota 10G --max-file 1G --rate 5M
  ftransfer user set users.toml ann --quota none

{_RIGHTS}"""

USER_PASSWD_EXAMPLES = """\b
Examples:
  ftransfer user passwd users.toml ann
"""

USER_RM_EXAMPLES = """\b
Examples:
  ftransfer user rm users.toml ann
"""

USER_LIST_EXAMPLES = """\b
Examples:
  ftransfer user list users.toml
  ftransfer user list --json users.toml
"""

users = typer.Typer(
    name="user",
    cls=AppGroup,
    help="Manage the users file of serve --users.",
    add_completion=False,
    rich_markup_mode=None,
)

_WHEN = "running servers notice within seconds"
_NONE = "none"  # instead of an amount

# Values to set, by their keys in the users file; None for a value to remove.
_Values = dict[str, str | Mapping[str, str] | None]

UsersFile = Annotated[str, Argument(metavar="FILE", help="Users file, as for serve --users.")]
UserName = Annotated[str, Argument(metavar="NAME", help="Name of the user.")]
Rights = Annotated[
    list[str] | None,
    Option(
        "--rights",
        metavar="[FOLDER=]RIGHTS",
        help="What the user may do in the whole share, or below a folder; may be repeated.",
        show_default=False,
    ),
]


def _amount(what: str) -> Any:
    return Option(metavar="SIZE", help=f"{what}; none for no limit.", show_default=False)


Quota = Annotated[str | None, _amount("Maximum total size of files where the user may write")]
QuotaFiles = Annotated[
    str | None,
    Option(
        metavar="COUNT",
        help="Maximum number of files, folders and links there; none for no limit.",
        show_default=False,
    ),
]
MaxFile = Annotated[str | None, _amount("Maximum size of one file")]
UserRate = Annotated[
    str | None,
    Option(metavar="RATE", help="Bytes per second; none for no limit.", show_default=False),
]


def _values(
    rights: Rights = None,
    quota: Quota = None,
    quota_files: QuotaFiles = None,
    max_file: MaxFile = None,
    rate: UserRate = None,
) -> _Values:
    """Return the given values by their keys in the users file; None for a value to be removed."""
    from ftransfer.units import parse_count, parse_rate, parse_size

    values: _Values = {}
    if rights:
        values["rights"] = _checked_rights(rights)
    amounts = (
        ("quota", quota, parse_size),
        ("quota_files", quota_files, parse_count),
        ("max_file", max_file, parse_size),
        ("rate", rate, parse_rate),
    )
    for key, text, parse in amounts:
        if text is None:
            continue
        if text != _NONE:
            try:
                parse(text)
            except ValueError as error:
                raise WrongUsage(f"--{key.replace('_', '-')}: {error}") from error
        values[key] = None if text == _NONE else text
    return values


def _with_values(change: Callable[[str, str, _Values], None]) -> Callable[..., object]:
    """Return a command with FILE, NAME and the options of `_values`, which `change` receives."""

    def command(file: UsersFile, name: UserName, **options: Any) -> None:
        change(file, name, _values(**options))

    own = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
    shared = inspect.signature(_values, eval_str=True).parameters.values()
    command.__doc__ = change.__doc__
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # what inspect looks for
    return command


@users.command("add", cls=AppCommand, epilog=USER_ADD_EXAMPLES)
@for_typer
@_with_values
def user_add(file: str, name: str, values: _Values) -> None:
    """Add a user. The file is created if needed; without --rights the user may read."""
    from ftransfer.auth.passwords import hash_password
    from ftransfer.auth.users import why_no_name
    from ftransfer.auth.users_file import add_user

    if why := why_no_name(name):
        raise WrongUsage(f"{escape(name)}: {why}")
    values = {"rights": _checked_rights(["read"]), **values}
    given = {key: value for key, value in values.items() if value is not None}
    add_user(file, name, {"password": hash_password(_new_password()), **given})
    note(f"{escape(name)} may {_may(values['rights'])}; {_WHEN}")


@users.command("set", cls=AppCommand, epilog=USER_SET_EXAMPLES)
@for_typer
@_with_values
def user_set(file: str, name: str, values: _Values) -> None:
    """Change the rights and limits of a user."""
    from ftransfer.auth.users_file import set_values

    if not values:
        raise WrongUsage(
            "nothing to change; use --rights, --quota, --quota-files, --max-file or --rate"
        )
    set_values(file, name, values)
    note(f"changed {escape(name)}; {_WHEN}")


@users.command("passwd", cls=AppCommand, epilog=USER_PASSWD_EXAMPLES)
@for_typer
def user_passwd(file: UsersFile, name: UserName) -> None:
    """Change the password of a user."""
    from ftransfer.auth.passwords import hash_password
    from ftransfer.auth.users_file import set_values

    set_values(file, name, {"password": hash_password(_new_password())})
    note(f"changed the password of {escape(name)}; {_WHEN}")


@users.command("rm", cls=AppCommand, epilog=USER_RM_EXAMPLES)
@for_typer
def user_rm(file: UsersFile, name: UserName) -> None:
    """Remove a user and end their sessions."""
    from ftransfer.auth.users_file import remove_user

    remove_user(file, name)
    note(f"removed {escape(name)}; {_WHEN}")


@users.command("list", cls=AppCommand, epilog=USER_LIST_EXAMPLES)
@for_typer
def user_list(file: UsersFile, as_json: Json = False) -> None:
    """List users with their rights and limits, without passwords."""
    from ftransfer.auth.permissions import format_rights
    from ftransfer.auth.users import load_users
    from ftransfer.units import format_limit

    for user in load_users(file).values():
        rights = {f"/{grant.prefix}": format_rights(grant.rights) for grant in user.grants}
        own = user.allowance
        given = {
            "quota": own.quota_bytes,
            "quota_files": own.quota_files,
            "max_file": own.max_file_bytes,
            "rate": own.rate,
        }
        bounds = {key: value for key, value in given.items() if value is not None}
        if as_json:
            line = json.dumps({"name": user.name, "rights": rights, **bounds})
        else:
            words = [f"{escape(folder)} {words}" for folder, words in rights.items()]
            words += [
                f"{key} {value if key == 'quota_files' else format_limit(value)}"
                for key, value in bounds.items()
            ]
            line = "  ".join([escape(user.name), *words])
        sys.stdout.write(f"{line}\n")


def _new_password() -> str:
    if sys.stdin is None:
        raise WrongUsage("stdin is closed; the password is read from stdin")
    if not sys.stdin.isatty():
        password = read_piped_secret(sys.stdin.buffer)
    else:
        password = getpass.getpass("password: ", stream=sys.stderr)
        if password != getpass.getpass("repeat password: ", stream=sys.stderr):
            raise WrongUsage("the passwords differ; nothing was changed")
    from ftransfer.auth.passwords import MIN_LENGTH

    if len(password) < MIN_LENGTH:
        raise WrongUsage(f"the password is too short; use at least {MIN_LENGTH} characters")
    return password


def _checked_rights(given: Sequence[str]) -> str | Mapping[str, str]:
    from ftransfer.auth.permissions import format_rights, parse_rights
    from ftransfer.names import parse_path

    found: dict[str, str] = {}
    for text in given:
        folder, equals, words = text.rpartition("=")
        try:
            place = f"/{parse_path(folder.strip('/'))}" if equals else "/"
            if place in found:
                raise ValueError(f"{escape(place)} is given twice")
            found[place] = format_rights(parse_rights(words))
        except (ValueError, NameRefused) as error:
            raise WrongUsage(f"--rights: {error}") from error
    return found["/"] if list(found) == ["/"] else found


def _may(rights: str | Mapping[str, str] | None) -> str:
    assert rights is not None  # user_add always sets some
    by_folder = {"/": rights} if isinstance(rights, str) else rights
    return " and ".join(
        f"{words} in {'the whole share' if place == '/' else escape(place)}"
        for place, words in by_folder.items()
    )
