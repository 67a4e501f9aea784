"""One put as the client sees it: announcement, end, abort and receipt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

from ftransfer.client.session import ClientSession
from ftransfer.errors import (
    Aborted,
    ChannelError,
    FtransferError,
    OffsetConflict,
    RemoteProtocolError,
)
from ftransfer.protocol.connection import Event
from ftransfer.protocol.replies import Meta, Reply, take, take_count
from ftransfer.protocol.state import State
from ftransfer.storage.base import Reader
from ftransfer.system.threads import stop_task
from ftransfer.transfer.records import Receipt


async def announce(
    session: ClientSession, reader: Reader, name: str, options: Mapping[str, Any]
) -> Meta:
    """Announce a file with `put`, and receive the offset to send from."""
    await session.send("put", name, options)
    meta = await session.next_event()
    if not isinstance(meta, Meta):
        raise session.unexpected(meta)
    if meta.offset > reader.entry.size:
        session.abort()
        raise OffsetConflict.about(name, "the server has more bytes than the file")
    return meta


@contextlib.asynccontextmanager
async def answer_task(session: ClientSession) -> AsyncIterator[asyncio.Task[Event]]:
    """Yield a task that waits for the answer while the block sends."""
    task = asyncio.get_running_loop().create_task(session.next_event())
    try:
        yield task
    except ChannelError:
        # If the connection broke while sending, the server's last error explains it better than
        # the broken pipe.
        if task.done() and not task.cancelled() and task.exception() is not None:
            await task
        raise
    finally:
        await stop_task(task)


async def raise_refusal(session: ClientSession, answer: asyncio.Task[Event]) -> NoReturn:
    """Raise the error with which the server has answered before the end.

    If the server waits for an abort, it is sent first.
    """
    try:
        event = answer.result()
    except FtransferError as error:
        if session.connection.state is State.DISCARDING:
            await send_abort(session, error)
        raise
    raise session.unexpected(event)


async def send_abort(session: ClientSession, why: FtransferError) -> None:
    """Abort the current put, unless its end has been sent."""
    if session.connection.said in (State.RECEIVING, State.DISCARDING):
        await session.channel.send(session.connection.send_error(Aborted(str(why))))


def reply_values(session: ClientSession, event: Event) -> Mapping[str, Any]:
    """Return the values of the reply that ends a put."""
    if not isinstance(event, Reply):
        raise session.unexpected(event)
    return event.values


def receipt_of_upload(
    name: str,
    values: Mapping[str, Any],
    size: int,
    digest: str,
    *,
    kept: int = 0,
    restarted: bool = False,
) -> Receipt:
    """Return the receipt for a reply; the server must have stored what was sent."""
    if take(values, "name", str) != name:
        raise RemoteProtocolError.about(name, "the server acknowledges another name than was sent")
    if take(values, "digest", str) != digest or take_count(values, "size") != size:
        raise RemoteProtocolError.about(
            name, "the server acknowledges another content than was sent"
        )
    return Receipt(
        take(values, "name", str),
        size,
        digest,
        take(values, "mtime_ns", int),
        take(values, "durable", bool, False),
        kept,
        restarted=restarted,
        replaced=take(values, "replaced", bool, False),
    )
