"""The way to a server: options that every command with HOST and PORT takes, from the command line
and the environment.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from ftransfer.cli.output import note
from ftransfer.cli.runtime.parameters import Option
from ftransfer.errors import LoginNeeded, UnknownServer
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import printable

if TYPE_CHECKING:
    from ftransfer.client.security import Security

SECRET_VARIABLE = "FTRANSFER_TOKEN"
TOKEN, USER = "token", "user"  # the kinds of login, as the greeting says them


class ConnectionOptions(NamedTuple):
    """What was given on the command line; `secret` is what was typed at a prompt."""

    tls: bool = False
    plain: bool = False
    fingerprint: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    user: str = ""
    token_file: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"Way to {self.user or 'anybody'}"  # the secret is for the server alone

    def check(self) -> None:
        """Raise WrongUsage if one option contradicts another, or makes no sense."""
        needs_tls = {
            "--tls": self.tls,
            "--fingerprint": self.fingerprint,
            "--ca": self.ca,
            "--cert": self.cert,
        }
        for option, given in needs_tls.items():
            if self.plain and given:
                raise WrongUsage(f"--plain and {option} contradict each other; choose one")
        if self.fingerprint and self.ca:
            raise WrongUsage("--fingerprint and --ca are two ways to know the server; choose one")
        if self.key and not self.cert:
            raise WrongUsage("--key is for the certificate that --cert names; give both")
        if self.fingerprint:
            from ftransfer.tls.fingerprint import parse_fingerprint

            try:
                parse_fingerprint(self.fingerprint)
            except ValueError as error:
                raise WrongUsage(
                    f"--fingerprint {printable(self.fingerprint[:80])}: {error}"
                ) from error

    def security(self) -> Security:
        """Give what the library is told.

        Raises:
            BadFile: The file with the secret cannot be used.
        """
        from ftransfer.client.security import Security

        return Security(
            tls="off" if self.plain else "on" if self.tls else "auto",
            fingerprint=self.fingerprint,
            ca=self.ca,
            certificate=self.cert,
            key=self.key,
            user=self.user,
            secret=self.secret or self._given_secret(),
            on_new_server=_tell_new_server,
        )

    def _given_secret(self) -> str:
        if self.token_file:
            from ftransfer.system.private_files import read_secret

            return read_secret(self.token_file)
        return os.environ.get(SECRET_VARIABLE, "")


_way: ContextVar[ConnectionOptions] = ContextVar("way")


def chosen_way() -> ConnectionOptions:
    """Give the way of the command that runs."""
    return _way.get(ConnectionOptions())


def _way_of(
    tls: Annotated[bool, Option("--tls", help="Encrypt, also on this machine.")] = False,
    plain: Annotated[bool, Option("--plain", help="Do not encrypt, even over a network.")] = False,
    fingerprint: Annotated[
        str,
        Option(
            metavar="F", help="The server's key must have this fingerprint.", show_default=False
        ),
    ] = "",
    ca: Annotated[
        str,
        Option(
            metavar="FILE",
            help="File of CAs to trust, or system for those of the system.",
            show_default=False,
        ),
    ] = "",
    cert: Annotated[
        str, Option(metavar="FILE", help="Certificate to show to the server.", show_default=False)
    ] = "",
    key: Annotated[
        str, Option(metavar="FILE", help="Its key, if it is in another file.", show_default=False)
    ] = "",
    user: Annotated[
        str, Option(metavar="NAME", help="Log in under this name.", show_default=False)
    ] = "",
    token_file: Annotated[
        str,
        Option(
            metavar="FILE",
            help="File with the token or password; or FTRANSFER_TOKEN holds it.",
            show_default=False,
        ),
    ] = "",
) -> ConnectionOptions:
    return ConnectionOptions(tls, plain, fingerprint, ca, cert, key, user, token_file)


def over_way(function: Callable[..., object]) -> Callable[..., object]:
    """Give a command that takes the options of the way behind its own, and asks for a secret if one
    is wanted.
    """
    own = inspect.signature(function, eval_str=True)
    shared = inspect.signature(_way_of, eval_str=True).parameters

    def command(**values: Any) -> object:
        way = _way_of(**{name: values.pop(name) for name in shared})
        way.check()
        while True:
            _way.set(way)
            try:
                return function(**values)
            # Nothing has been done yet: these come as the connection is made, each once at most.
            except UnknownServer as error:
                if not (_is_at_terminal() and _vouches(error)):
                    raise
                way = way._replace(fingerprint=error.fingerprint)
            except LoginNeeded as error:
                user, secret = _ask(error) if _is_at_terminal() else ("", "")
                if not secret:
                    raise
                way = way._replace(user=user, secret=secret)

    command.__doc__ = function.__doc__
    command.__signature__ = own.replace(parameters=[*own.parameters.values(), *shared.values()])  # type: ignore[attr-defined]
    return command


def _is_at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _vouches(error: UnknownServer) -> bool:
    """Ask whether the key of a server is the right one."""
    note(f"{error.address} is not known yet; it shows the key {error.fingerprint}")
    return _ask_line("is that what its owner says? [y/N] ").lower() in ("y", "yes")


def _ask(error: LoginNeeded) -> tuple[str, str]:
    """Ask for a name, if the server takes one, and a secret; "" for what was not typed."""
    import getpass

    user = error.user
    if not user and TOKEN not in (error.logins or (TOKEN,)):
        user = _ask_line(f"user at {error.address}: ")
    elif not user and USER in error.logins:
        user = _ask_line(f"user at {error.address} (none for a token): ")
    what = f"password for {user}" if user else "token"
    try:
        return user, getpass.getpass(f"{what} at {error.address}: ", stream=sys.stderr)
    except EOFError:
        return user, ""


def _ask_line(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _tell_new_server(address: str, fingerprint: str) -> None:
    note(f"first visit to {address}: its key {fingerprint} will be expected from now on")
