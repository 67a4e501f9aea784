"""A stream to a server, of unknown size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ftransfer.client.retry import Report
from ftransfer.client.session import ClientSession
from ftransfer.client.transfers.put_exchange import (
    answer_task,
    raise_refusal,
    receipt_of_upload,
    reply_values,
    send_abort,
)
from ftransfer.digest import Hasher
from ftransfer.errors import Aborted
from ftransfer.protocol.replies import End
from ftransfer.system.threads import io_pool, run_job
from ftransfer.transfer.pump import BLOCK
from ftransfer.transfer.records import Receipt


class Readable(Protocol):
    """A stream that is read from its start to its end, where `read` returns nothing."""

    def read(self, size: int, /) -> bytes | memoryview: ...


class StreamUpload:
    """An upload of a stream, up to its end. It runs once: the bytes are gone then.

    Args:
        options: Options of the put: if_absent, if_match, durable.
    """

    def __init__(self, stream: Readable, name: str, options: Mapping[str, Any]) -> None:
        self._stream = stream
        self._name = name
        self._options = options

    async def run(self, session: ClientSession, report: Report) -> Receipt:
        """Send the stream.

        Raises:
            OSError: The stream failed; the put was aborted, so the server publishes nothing.
        """
        channel, connection = session.channel, session.connection
        hasher = Hasher()
        await session.send("put", self._name, self._options)
        async with answer_task(session) as answer:
            async with channel.heartbeats():
                try:
                    while not answer.done() and (
                        block := await run_job(io_pool(), self._read_block)
                    ):
                        hasher.update(block)
                        await channel.send_data(block)
                        report(hasher.size, None)
                except OSError as error:
                    failure = Aborted(f"the source failed: {error.strerror or error}")
                    await send_abort(session, failure)
                    raise
            if answer.done():
                await raise_refusal(session, answer)
            await channel.send(connection.send_end(End(hasher.size, hasher.digest())))
            values = reply_values(session, await answer)
            return receipt_of_upload(self._name, values, hasher.size, hasher.digest())

    def _read_block(self) -> bytes | memoryview:
        # read1 where there is one: data of a slow pipe is passed on at once, not in whole blocks.
        read = getattr(self._stream, "read1", self._stream.read)
        block: bytes | memoryview = read(BLOCK)
        return block
