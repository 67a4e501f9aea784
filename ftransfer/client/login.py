"""Saying who we are, once it is certain to whom. The secret is that of the caller, or that of a server of our own on this machine,
or the one that was saved for this server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ftransfer.client.greeting import MUST_LOG_IN, NO_LOGIN
from ftransfer.client.security import Security
from ftransfer.errors import BadFile, LoginNeeded, NotAuthorised, NotTrusted
from ftransfer.jobs import movers, run_job
from ftransfer.private import state_folder

if TYPE_CHECKING:
    from ftransfer.auth.saved import SavedLogins
    from ftransfer.client.conversation import Conversation
    from ftransfer.link import Link

_SAVED = "logins"
_ROOT = 0


async def log_in(conversation: Conversation, security: Security) -> None:
    """Log in if the server has use for it and there is a secret.

    Raises:
        LoginNeeded: The server wants a login, and there is none.
        NotAuthorised: It does not accept this one.
        NotTrusted: The secret would travel in plain, and not to a process of our own user.
    """
    wants, address = conversation.hello.auth, str(conversation.address)
    if wants == NO_LOGIN:
        if security.user:
            raise NotAuthorised(f"{address} knows no users; leave out --user")
        return
    user, secret, is_own = security.user, security.secret, False
    if not secret and not user:
        secret = await run_job(movers(), lambda: _token_of_own_server(conversation, security))
        is_own = bool(secret)
    if not secret:
        user, secret = await run_job(movers(), lambda: _saved(conversation, security))
    is_needed = wants == MUST_LOG_IN or bool(user)
    if secret or is_needed:
        _check_may_hear(conversation.channel.link, address, security, is_own=is_own)
    if not secret:
        if is_needed:
            raise LoginNeeded(f"{address} wants a login; give the secret in FTRANSFER_TOKEN or with --token-file, or log in once")
        return
    try:
        await conversation.ask("login", user, {"secret": secret})
    except NotAuthorised as error:
        raise NotAuthorised(f"{address} does not accept this login; check the name and the secret") from error


def _check_may_hear(link: Link, address: str, security: Security, *, is_own: bool) -> None:
    """Refuse to say a secret in plain, except within this machine to a process of our own user or root.

    Args:
        is_own: Whether a server of our own holds that address, as its record says; it counts where the system cannot tell whose
            process it is.

    Raises:
        NotTrusted: A secret may not be said.
    """
    if link.encrypted:
        return
    if not link.is_local:
        raise NotTrusted(f"{address}: a secret is not sent in plain over a network; leave out --plain")
    listener = link.peer_user()
    if listener in (os.geteuid(), _ROOT) or (listener is None and is_own) or security.tls == "off":
        return
    whose = "a process of unknown user" if listener is None else f"a process of another user ({_name_of(listener)})"
    raise NotTrusted(
        f"{address} is {whose}: no secret is sent to it in plain; have it started with --tls on, or add --plain if you trust it"
    )


def _name_of(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _token_of_own_server(conversation: Conversation, security: Security) -> str:
    """Return the token of the server if it is one of this user on this machine, else "". Blocking."""
    from ftransfer.auth.running import find_running

    link = conversation.channel.link
    server = find_running(_state(security), link.peer_host, conversation.address.port, link.own_host)
    return server.token if server is not None and server.fingerprint == _shown(link) else ""


def save_login(conversation: Conversation, security: Security) -> None:
    """Keep the login that a conversation was opened with, for this server alone. Blocking. Raises BadFile."""
    from ftransfer.auth.saved import SavedLogin

    login = SavedLogin(str(conversation.address), _proof(conversation, security), security.user, security.secret)
    saved_logins(security).keep(login)


def saved_logins(security: Security) -> SavedLogins:
    """Give the logins that this user has saved."""
    from ftransfer.auth.saved import SavedLogins

    return SavedLogins(_state(security) / _SAVED)


def _state(security: Security) -> Path:
    return security.state or state_folder()


def _saved(conversation: Conversation, security: Security) -> tuple[str, str]:
    """Give the name and secret that are saved for this server, or no secret. Blocking."""
    try:
        login = saved_logins(security).find(str(conversation.address))
    except BadFile as error:
        raise NotAuthorised(f"the saved logins cannot be used: {error}") from error
    if login is None or login.proof != _proof(conversation, security) or (security.user and security.user != login.user):
        return security.user, ""
    return login.user, login.secret


def _proof(conversation: Conversation, security: Security) -> str:
    """Say what makes us sure of the server: whoever cannot show the same is another one."""
    return "authority" if security.ca else _shown(conversation.channel.link) or "plain"


def _shown(link: Link) -> str:
    """Return the fingerprint of the certificate that the server has shown; "" in plain."""
    if link.tls is None:
        return ""
    from ftransfer.tls.fingerprint import fingerprint_of

    return fingerprint_of(link.tls.getpeercert(binary_form=True) or b"")
