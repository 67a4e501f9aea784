"""user add, passwd and list: the users file, without an editor."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Annotated

import typer

from ftransfer.cli.lazy import for_typer
from ftransfer.cli.options import Json
from ftransfer.cli.output import note
from ftransfer.cli.parameters import Argument, Option
from ftransfer.cli.quick import QuickCommand, QuickGroup
from ftransfer.names import escape
from ftransfer.private import read_piped_secret
from ftransfer.shell.failures import WrongUsage

USER_ADD_EXAMPLES = """\b
Examples:
  ftransfer user add users.toml ann
  ftransfer user add users.toml bob --rights read,write
  printf 'secret\\n' | ftransfer user add users.toml robot --rights all

The password is asked for twice, or read from the first line of stdin if that is no terminal.
Rights by folder are written in the file; the words are list, read, write, overwrite, delete, say, watch, change, all.
"""

USER_PASSWD_EXAMPLES = """\b
Examples:
  ftransfer user passwd users.toml ann
"""

USER_LIST_EXAMPLES = """\b
Examples:
  ftransfer user list users.toml
  ftransfer user list --json users.toml
"""

users = typer.Typer(
    name="user",
    cls=QuickGroup,
    help="Change the file of users, for serve --users.",
    add_completion=False,
    rich_markup_mode=None,
)

UsersFile = Annotated[str, Argument(metavar="FILE", help="The users file, as for serve --users.")]
UserName = Annotated[str, Argument(metavar="NAME", help="The name of the user.")]


@users.command("add", cls=QuickCommand, epilog=USER_ADD_EXAMPLES)
@for_typer
def user_add(
    file: UsersFile,
    name: UserName,
    rights: Annotated[str, Option(metavar="WORDS", help="What the user may do in the whole share.")] = "read",
) -> None:
    """Add a user to the file, which is made if it is not there."""
    from ftransfer.auth.passwords import hash_password
    from ftransfer.auth.users import add_user, why_no_name
    from ftransfer.rights import format_rights, parse_rights

    if why := why_no_name(name):
        raise WrongUsage(f"{escape(name)}: {why}")
    try:
        words = format_rights(parse_rights(rights))
    except ValueError as error:
        raise WrongUsage(f"--rights: {error}") from error
    add_user(file, name, hash_password(_new_password()), words)
    note(f"{escape(name)} may {words} in the whole share")


@users.command("passwd", cls=QuickCommand, epilog=USER_PASSWD_EXAMPLES)
@for_typer
def user_passwd(file: UsersFile, name: UserName) -> None:
    """Give a user another password."""
    from ftransfer.auth.passwords import hash_password
    from ftransfer.auth.users import set_password

    set_password(file, name, hash_password(_new_password()))
    note(f"{escape(name)} has a new password; a running server takes it up on SIGHUP")


@users.command("list", cls=QuickCommand, epilog=USER_LIST_EXAMPLES)
@for_typer
def user_list(file: UsersFile, as_json: Json = False) -> None:
    """List the users and what they may do, without their passwords."""
    from ftransfer.amounts import format_size
    from ftransfer.auth.users import load_users
    from ftransfer.rights import format_rights

    for user in load_users(file).values():
        rights = {f"/{grant.prefix}": format_rights(grant.rights) for grant in user.grants}
        own = user.allowance
        given = {"quota": own.quota_bytes, "max_file": own.max_file_bytes, "rate": own.rate}
        bounds = {key: value for key, value in given.items() if value is not None}
        if as_json:
            line = json.dumps({"name": user.name, "rights": rights, **bounds})
        else:
            words = [f"{escape(folder)} {words}" for folder, words in rights.items()]
            words += [f"{key} {format_size(value)}" for key, value in bounds.items()]
            line = "  ".join([escape(user.name), *words])
        sys.stdout.write(f"{line}\n")


def _new_password() -> str:
    if sys.stdin is None:
        raise WrongUsage("stdin is closed; the password is read from there")
    if not sys.stdin.isatty():
        password = read_piped_secret(sys.stdin.buffer)
    else:
        password = getpass.getpass("password: ", stream=sys.stderr)
        if password != getpass.getpass("once more: ", stream=sys.stderr):
            raise WrongUsage("the two passwords differ; nothing was changed")
    if not password:
        raise WrongUsage("the password is empty; nothing was changed")
    return password
