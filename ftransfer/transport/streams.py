"""The general transport, over asyncio's streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence

from ftransfer.errors import Closed, TimedOut
from ftransfer.transport.base import READ_SIZE, Buffer, PeerTransport, set_done, translated


class StreamTransport(PeerTransport):
    """The general form: asyncio's streams, with their buffers and their TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(writer.get_extra_info("socket"), writer.get_extra_info("peername"))
        self._reader = reader
        self._writer = writer
        # No longer used under TLS, but their finalisers would close the transport
        self._plain = (
            reader,
            writer,
        )
        self._is_reading = False
        assert isinstance(writer.transport, asyncio.Transport)
        self._transport = writer.transport
        self._transport.pause_reading()
        # Python up to 3.11.3 starts reading after the callback of a new connection, even if it was
        # paused there.
        asyncio.get_running_loop().call_soon(self._pause_again)

    def _pause_again(self) -> None:
        if not self._is_reading:
            self._transport.resume_reading()
            self._transport.pause_reading()

    @property
    def direct(self) -> None:
        return None

    @property
    def tls(self) -> ssl.SSLObject | None:
        found: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        return found

    async def read(self, timeout_s: float) -> bytes:
        self._begin_to_read()
        async with self._deadline(timeout_s, "sent nothing"):
            return await self._reader.read(READ_SIZE)

    def _begin_to_read(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._transport.resume_reading()

    async def peek(self, timeout_s: float) -> bytes:
        loop = asyncio.get_running_loop()
        with self._writer.get_extra_info("socket").dup() as sock, translated(self.peer):
            while True:
                with contextlib.suppress(BlockingIOError):
                    found: bytes = sock.recv(1, socket.MSG_PEEK)
                    return found
                future: asyncio.Future[None] = loop.create_future()
                try:
                    loop.add_reader(sock, set_done, future)
                except NotImplementedError:
                    return b""
                try:
                    async with self._deadline(timeout_s, "sent nothing"):
                        await future
                finally:
                    loop.remove_reader(sock)

    async def write(self, buffers: Sequence[Buffer], timeout_s: float) -> None:
        async with self._deadline(timeout_s, "took nothing"):
            # Not writelines: in Python 3.12 and 3.13 `drain` does not wait after it, and on a
            # closed transport it fails.
            self._writer.write(b"".join(buffers))
            await self._writer.drain()

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, hostname: str, timeout_s: float
    ) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            # Slightly longer than our own deadline, which gives the better error.
            transport = await asyncio.wait_for(
                loop.start_tls(
                    self._transport,
                    protocol,
                    context,
                    server_side=server_side,
                    server_hostname=None if server_side else hostname,
                    ssl_handshake_timeout=timeout_s + 1,
                ),
                timeout_s,
            )
        except TimeoutError as error:
            raise TimedOut(
                f"{self.peer} did not finish the TLS handshake within {timeout_s:.0f} s"
            ) from error
        except (ConnectionError, ssl.SSLEOFError) as error:
            raise Closed(f"{self.peer} closed the connection during the TLS handshake") from error
        if transport is None:  # closed while the handshake ended
            raise Closed(f"{self.peer} closed the connection during the TLS handshake")
        protocol.connection_made(transport)
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        self._is_reading = True
        self.encrypted = True

    async def close(self, timeout_s: float) -> None:
        with contextlib.suppress(OSError, Closed, TimedOut):
            if self._writer.can_write_eof():
                self._begin_to_read()
                self._writer.write_eof()
                async with self._deadline(timeout_s, "did not close"):
                    while True:
                        if not await self._reader.read(READ_SIZE):
                            break
                        # A peer that sends without pause would hold the loop
                        await asyncio.sleep(0)
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._writer.wait_closed()

    def abort(self) -> None:
        # From Python up to 3.11.3, for a TLS transport that has ended
        with contextlib.suppress(AttributeError):
            self._writer.transport.abort()

    @contextlib.asynccontextmanager
    async def _deadline(self, timeout_s: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                with translated(self.peer):
                    yield
        except TimeoutError as error:
            raise TimedOut(f"{self.peer} {what} for {timeout_s:.0f} s") from error
