"""From an address to a session that is ready for commands: connected, trusted, logged in."""

from __future__ import annotations

from ftransfer.client.address import Address
from ftransfer.client.handshake import open_channel
from ftransfer.client.security import DEFAULT_SECURITY, Security
from ftransfer.client.session import ClientSession, OnNotice
from ftransfer.errors import CannotConnect, RemoteProtocolError
from ftransfer.limits import LEAST_LIMITS, Limits
from ftransfer.protocol.replies import NO_LOGIN, Hello

# A lower bound on the pause that a server may ask for, so that it cannot make us send constantly.
_LEAST_HEARTBEAT_S = 0.1


async def open_session(
    address: Address,
    limits: Limits,
    *,
    security: Security = DEFAULT_SECURITY,
    on_notice: OnNotice | None = None,
    direct: bool = True,
    only_given: bool = False,
) -> ClientSession:
    """Connect, verify the server, receive its hello, and log in.

    Arguments and errors are those of open_channel and log_in.
    """
    channel, hello = await open_channel(address, limits, security, direct=direct)
    try:
        channel.limits = channel.connection.peer_limits = _narrowed(limits, hello)
    except RemoteProtocolError as error:
        channel.abort()
        raise CannotConnect(f"{address} {error}") from error
    session = ClientSession(address, channel, hello, on_notice)
    if hello.auth != NO_LOGIN or security.user:
        from ftransfer.client.login import log_in  # not imported where no login is needed

        try:
            await log_in(session, security, only_given=only_given)
        except BaseException:
            session.abort()
            raise
    return session


def _narrowed(limits: Limits, hello: Hello) -> Limits:
    """Return our limits, reduced to the sizes and pauses that the server accepts.

    Raises:
        RemoteProtocolError: It accepts less than the minimum for every server.
    """

    def least(name: str, own: int) -> int:
        announced = int(hello.limits.get(name, own))
        if announced < LEAST_LIMITS[name]:
            raise RemoteProtocolError(
                f"announces {name} {announced}; every server must take {LEAST_LIMITS[name]}"
            )
        return min(announced, own)

    return limits._replace(
        max_line_bytes=least("max_line_bytes", limits.max_line_bytes),
        max_chunk_bytes=least("max_chunk_bytes", limits.max_chunk_bytes),
        max_json_bytes=least("max_json_bytes", limits.max_json_bytes),
        max_items=least("max_items", limits.max_items),
        heartbeat_s=min(
            limits.heartbeat_s,
            max(_LEAST_HEARTBEAT_S, hello.limits.get("heartbeat_s", limits.heartbeat_s)),
        ),
    )
