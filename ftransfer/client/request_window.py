"""Many short commands over one session, sent in a bounded window ahead of their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from typing import Any

from ftransfer.client.session import ClientSession
from ftransfer.errors import FtransferError, LineTooLong
from ftransfer.protocol.commands import Command

# Commands in flight. With a round trip of 50 ms that is about five thousand per second.
_WINDOW = 256

Request = tuple[str, str, Mapping[str, Any]]  # verb, argument, options


async def request_many(
    session: ClientSession, commands: Iterable[Request]
) -> AsyncGenerator[Mapping[str, Any] | FtransferError, None]:
    """Send commands that are answered by a reply alone; yield each reply, or error, in order.

    Round trips do not add up: a window of commands is in flight while answers arrive. Leaving the
    generator early (close it with contextlib.aclosing) aborts the connection.

    Raises:
        Closed, TimedOut, RemoteProtocolError and other errors that end a session: it is unknown
            whether the unanswered commands were carried out.
    """
    free = asyncio.Semaphore(_WINDOW)
    # In order: sent (True), not sent because of an error, no more commands (False)
    sent: asyncio.Queue[LineTooLong | bool] = asyncio.Queue()
    sending = asyncio.create_task(_send_ahead(session, iter(commands), free, sent))
    sending.add_done_callback(lambda _: sent.put_nowait(False))
    answered = 0
    try:
        while (outcome := await sent.get()) is not False:
            yield await session.result_or_error() if outcome is True else outcome
            answered += 1
            if answered == _WINDOW // 2:  # in halves, so that many lines share a packet
                for _ in range(answered):
                    free.release()
                answered = 0
        await sending
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        if not session.is_between_commands:
            session.abort()


async def _send_ahead(
    session: ClientSession,
    commands: Iterator[Request],
    free: asyncio.Semaphore,
    sent: asyncio.Queue[LineTooLong | bool],
) -> None:
    more = True
    while more:
        await free.acquire()
        lines: list[bytes] = []
        for verb, argument, options in commands:
            session.expect_answer(verb)
            try:
                lines.append(session.connection.send_command(Command(verb, argument, options)))
                # Queued before it is sent: its answer must be read even while the rest does not
                # fit into the socket.
                sent.put_nowait(True)
            except LineTooLong as error:
                sent.put_nowait(error)
            if free.locked():
                break
            await free.acquire()
        else:
            more = False
        if lines:
            await session.channel.send(*lines)
