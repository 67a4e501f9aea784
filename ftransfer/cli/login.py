"""login and logout: save the secret for a server, so that it need not be given each time."""

from __future__ import annotations

import sys

from ftransfer.cli.connection_options import current_options
from ftransfer.cli.options import Host, Port
from ftransfer.cli.output import note
from ftransfer.cli.runtime.runner import run
from ftransfer.errors import NotAuthorised
from ftransfer.system.private_files import read_piped_secret

LOGIN_EXAMPLES = """\b
Examples:
  ftransfer login server.example 9021 --fingerprint SHA256:...
  ftransfer login server.example 9021 --user ann
  ftransfer login server.example 9021 --token-file token.txt

The token or password is asked for, or comes from --token-file, FTRANSFER_TOKEN or a pipe. It is
saved in a file that only you can read, and sent only to a server with the same key.
"""

LOGOUT_EXAMPLES = """\b
Examples:
  ftransfer logout server.example 9021
"""


def login(host: Host, port: Port) -> None:
    """Log in to a server. The login is saved for later commands."""
    run(_login(host, port))


def logout(host: Host, port: Port) -> None:
    """Remove the saved login for a server."""
    from ftransfer.client.address import Address
    from ftransfer.client.login import saved_logins

    address = str(Address(host, port))
    if not saved_logins(current_options().security()).forget(address):
        raise NotAuthorised(f"{address}: no saved login; ftransfer login saves one")
    note(f"{address}: removed the saved login")


async def _login(host: str, port: int) -> None:
    from ftransfer.client.address import Address
    from ftransfer.client.connector import open_session
    from ftransfer.client.login import save_login
    from ftransfer.limits import DEFAULT_LIMITS
    from ftransfer.protocol.replies import NO_LOGIN
    from ftransfer.system.threads import io_pool, run_job

    security = current_options().security()
    address = Address(host, port)
    if not security.secret and sys.stdin is not None and not sys.stdin.isatty():
        security = security._replace(secret=read_piped_secret(sys.stdin.buffer))
    session = await open_session(address, DEFAULT_LIMITS, security=security, only_given=True)
    try:
        if session.hello.auth == NO_LOGIN:
            raise NotAuthorised(f"{address} needs no login; nothing was saved")
        await run_job(io_pool(), lambda: save_login(session, security))
    finally:
        await session.close()
    note(f"{address}: logged in; the login is saved until ftransfer logout {host} {port}")
