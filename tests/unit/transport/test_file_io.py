"""A transfer's work in a thread, without a network: which way bytes go, how long it waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from ftransfer.transport import file_io as flow
from ftransfer.transport.file_io import FileToSocket

CONTENT = bytes(range(256)) * 8192  # 2 MiB
HEADER = b"head"


class FakeTransport:
    """A socket that takes what it is given, `room` bytes between two waits."""

    peer = "peer"

    def __init__(
        self, *, encrypted: bool = False, is_local: bool = False, room: int = 1 << 30
    ) -> None:
        self.encrypted = encrypted
        self.is_local = is_local
        self.room = self.free = room
        self.is_ready = True
        self.sent = bytearray()
        self.by_sendfile = 0
        self.waits = 0

    def send(self, buffers: Sequence[memoryview], *, more: bool = False) -> int | None:
        return self._take(bytes(buffers[0]))

    def send_from_file(self, fd: int, offset: int, count: int) -> int | None:
        sent = self._take(CONTENT[offset : offset + count])
        self.by_sendfile += sent or 0
        return sent

    def _take(self, data: bytes) -> int | None:
        if not self.free:
            return None
        count = min(self.free, len(data))
        self.sent += data[:count]
        self.free -= count
        return count

    def wait_writable_now(self, timeout_s: float) -> bool:
        self.waits += 1
        if self.is_ready:
            self.free = self.room
        return self.is_ready


class FakeFile:
    def fileno(self) -> int:
        return -1

    def read_blocking(self, offset: int, view: memoryview) -> int:
        data = CONTENT[offset : offset + len(view)]
        view[: len(data)] = data
        return len(data)


def outflow(transport: Any, feed: Any = None) -> FileToSocket:
    job = FileToSocket(transport, FakeFile(), feed)
    job.begin_frame(HEADER, 0, len(CONTENT))
    return job


@pytest.mark.parametrize(
    ("transport", "is_hashed", "by_sendfile"),
    [
        (FakeTransport(), False, len(CONTENT)),
        (FakeTransport(), True, 0),
        (FakeTransport(is_local=True), False, 0),
        (FakeTransport(encrypted=True), False, 0),
    ],
    ids=["far", "hashed", "local", "encrypted"],
)
def test_content_passes_through_memory_only_where_that_pays(
    transport: FakeTransport, is_hashed: bool, by_sendfile: int
) -> None:
    hashed = bytearray()

    def feed(offset: int, data: memoryview) -> None:
        assert offset == len(hashed)
        hashed.extend(data)

    job = outflow(transport, feed if is_hashed else None)
    assert job.run()
    assert bytes(transport.sent) == HEADER + CONTENT
    assert transport.by_sendfile == by_sendfile
    assert bytes(hashed) == (CONTENT if is_hashed else b"")
    assert job.take_moved() == len(CONTENT)


@pytest.mark.parametrize("is_local", [False, True])
def test_a_frame_is_whole_however_little_the_socket_takes(is_local: bool) -> None:
    transport = FakeTransport(is_local=is_local, room=70_001)
    job = outflow(transport)
    while not job.run():
        pass
    job.begin_frame(HEADER, 5, 1000)
    while not job.run():
        pass
    assert bytes(transport.sent) == HEADER + CONTENT + HEADER + CONTENT[5:1005]


def test_a_job_goes_back_to_the_loop_when_its_socket_stays_full() -> None:
    transport = FakeTransport(room=10)
    transport.is_ready = False
    job = outflow(transport)
    assert not job.run()
    assert transport.waits == 1
    assert job.take_moved() == 10 - len(HEADER)


def test_only_few_threads_wait_for_their_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = threading.BoundedSemaphore(1)
    taken.acquire()
    monkeypatch.setattr(flow, "_lingering", taken)
    transport = FakeTransport(room=10)
    job = outflow(transport)
    assert not job.run()
    assert transport.waits == 0


def test_a_stopped_job_does_not_wait() -> None:
    transport = FakeTransport(room=10)
    job = outflow(transport)
    transport.free = 0
    job.stop()
    assert not job.run()
    assert transport.waits == 0 and not transport.sent
