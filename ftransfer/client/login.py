"""Saying who we are, once it is certain to whom. The secret is that of the caller, or the one that was saved for this server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ftransfer.auth.saved import SavedLogin, SavedLogins
from ftransfer.client.greeting import MUST_LOG_IN, NO_LOGIN
from ftransfer.client.security import Security
from ftransfer.errors import BadFile, LoginNeeded, NotAuthorised, NotTrusted
from ftransfer.jobs import movers, run_job
from ftransfer.private import state_folder

if TYPE_CHECKING:
    from ftransfer.client.conversation import Conversation

_SAVED = "logins"


async def log_in(conversation: Conversation, security: Security) -> None:
    """Log in if the server has use for it and there is a secret.

    Raises:
        LoginNeeded: The server wants a login, and there is none.
        NotAuthorised: It does not accept this one.
        NotTrusted: The secret would travel in plain.
    """
    wants, address = conversation.hello.auth, str(conversation.address)
    if wants == NO_LOGIN:
        if security.user:
            raise NotAuthorised(f"{address} knows no users; leave out --user")
        return
    user, secret = security.user, security.secret
    if not secret:
        user, secret = await run_job(movers(), lambda: _saved(conversation, security))
    if not secret:
        if wants == MUST_LOG_IN or user:
            raise LoginNeeded(f"{address} wants a login; give the secret in FTRANSFER_TOKEN or with --token-file, or log in once")
        return
    link = conversation.channel.link
    if not (link.encrypted or link.is_local):
        raise NotTrusted(f"{address}: a secret is not sent in plain over a network; leave out --plain")
    try:
        await conversation.ask("login", user, {"secret": secret})
    except NotAuthorised as error:
        raise NotAuthorised(f"{address} does not accept this login; check the name and the secret") from error


def save_login(conversation: Conversation, security: Security) -> None:
    """Keep the login that a conversation was opened with, for this server alone. Blocking. Raises BadFile."""
    login = SavedLogin(str(conversation.address), _proof(conversation, security), security.user, security.secret)
    saved_logins(security).keep(login)


def saved_logins(security: Security) -> SavedLogins:
    """Give the logins that this user has saved."""
    folder: Path = security.state or state_folder()
    return SavedLogins(folder / _SAVED)


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
    tls = conversation.channel.link.tls
    if tls is None:
        return "plain"
    if security.ca:
        return "authority"
    from ftransfer.tls.fingerprint import fingerprint_of

    return fingerprint_of(tls.getpeercert(binary_form=True) or b"")
