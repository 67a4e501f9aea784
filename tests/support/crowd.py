"""Connections that mean no good, in a process of their own: PORT COUNT, so many of each kind.

It says "here" when all are connected, and after how many seconds the server has closed the last of
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable

# The beginning of a TLS handshake: a record of 512 bytes is announced, and five of them come.
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"


Act = Callable[[asyncio.StreamWriter, asyncio.Task[None]], Awaitable[None]]


class Crowd:
    """Connections from many addresses of 127/8, each of one kind."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: list[asyncio.Task[None]] = []
        self._connected = 0

    async def gather(self, count: int) -> None:
        """Connect `count` of each kind, and wait until they are there."""
        kinds = (self._silent, self._trickling, self._halfway)
        for number in range(count):
            for kind, act in enumerate(kinds):
                host = f"127.{kind + 1}.{number // 250}.{number % 250 + 1}"
                self._tasks.append(asyncio.create_task(self._come(host, act)))
            if number % 50 == 49:
                await asyncio.sleep(0)
        while self._connected < 3 * count:
            await asyncio.wait(self._tasks, timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)

    async def gone(self, within_s: float) -> float:
        """Wait until the server has closed all of them; return how long that took."""
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(within_s):
            await asyncio.gather(*self._tasks)
        return asyncio.get_running_loop().time() - began

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _come(self, host: str, act: Act) -> None:
        writer = None
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._port, local_addr=(host, 0)
            )
            self._connected += 1
            ended = asyncio.create_task(_read_to_end(reader))
            try:
                await act(writer, ended)
            finally:
                ended.cancel()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _silent(self, writer: asyncio.StreamWriter, ended: asyncio.Task[None]) -> None:
        await ended

    async def _trickling(self, writer: asyncio.StreamWriter, ended: asyncio.Task[None]) -> None:
        while not ended.done():
            writer.write(b"a")
            await asyncio.wait([ended], timeout=1.0)

    async def _halfway(self, writer: asyncio.StreamWriter, ended: asyncio.Task[None]) -> None:
        writer.write(HALF_HELLO)
        await ended


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65_536):
            pass


async def main(port: str, count: str) -> None:
    crowd = Crowd(int(port))
    await crowd.gather(int(count))
    sys.stdout.write("here\n")
    sys.stdout.flush()
    sys.stdout.write(f"{await crowd.gone(600):.1f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
