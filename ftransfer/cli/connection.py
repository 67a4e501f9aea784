"""Options -> the connection that a command works over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftransfer.cli.connection_options import current_options

if TYPE_CHECKING:
    from ftransfer.client.client import Client
    from ftransfer.client.identity import OnNameRefused


def connection_to(
    host: str,
    port: int,
    *,
    retries: int | None = None,
    durable: bool = True,
    name: str = "",
    on_name_refused: OnNameRefused | None = None,
) -> Client:
    """Return a connection with the options of the command, to be entered with `async with`.

    Args:
        retries: Attempts without progress before giving up; None for the library's default.
        durable: Whether files are synced to disk before they are reported as stored.
        name: The name to be shown to others; "" for user@host.
        on_name_refused: Called instead of raising, if the server refuses the name.
    """
    # Not needed for --help; imported before the event loop runs.
    from ftransfer.client.client import connect
    from ftransfer.client.retry import RetryRules

    rules = RetryRules() if retries is None else RetryRules(tries=retries, quiet_s=float("inf"))
    # keep_cancelled: an interrupted command resumes when it is run again.
    security = current_options().security()
    return connect(
        host,
        port,
        retry=rules,
        security=security,
        durable=durable,
        keep_cancelled=True,
        name=name,
        on_name_refused=on_name_refused,
    )
