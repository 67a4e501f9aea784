"""A whole session over a real socket: a store in memory, and a peer that sends any bytes.

Whatever is sent: the session ends when its peer is gone or silent, it never fails internally, and
no turn of the event loop is so long that it would keep others waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import time
from collections.abc import Iterator

from ftransfer.auth.admission import OPEN, Admission
from ftransfer.gateways.native.listener import Server
from ftransfer.gateways.native.session import NativeSession
from ftransfer.limits import Limits
from ftransfer.service.service import ServiceOptions
from ftransfer.service.share import Share
from ftransfer.storage.memory import MemoryStore

_LIMITS = Limits(
    max_line_bytes=2000,
    max_chunk_bytes=5000,
    max_json_bytes=5000,
    idle_s=0.05,
    line_s=0.05,
    stall_s=0.05,
    quiet_s=0.1,
    heartbeat_s=0.02,
    login_s=0.2,
    close_s=0.05,
)
_REPEATS = (1, 1, 20, 200)
_MOST_BYTES = 100_000
_ACCEPTED_MS = 10_000
_LISTENER_S = 0.5
_END_S = 30  # on a machine that is busy and under a fuzzer; a session that hangs does so for ever
# In CPU time: one command under a fuzzer's instrumentation takes milliseconds, a flood takes
# seconds
_TURN_S = 0.25


def session(data: bytes) -> None:
    """All that a peer sends to a server; the first two bytes choose user, repetition and pieces."""
    choice, data = int.from_bytes(data[:2].ljust(2, b"\0"), "big"), data[2:]
    data = (data * _REPEATS[choice & 3])[:_MOST_BYTES]
    with _measured_turns() as longest, asyncio.Runner() as runner:
        heard = runner.run(_serve(data, choice >> 2))
    assert longest[0] < _TURN_S, f"the loop was held for {longest[0]:.2f} s"
    assert b'{"code":"internal"' not in heard, "a fault of the server's own"


async def _serve(data: bytes, choice: int) -> bytes:
    direct, is_guarded, stays, size = choice & 1, choice & 2, choice & 4, (choice >> 3) & 255
    admission = Admission(token="t") if is_guarded else OPEN
    server = await Server.start(
        Share(MemoryStore()),
        port=0,
        direct=bool(direct),
        options=ServiceOptions(limits=_LIMITS, admission=admission),
    )
    try:
        peer = _Peer(server.addresses[0], data, size + 1 if size else len(data), stays=bool(stays))
        try:
            for _ in range(_ACCEPTED_MS):
                if server.service.session_count:
                    break
                await asyncio.sleep(0.001)
            # The one; or none, if it has ended already
            for serving, task in list(server.sessions.items()):
                await _end_of(serving, task, may_stay=bool(stays))
        finally:
            peer.end()
    finally:
        await server.stop(grace_s=0)
    return bytes(peer.heard)


async def _end_of(serving: NativeSession, task: asyncio.Task[None], *, may_stay: bool) -> None:
    await asyncio.wait([task], timeout=_LISTENER_S)
    participant = getattr(
        serving.session, "participant", None
    )  # which a session gives back at its end
    # A listener may stay for ever
    if may_stay and participant is not None and participant.wants_events:
        return
    await asyncio.wait([task], timeout=_END_S)
    assert task.done(), (
        f"the session goes on: {serving.connection.state}, {serving.session.operation}"
    )


class _Peer:
    """The other end, in its own threads, so that a server that blocks its loop does not stop it."""

    def __init__(self, address: tuple[str, int], data: bytes, size: int, *, stays: bool) -> None:
        self.heard = bytearray()
        self._socket = socket.create_connection(address)
        self._threads = [
            threading.Thread(target=self._say, args=(data, size, stays)),
            threading.Thread(target=self._hear),
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _say(self, data: bytes, size: int, stays: bool) -> None:
        with contextlib.suppress(OSError):
            for start in range(0, len(data), max(size, 1)):
                self._socket.sendall(data[start : start + size])
            if not stays:
                self._socket.shutdown(socket.SHUT_WR)

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while piece := self._socket.recv(1 << 16):
                self.heard += piece


@contextlib.contextmanager
def _measured_turns() -> Iterator[list[float]]:
    """Measure the longest turn of the event loop."""
    longest = [0.0]
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        longest[0] = max(longest[0], time.thread_time() - began)

    asyncio.Handle._run = measured  # type: ignore[method-assign, assignment]  # each turn
    gc.disable()  # what it would look through belongs to whoever runs this, not to the session
    try:
        yield longest
    finally:
        gc.enable()
        asyncio.Handle._run = run  # type: ignore[method-assign]  # as it was
