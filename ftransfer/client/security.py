"""What a client requires of a connection: encryption, which server, and who the user is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

# Called with (host:port, fingerprint) when a new server is pinned.
OnNewServer = Callable[[str, str], None]


class Security(NamedTuple):
    """How far a server is trusted, and what it learns about the user.

    The server is trusted if it shows the certificate with `fingerprint`; or, with `ca`, one from an
    authority that names the host; or, with neither, the one that it showed the first time. No
    secret is sent before that.

    Args:
        tls: "auto" encrypts except to this machine, where both are tried; "on" always; "off" never.
        fingerprint: As the server prints it, or in hexadecimal.
        ca: A PEM file with authorities, or "system" for those of the operating system.
        certificate, key: PEM files with this client's certificate, for servers that ask for one.
        user: The name to log in with; "" with a token.
        secret: The token or password; "" for the saved login of that server, if any. Never sent in
            plain to another machine.
        state: The folder with the known servers and saved logins; the user's own by default.
    """

    tls: Literal["auto", "on", "off"] = "auto"
    fingerprint: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    user: str = ""
    secret: str = ""
    state: Path | None = None
    on_new_server: OnNewServer | None = None

    def __repr__(self) -> str:
        return f"Security(tls={self.tls!r}, user={self.user!r})"  # no secret may appear in a log

    @property
    def wants_tls(self) -> bool:
        """Return whether an option requires TLS."""
        return self.tls == "on" or bool(self.fingerprint or self.ca or self.certificate)


DEFAULT_SECURITY = Security()
