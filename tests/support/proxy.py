"""A proxy on loopback that cuts, stalls, slows down or corrupts traffic at an exact byte.

`async with Proxy(service.address, [Faults(down=Fault(cut_at=1000))]) as proxy`, and connect to
proxy.address. Each connection takes the next faults of the script; later connections pass
unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """Faults of one direction of a connection, at positions in bytes from its start; None is never.

    Args:
        cut_at: Exactly this many bytes are delivered; then the connection ends in both directions.
        reset: It ends with a reset, as from a crashed host, and unread data may be lost.
            Else it is closed.
        stall_at: This many bytes are delivered; then nothing moves in this direction until
            Proxy.release, and nothing ends.
        flip_at: The bit `bit` of the byte at this position is inverted.
        piece_bytes: Bytes travel in pieces of at most this size.
    """

    cut_at: int | None = None
    reset: bool = False
    stall_at: int | None = None
    flip_at: int | None = None
    bit: int = 0
    piece_bytes: int = _PIECE

    @property
    def is_armed(self) -> bool:
        """Whether something must happen at a certain byte."""
        return {self.cut_at, self.stall_at, self.flip_at} != {None}


CLEAN = Fault()


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to one connection: `up` is from client to server."""

    up: Fault = CLEAN
    down: Fault = CLEAN


@dataclass(eq=False)
class Flow:
    """One direction of a connection: `passed` bytes were delivered; `seen` records them."""

    fault: Fault
    passed: int = 0
    seen: bytearray = field(default_factory=bytearray)
    struck: bool = False  # its fault has come to pass
    stalled: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class Passage:
    """One connection through the proxy. `ended` is set when both sides of it are closed.

    `turns` is how often the client has spoken after it had heard something: it has waited for no
    more round trips than that.
    """

    up: Flow
    down: Flow
    turns: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _sockets: list[socket.socket] = field(default_factory=list)
    _cut: asyncio.Event = field(default_factory=asyncio.Event)
    _has_heard: bool = False

    def cut(self) -> None:
        """End it now, with a reset to both sides."""
        for sock in self._sockets:
            if sock.fileno() >= 0:
                _reset_on_close(sock)
        self._cut.set()

    def note(self, flow: Flow) -> None:
        """Count: something goes this way now."""
        if flow is self.up:
            self.turns += self._has_heard
        self._has_heard = flow is self.down


class Proxy:
    """Listens on a free port of loopback from `__aenter__` to `__aexit__`.

    Args:
        target: Where connections go on to.
        script: The faults of the first connections, in their order.
        records: Whether all that passes is kept, in Flow.seen.
        must_strike: Whether a fault of the script that did not strike fails the test at the end.
    """

    def __init__(
        self,
        target: tuple[str, int],
        script: Iterable[Faults] = (),
        *,
        records: bool = False,
        must_strike: bool = True,
    ) -> None:
        self.passages: list[Passage] = []
        self.entered = asyncio.Event()  # set when there is a first connection
        self.address: tuple[str, int] = ("", 0)
        self._target = target
        self._script: Iterator[Faults] = iter(script)
        self._records = records
        self._must_strike = must_strike
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))

    async def __aenter__(self) -> Proxy:
        self._listener.setblocking(False)
        self.address = self._listener.getsockname()
        self._start(self._accept())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        failures = [
            result
            for result in await asyncio.gather(*self._tasks, return_exceptions=True)
            if isinstance(result, Exception)
        ]
        self._listener.close()
        if failures and error is None:
            raise failures[0]
        if error is None and self._must_strike:
            self._check_that_all_struck()

    def _check_that_all_struck(self) -> None:
        met = [flow for passage in self.passages for flow in (passage.up, passage.down)]
        missed = [flow.fault for flow in met if flow.fault.is_armed and not flow.struck]
        left = [fault for faults in self._script for fault in (faults.up, faults.down)]
        missed += [fault for fault in left if fault.is_armed]
        assert not missed, f"faults that did not strike: {missed}"

    def release(self) -> None:
        """Release all stalled directions, now and from now on."""
        self._released.set()

    def cut(self) -> None:
        """End all connections now."""
        for passage in self.passages:
            passage.cut()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._listener)
            faults = next(self._script, Faults())
            passage = Passage(Flow(faults.up), Flow(faults.down))
            self.passages.append(passage)
            self.entered.set()
            self._start(self._carry(passage, near))

    async def _carry(self, passage: Passage, near: socket.socket) -> None:
        far = socket.socket()
        passage._sockets = [near, far]
        try:
            for sock in (near, far):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await asyncio.get_running_loop().sock_connect(far, self._target)
            except OSError:
                return  # nobody is there: the client finds its connection closed
            await self._until_over(passage, near, far)
        finally:
            near.close()
            far.close()
            passage.ended.set()

    async def _until_over(self, passage: Passage, near: socket.socket, far: socket.socket) -> None:
        """Carry both ways until both have ended, or one of them or the whole passage is cut."""
        up = asyncio.create_task(self._flow(passage, passage.up, near, far))
        down = asyncio.create_task(self._flow(passage, passage.down, far, near))
        cut = asyncio.create_task(passage._cut.wait())
        left: set[asyncio.Task[bool]] = {up, down}
        try:
            while left and not cut.done():
                done, _ = await asyncio.wait({*left, cut}, return_when=asyncio.FIRST_COMPLETED)
                left -= done
                if any(flow in done and flow.result() for flow in (up, down)):
                    break
        finally:
            for task in (up, down, cut):
                task.cancel()
            await asyncio.wait([up, down, cut])
        for flow, fault, source, sink in (
            (up, passage.up.fault, near, far),
            (down, passage.down.fault, far, near),
        ):
            if not flow.cancelled() and flow.result() and not passage._cut.is_set():
                if fault.reset:
                    passage.cut()
                else:
                    await _end_gently(source, sink)

    async def _flow(
        self, passage: Passage, flow: Flow, source: socket.socket, sink: socket.socket
    ) -> bool:
        """Copy one direction to its end and pass the end on; return True to have it cut there."""
        loop = asyncio.get_running_loop()
        fault = flow.fault
        with contextlib.suppress(OSError):
            while flow.passed != fault.cut_at:
                if flow.passed == fault.stall_at and not self._released.is_set():
                    flow.struck = True
                    flow.stalled.set()
                    await self._released.wait()
                data = bytearray(await loop.sock_recv(source, _room(flow)))
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return False
                if fault.flip_at is not None and 0 <= fault.flip_at - flow.passed < len(data):
                    flow.struck = True
                    data[fault.flip_at - flow.passed] ^= 1 << fault.bit
                passage.note(flow)
                await loop.sock_sendall(sink, data)
                flow.passed += len(data)
                if self._records:
                    flow.seen += data
            flow.struck = True
            return True
        with contextlib.suppress(OSError):  # a reset is an end, too
            sink.shutdown(socket.SHUT_WR)
        return False


def _room(flow: Flow) -> int:
    """Return how many bytes may be taken at once so that no fault position is passed."""
    fault = flow.fault
    stops = [
        stop - flow.passed
        for stop in (fault.cut_at, fault.stall_at)
        if stop is not None and stop > flow.passed
    ]
    return min([fault.piece_bytes, *stops])


async def _end_gently(source: socket.socket, sink: socket.socket) -> None:
    """Cut, so that the receiver gets all that was delivered."""
    _reset_on_close(source)
    source.close()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
        # A socket that is closed with unread input is reset, and what is under way to its peer is
        # lost: so that is read first.
        while await loop.sock_recv(sink, _PIECE):
            pass


def _reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
