"""The way to a server: options that every command with HOST and PORT takes, from the command line and the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftransfer.cli.output import note
from ftransfer.cli.quick import QuickCommand, spare_pydantic
from ftransfer.errors import LoginNeeded
from ftransfer.shell.failures import WrongUsage
from ftransfer.shell.wording import printable

if TYPE_CHECKING:
    from ftransfer.client.security import Security

SECRET_VARIABLE = "FTRANSFER_TOKEN"


@dataclass(frozen=True, slots=True)
class Way:
    """What was given on the command line; `secret` is what was typed at a prompt."""

    tls: bool = False
    plain: bool = False
    fingerprint: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    user: str = ""
    token_file: str = ""
    secret: str = field(default="", repr=False)

    def check(self) -> None:
        """Raise WrongUsage if one option contradicts another, or makes no sense."""
        needs_tls = {"--tls": self.tls, "--fingerprint": self.fingerprint, "--ca": self.ca, "--cert": self.cert}
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
                raise WrongUsage(f"--fingerprint {printable(self.fingerprint[:80])}: {error}") from error

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
            from ftransfer.private import read_secret

            return read_secret(self.token_file)
        return os.environ.get(SECRET_VARIABLE, "")


_way: ContextVar[Way] = ContextVar("way")


def chosen_way() -> Way:
    """Give the way of the command that runs."""
    return _way.get(Way())


def _options(
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt, also on this machine.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Do not encrypt, even over a network.")] = False,
    fingerprint: Annotated[
        str, typer.Option(metavar="F", help="The server's key must have this fingerprint.", show_default=False)
    ] = "",
    ca: Annotated[
        str, typer.Option(metavar="FILE", help="Trust these authorities; system for those of this system.", show_default=False)
    ] = "",
    cert: Annotated[str, typer.Option(metavar="FILE", help="Certificate to show to the server.", show_default=False)] = "",
    key: Annotated[str, typer.Option(metavar="FILE", help="Its key, if it is in another file.", show_default=False)] = "",
    user: Annotated[str, typer.Option(metavar="NAME", help="Log in under this name.", show_default=False)] = "",
    token_file: Annotated[
        str, typer.Option(metavar="FILE", help="File with the token or password; or FTRANSFER_TOKEN holds it.", show_default=False)
    ] = "",
) -> None:
    """Stands for its parameters."""


@cache
def _shared() -> Sequence[Any]:
    """Give the shared options as typer makes them, in whichever version it is."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=QuickCommand)(_options)
    return tuple(spare_pydantic(typer.main.get_command(app).params))


class RemoteCommand(QuickCommand):
    """A command that works over a connection. It takes the shared options as well, and asks for a secret if one is wanted."""

    def get_params(self, ctx: Any) -> Any:
        # Before the last one, which is --help.
        *own, last = super().get_params(ctx)
        return [*own, *_shared(), last]

    def invoke(self, ctx: Any) -> Any:
        way = Way(**{str(option.name): ctx.params.pop(option.name) for option in _shared()})
        way.check()
        _way.set(way)
        try:
            return super().invoke(ctx)
        except LoginNeeded as error:
            # Nothing has been done yet: this comes as the connection is made.
            secret = _ask(error)
            if not secret:
                raise
            _way.set(replace(way, secret=secret))
        return super().invoke(ctx)


def _ask(error: LoginNeeded) -> str:
    """Ask for a secret at a terminal; "" if there is none, or nothing was typed."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    import getpass

    note(f"{str(error).partition(';')[0]}")
    try:
        return getpass.getpass("token or password: ", stream=sys.stderr)
    except EOFError:
        return ""


def _tell_new_server(address: str, fingerprint: str) -> None:
    note(f"first visit to {address}: its key {fingerprint} will be expected from now on")
