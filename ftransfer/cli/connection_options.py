"""The options of a connection, from the command line and the environment.

Every command with HOST and PORT takes them.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from ftransfer.cli.options import KeyFile
from ftransfer.cli.output import note
from ftransfer.cli.runtime.parameters import Option
from ftransfer.errors import LoginNeeded, UnknownServer
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.formatting import printable

if TYPE_CHECKING:
    from ftransfer.client.security import Security

SECRET_VARIABLE = "FTRANSFER_TOKEN"
TOKEN, USER = "token", "user"  # kinds of login, as in hello


class ConnectionOptions(NamedTuple):
    """The options from the command line; `secret` is what was typed at a prompt."""

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
        return f"ConnectionOptions(user={self.user!r})"  # never the secret

    def check(self) -> None:
        """Raise WrongUsage if options contradict each other, or one is not valid."""
        needs_tls = {
            "--tls": self.tls,
            "--fingerprint": self.fingerprint,
            "--ca": self.ca,
            "--cert": self.cert,
        }
        for option, given in needs_tls.items():
            if self.plain and given:
                raise WrongUsage(f"--plain and {option} cannot be used together; choose one")
        if self.fingerprint and self.ca:
            raise WrongUsage("--fingerprint and --ca cannot be used together; choose one")
        if self.key and not self.cert:
            raise WrongUsage("--key needs --cert; give both")
        if self.fingerprint:
            from ftransfer.tls.fingerprint import parse_fingerprint

            try:
                parse_fingerprint(self.fingerprint)
            except ValueError as error:
                raise WrongUsage(
                    f"--fingerprint {printable(self.fingerprint[:80])}: {error}"
                ) from error

    def security(self) -> Security:
        """Return the options as the library takes them.

        Raises:
            BadFile: The token file cannot be used.
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


_current: ContextVar[ConnectionOptions] = ContextVar("connection_options")


def current_options() -> ConnectionOptions:
    """Return the options of the running command."""
    return _current.get(ConnectionOptions())


def _options_of(
    tls: Annotated[bool, Option("--tls", help="Use TLS on loopback too.")] = False,
    plain: Annotated[bool, Option("--plain", help="Do not encrypt, even over a network.")] = False,
    fingerprint: Annotated[
        str,
        Option(
            metavar="SHA256:...",
            help="Expected fingerprint of the server's key.",
            show_default=False,
        ),
    ] = "",
    ca: Annotated[
        str,
        Option(
            metavar="FILE",
            help="CA file to trust, or system for the CAs of the operating system.",
            show_default=False,
        ),
    ] = "",
    cert: Annotated[
        str, Option(metavar="FILE", help="Client certificate.", show_default=False)
    ] = "",
    key: KeyFile = "",
    user: Annotated[
        str, Option(metavar="NAME", help="User name for the login.", show_default=False)
    ] = "",
    token_file: Annotated[
        str,
        Option(
            metavar="FILE",
            help="File with the token or password; otherwise FTRANSFER_TOKEN is used.",
            show_default=False,
        ),
    ] = "",
) -> ConnectionOptions:
    return ConnectionOptions(tls, plain, fingerprint, ca, cert, key, user, token_file)


def with_connection_options(function: Callable[..., object]) -> Callable[..., object]:
    """Return a command that also takes the connection options, after its own.

    At a terminal it asks whether to trust an unknown server, and for a password or token if the
    server wants a login.
    """
    own = inspect.signature(function, eval_str=True)
    shared = inspect.signature(_options_of, eval_str=True).parameters

    def command(**values: Any) -> object:
        options = _options_of(**{name: values.pop(name) for name in shared})
        options.check()
        while True:
            _current.set(options)
            try:
                return function(**values)
            # Both are raised while connecting, before anything is done, and at most once.
            except UnknownServer as error:
                if not (_is_at_terminal() and _is_trusted(error)):
                    raise
                options = options._replace(fingerprint=error.fingerprint)
            except LoginNeeded as error:
                user, secret = _ask(error) if _is_at_terminal() else ("", "")
                if not secret:
                    raise
                options = options._replace(user=user, secret=secret)

    command.__doc__ = function.__doc__
    command.__signature__ = own.replace(parameters=[*own.parameters.values(), *shared.values()])  # type: ignore[attr-defined]  # what inspect looks for
    return command


def _is_at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _is_trusted(error: UnknownServer) -> bool:
    """Ask whether the key of an unknown server is the right one."""
    note(f"unknown server {error.address}: its key has the fingerprint {error.fingerprint}")
    return _ask_line("does it match what the server's owner told you? [y/N] ").lower() in (
        "y",
        "yes",
    )


def _ask(error: LoginNeeded) -> tuple[str, str]:
    """Ask for a user name, if the server takes one, and a secret; "" if nothing was typed."""
    import getpass

    user = error.user
    if not user and TOKEN not in (error.logins or (TOKEN,)):
        user = _ask_line(f"user at {error.address}: ")
    elif not user and USER in error.logins:
        user = _ask_line(f"user at {error.address} (empty to use a token): ")
    kind = f"password for {user}" if user else "token"
    try:
        return user, getpass.getpass(f"{kind} at {error.address}: ", stream=sys.stderr)
    except EOFError:
        return user, ""


def _ask_line(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _tell_new_server(address: str, fingerprint: str) -> None:
    note(f"first connection to {address}: its key {fingerprint} is now remembered")
