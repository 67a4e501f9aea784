"""Login, once the server is verified.

The secret comes from the caller, from a server of our own on this machine, or from the logins saved
for this server.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ftransfer.client.known_servers import is_confirmed, own_server, shown_by
from ftransfer.client.security import Security
from ftransfer.errors import BadFile, LoginNeeded, NotAuthorised, NotTrusted, UnknownServer
from ftransfer.protocol.replies import MUST_LOG_IN, NO_LOGIN, TOKEN_LOGIN, USER_LOGIN
from ftransfer.system.private_files import state_folder
from ftransfer.system.threads import io_pool, run_job

if TYPE_CHECKING:
    from ftransfer.auth.saved_logins import SavedLogins
    from ftransfer.client.session import ClientSession

_SAVED = "logins"
_ROOT = 0
_GIVEN, _OWN, _KEPT = "given", "own", "saved"


class _Login(NamedTuple):
    """A name and a secret, "" if there is none; `origin` says where they come from."""

    user: str
    secret: str
    origin: str = _GIVEN


async def log_in(session: ClientSession, security: Security, *, only_given: bool = False) -> None:
    """Log in if the server requires it and there is a secret.

    Args:
        only_given: Always log in, and only with the login that the caller gives.

    Raises:
        LoginNeeded: The server requires a login, and there is none.
        NotAuthorised: The server refuses this login.
        UnknownServer: The server's key is not confirmed.
        NotTrusted: The secret would travel in plain, and not to a process of our own user.
    """
    wants, address = session.hello.auth, str(session.address)
    if wants == NO_LOGIN:
        if security.user:
            raise NotAuthorised(f"{address} knows no users; leave out --user")
        return
    login = _Login(security.user, security.secret)
    if not login.secret and not only_given:
        login = await run_job(io_pool(), lambda: _find(session, security))
    if not (login.secret or login.user or only_given or wants == MUST_LOG_IN):
        return
    await run_job(io_pool(), lambda: _check_trusted(session, security, login.origin))
    if not login.secret:
        raise _login_needed(session, login.user)
    try:
        session.learn_hidden(await session.request("login", login.user, {"secret": login.secret}))
    except NotAuthorised as error:
        hint = "check the name and the secret"
        if login.origin == _KEPT:
            hint = f"ftransfer login {session.address.host} {session.address.port} keeps another"
        raise NotAuthorised(f"{address} does not accept this login; {hint}") from error


def _login_needed(session: ClientSession, user: str) -> LoginNeeded:
    address, logins = str(session.address), session.hello.logins
    names = "--user NAME and " if logins == (USER_LOGIN,) and not user else ""
    owner = (
        "; if another user runs it, ask for its token"
        if logins == (TOKEN_LOGIN,) and session.channel.transport.is_local
        else ""
    )
    return LoginNeeded(
        f"{address} wants a login; give {names}the secret in FTRANSFER_TOKEN or with --token-file,"
        f" or log in once{owner}",
        address=address,
        logins=logins,
        user=user,
    )


def _find(session: ClientSession, security: Security) -> _Login:
    """Return this user's login for the server. Blocking."""
    transport, port = session.channel.transport, session.address.port
    if (
        not security.user
        and (server := own_server(transport, port, security)) is not None
        and server.token
    ):
        return _Login("", server.token, _OWN)
    return _saved(session, security)


def _check_trusted(session: ClientSession, security: Security, origin: str) -> None:
    """Refuse to send a secret to an unconfirmed server, or in plain to a stranger.

    In plain, only a process of our own user or root may receive it. Blocking.

    Raises:
        UnknownServer, NotTrusted: The secret must not be sent.
    """
    transport, address = session.channel.transport, session.address
    if transport.encrypted:
        shown = shown_by(transport)
        # A server of our own and a saved login are found by the key that the server shows.
        if (
            origin == _GIVEN
            and not is_confirmed(address, shown, security)
            and own_server(transport, address.port, security) is None
        ):
            raise UnknownServer(
                f"{address} shows the key {shown}, for which nobody has vouched: no secret is sent"
                f" to it. If its owner says that it is the right one, add --fingerprint {shown}",
                address=str(address),
                fingerprint=shown,
            )
        return
    if not transport.is_local:
        raise NotTrusted(
            f"{address}: a secret is not sent in plain over a network; leave out --plain"
        )
    listener = transport.peer_user()
    # If the system cannot tell who owns the process, the record of a server of our own decides.
    if (
        listener in (os.geteuid(), _ROOT)
        or (listener is None and origin == _OWN)
        or security.tls == "off"
    ):
        return
    whose = (
        "a process of unknown user"
        if listener is None
        else f"a process of another user ({_name_of(listener)})"
    )
    raise NotTrusted(
        f"{address} is {whose}: no secret is sent to it in plain; have it started with --tls on, or"
        " add --plain if you trust it"
    )


def _name_of(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def save_login(session: ClientSession, security: Security) -> None:
    """Save the login that opened a session, for this server alone.

    Blocking. Raises BadFile.
    """
    from ftransfer.auth.saved_logins import SavedLogin

    login = SavedLogin(
        str(session.address), _proof(session, security), security.user, security.secret
    )
    saved_logins(security).keep(login)


def saved_logins(security: Security) -> SavedLogins:
    """Return the saved logins of this user."""
    from ftransfer.auth.saved_logins import SavedLogins

    return SavedLogins((security.state or state_folder()) / _SAVED)


def _saved(session: ClientSession, security: Security) -> _Login:
    """Return the saved login for this server, or one without a secret. Blocking."""
    try:
        login = saved_logins(security).find(str(session.address))
        if (
            login is not None
            and login.proof == _proof(session, security)
            and security.user in ("", login.user)
        ):
            return _Login(login.user, login.secret, _KEPT)
    except BadFile as error:
        raise NotAuthorised(f"the saved logins cannot be used: {error}") from error
    return _Login(security.user, "")


def _proof(session: ClientSession, security: Security) -> str:
    """Return the server's proof of identity: a server that cannot repeat it is another one.

    Blocking. Raises BadFile.
    """
    if security.ca:
        from ftransfer.tls.contexts import authority_of

        return f"authority {authority_of(security.ca)}"
    return shown_by(session.channel.transport) or "plain"
