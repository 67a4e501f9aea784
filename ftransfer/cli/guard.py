"""serve's options for encryption and logins -> what the server shows, whom it lets in, and the line to hand on."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftransfer.cli.reachable import own_address
from ftransfer.errors import BadFile
from ftransfer.shell.failures import WrongUsage

if TYPE_CHECKING:
    from ftransfer.auth.admission import Admission
    from ftransfer.auth.files import CredentialFiles
    from ftransfer.rights import Principal
    from ftransfer.tls.contexts import ServerTls

log = logging.getLogger("ftransfer.server")


def check_tls(word: str) -> None:
    if word not in ("auto", "on", "off"):
        raise WrongUsage(f"{word!r} is none of auto, on and off")


def check_anonymous(words: str) -> None:
    from ftransfer.rights import parse_rights

    if words:
        parse_rights(words)


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """What was given on the command line, each of it checked."""

    tls: str = "auto"
    cert: str = ""
    key: str = ""
    client_ca: str = ""
    users: str = ""
    anonymous: str = ""
    token_file: str = ""

    def check(self) -> None:
        """Raise WrongUsage if one option contradicts another."""
        for option, given in {"--cert": self.cert, "--client-ca": self.client_ca}.items():
            if self.tls == "off" and given:
                raise WrongUsage(f"--tls off and {option} contradict each other; leave one out")
        if self.key and not self.cert:
            raise WrongUsage("--key is for the certificate that --cert names; give both")

    def anonymous_principal(self) -> Principal | None:
        from ftransfer.names import ROOT
        from ftransfer.rights import Grant, Principal, parse_rights

        if not self.anonymous:
            return None
        return Principal("", (Grant(ROOT, parse_rights(self.anonymous)),), is_anonymous=True)


@dataclass(slots=True)
class Guard:
    """How a server is protected. `token` is one that was made for this run, and is to be handed on."""

    options: GuardOptions
    tls: ServerTls | None
    admission: Admission
    credentials: CredentialFiles
    token: str = field(default="", repr=False)

    @classmethod
    def build(cls, options: GuardOptions, host: str) -> Guard:
        """Read files, make keys and a token where they are needed. Blocking.

        Raises:
            WrongUsage: A login would travel in plain.
            BadFile: A file cannot be used.
        """
        from ftransfer.loopback import listens_on_loopback_only

        is_local = listens_on_loopback_only(host)
        # A certificate that was given is there to be shown.
        is_encrypted = options.tls == "on" or (options.tls == "auto" and bool(not is_local or options.cert or options.client_ca))
        wants_login = bool(options.users or options.token_file or (not is_local and not options.anonymous))
        if wants_login and not is_encrypted and not is_local:
            raise WrongUsage(
                "--tls off would send logins in plain over the network; leave it out, or open the share to all with --anonymous"
            )
        from ftransfer.auth.files import CredentialFiles

        admission, token = _admission(options, wants_login)
        credentials = CredentialFiles(admission, users=options.users, token=options.token_file)
        return cls(options, _tls(options) if is_encrypted else None, admission, credentials, token)

    @property
    def files(self) -> list[str]:
        """The files that `reload` opens again."""
        found = [self.options.users, self.options.token_file]
        return found + (list(self.tls.files) if self.tls is not None else [])

    def reload(self) -> None:
        """Read certificate, users and token again, and log of each what came of it. Blocking."""
        if self.tls is not None:
            try:
                self.tls.reload()
            except BadFile as error:
                log.error("certificate: kept, because %s", error)
            else:
                log.info("certificate: read")
        self.credentials.reload()

    def connect_line(self, host: str, port: int) -> str:
        """Give the command with which others connect, ready to be pasted into a shell."""
        words = ["ftransfer", "connect", own_address(host), str(port)]
        if self.tls is not None:
            words += ["--fingerprint", self.tls.fingerprint]
        if self.options.client_ca:
            words += ["--cert", "YOUR.pem"]
        if self.options.users and not self.options.token_file:
            words += ["--user", "NAME"]
        elif self.options.token_file:
            words += ["--token-file", self.options.token_file]
        line = shlex.join(words)
        # Not as an option: whoever may list the processes of the machine would see it.
        return f"FTRANSFER_TOKEN={self.token} {line}" if self.token else line


def _tls(options: GuardOptions) -> ServerTls:
    from ftransfer.tls.contexts import ServerTls

    if options.cert:
        return ServerTls(options.cert, options.key, options.client_ca)
    from ftransfer.private import state_folder
    from ftransfer.tls.identity import own_identity

    return ServerTls(str(own_identity(state_folder())), client_ca=options.client_ca)


def _admission(options: GuardOptions, wants_login: bool) -> tuple[Admission, str]:
    from ftransfer.auth.admission import OPEN, Admission, make_token

    anonymous = options.anonymous_principal()
    if not wants_login:
        return (OPEN if anonymous is None else Admission(anonymous=anonymous)), ""
    users = None
    if options.users:
        from ftransfer.auth.users import load_users

        users = load_users(options.users)
    if options.token_file:
        from ftransfer.private import read_secret

        return Admission(token=read_secret(options.token_file), users=users, anonymous=anonymous), ""
    token = "" if users is not None else make_token()
    return Admission(token=token, users=users, anonymous=anonymous), token
