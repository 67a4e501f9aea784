"""From serve's options for encryption and logins to certificate, admission and instructions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ftransfer.cli.advertised_address import own_address
from ftransfer.cli.runtime.program import command_line
from ftransfer.errors import BadFile
from ftransfer.shell.errors import WrongUsage

if TYPE_CHECKING:
    from ftransfer.auth.admission import Admission
    from ftransfer.auth.files import CredentialFiles
    from ftransfer.auth.permissions import Principal
    from ftransfer.auth.running_servers import Registration
    from ftransfer.tls.contexts import ServerTls

log = logging.getLogger("ftransfer.server")


def check_tls(word: str) -> None:
    if word not in ("auto", "on", "off"):
        raise WrongUsage(f"{word!r} is not auto, on or off")


def check_anonymous(words: str) -> None:
    from ftransfer.auth.permissions import parse_rights

    if words:
        parse_rights(words)


@dataclass(frozen=True, slots=True)
class ServerSecurityOptions:
    """The options of the command line, each checked by itself."""

    tls: str = "auto"
    cert: str = ""
    key: str = ""
    client_ca: str = ""
    users: str = ""
    anonymous: str = ""
    token_file: str = ""
    new_token: bool = False

    @property
    def makes_token(self) -> bool:
        """Return whether the server makes its own token, because no option says who may connect."""
        return not (self.users or self.token_file or self.anonymous)

    def check(self) -> None:
        """Raise WrongUsage if options contradict each other."""
        for option, given in {"--cert": self.cert, "--client-ca": self.client_ca}.items():
            if self.tls == "off" and given:
                raise WrongUsage(f"--tls off and {option} cannot be used together; leave one out")
        if self.key and not self.cert:
            raise WrongUsage("--key needs --cert; give both")
        if self.new_token and not self.makes_token:
            raise WrongUsage(
                "--new-token needs a server that makes its own token; leave out --token-file,"
                " --users and --anonymous"
            )

    def anonymous_principal(self) -> Principal | None:
        from ftransfer.auth.permissions import Grant, Principal, parse_rights
        from ftransfer.names import ROOT

        if not self.anonymous:
            return None
        return Principal("", (Grant(ROOT, parse_rights(self.anonymous)),), is_anonymous=True)


@dataclass(slots=True)
class ServerSecurity:
    """How a server is protected. `token` is its own, saved in `token_path`; "" if it has none."""

    options: ServerSecurityOptions
    is_local: bool
    tls: ServerTls | None
    admission: Admission
    credentials: CredentialFiles
    token: str = field(default="", repr=False)
    token_path: Path = Path()
    registration: Registration | None = None

    @classmethod
    def build(cls, options: ServerSecurityOptions, host: str, folder: str) -> ServerSecurity:
        """Read the files, and create a key and a token if needed. Blocking; to be closed.

        Raises:
            WrongUsage: Logins would be sent unencrypted.
            BadFile: A file cannot be used.
        """
        from ftransfer.addresses import listens_on_loopback_only
        from ftransfer.auth.admission import Admission
        from ftransfer.auth.files import CredentialFiles
        from ftransfer.auth.own_token import own_token
        from ftransfer.auth.running_servers import Registration
        from ftransfer.system.private_files import state_folder

        is_local = listens_on_loopback_only(host)
        # A given certificate means that TLS is wanted.
        is_encrypted = options.tls == "on" or (
            options.tls == "auto" and bool(not is_local or options.cert or options.client_ca)
        )
        wants_login = bool(options.users or options.token_file or options.makes_token)
        if wants_login and not is_encrypted and not is_local:
            raise WrongUsage(
                "--tls off would send logins unencrypted over the network; leave it out, or allow"
                " access without a login with --anonymous"
            )
        tls = _tls(options) if is_encrypted else None
        if options.makes_token:
            token, path = own_token(state_folder(), folder, new=options.new_token)
            admission = Admission(token=token)
            return cls(
                options,
                is_local,
                tls,
                admission,
                CredentialFiles(admission),
                token,
                path,
                Registration.open(state_folder()),
            )
        admission = _admission(options)
        credentials = CredentialFiles(admission, users=options.users, token=options.token_file)
        return cls(options, is_local, tls, admission, credentials)

    def publish(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Let clients of the same user find the server and its token."""
        from ftransfer.auth.running_servers import RunningServer

        if self.registration is not None:
            fingerprint = self.tls.fingerprint if self.tls is not None else ""
            try:
                self.registration.publish(RunningServer(addresses, fingerprint, self.token))
            except OSError as error:
                log.warning("clients of the same user cannot find the token: %s", error.strerror)

    def close(self) -> None:
        if self.registration is not None:
            self.registration.close()

    @property
    def files(self) -> list[str]:
        """Return the files that `reload` opens again."""
        found = [self.options.users, self.options.token_file]
        return found + (list(self.tls.files) if self.tls is not None else [])

    def reload(self) -> None:
        """Reload certificate, users and token, and log each result. Blocking."""
        if self.tls is not None:
            try:
                self.tls.reload()
            except BadFile as error:
                log.error("certificate: not changed: %s", error)
            else:
                log.info("certificate: reloaded")
        self.credentials.reload()

    def instructions(self, host: str, port: int) -> list[str]:
        """Return lines for the owner: how to connect, and what others need."""
        address = (own_address(host), str(port))
        options = ["--fingerprint", self.tls.fingerprint] if self.tls is not None else []
        if self.options.client_ca:
            options += ["--cert", "YOUR.pem"]
        if self.token and self.is_local:
            return [
                f"connect with: {command_line('connect', *address)}",
                f"others need the token in {self.token_path}; --new-token makes a new one",
            ]
        if self.token:
            # Not as an option: it would stay in the shell's history, and show in the process list.
            return [
                f"log in with: {command_line('login', *address, *options)}",
                f"token: {self.token}",
            ]
        if self.options.token_file:
            options = [*options, "--token-file", self.options.token_file]
            return [f"connect with: {command_line('connect', *address, *options)}"]
        if self.options.users:
            return [f"log in with: {command_line('login', *address, *options, '--user', 'NAME')}"]
        return [
            f"no login needed; everybody who can connect has the rights {self.options.anonymous}",
            f"connect with: {command_line('connect', *address, *options)}",
        ]


def _tls(options: ServerSecurityOptions) -> ServerTls:
    from ftransfer.tls.contexts import ServerTls

    if options.cert:
        return ServerTls(options.cert, options.key, options.client_ca)
    from ftransfer.system.private_files import state_folder
    from ftransfer.tls.identity import own_identity

    return ServerTls(str(own_identity(state_folder())), client_ca=options.client_ca)


def _admission(options: ServerSecurityOptions) -> Admission:
    from ftransfer.auth.admission import Admission

    users, token = None, ""
    if options.users:
        from ftransfer.auth.users import load_users

        users = load_users(options.users)
    if options.token_file:
        from ftransfer.system.private_files import read_secret

        token = read_secret(options.token_file)
    return Admission(token=token, users=users, anonymous=options.anonymous_principal())
