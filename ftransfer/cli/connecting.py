"""Options -> the connection that a command works over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftransfer.cli.connection_options import chosen_way

if TYPE_CHECKING:
    from ftransfer.client.client import connect as Connection
    from ftransfer.client.presence import OnNameRefused


def connection_to(
    host: str,
    port: int,
    *,
    retries: int | None = None,
    durable: bool = True,
    name: str = "",
    on_name_refused: OnNameRefused | None = None,
) -> Connection:
    """Give the connection, to be entered.

    Args:
        retries: How often a broken transfer is tried again without progress; None: for as long as
            the rules of the library say.
        durable: Whether what is received, or sent, is brought to the disk before it is said to be
            there.
        name: What we are called there; "" for user@host.
        on_name_refused: Called if the server does not take the name, in place of an error.
    """
    # Imported here, so that --help does not pay for it, but before the event loop runs.
    from ftransfer.client.client import connect
    from ftransfer.client.retry import RetryRules

    rules = RetryRules() if retries is None else RetryRules(tries=retries, quiet_s=float("inf"))
    # What an interrupted command leaves is gone on with when it is run again.
    security = chosen_way().security()
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
