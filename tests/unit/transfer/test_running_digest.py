"""A digest that is fed, catches up and is finished in any order is that of the content."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import SourceChanged, StoreFailed
from ftransfer.transfer.running_digest import RunningDigest

PIECES = [b"one", b"", b"three and more", b"4"]
WHOLE = b"".join(PIECES)


class Content:
    """Bytes that can be read back as far as they are in place; `reads` counts how often."""

    def __init__(self, data: bytes, *, fast: bool) -> None:
        self.data = data
        self.supports_threads = fast
        self.reads = 0

    def read_blocking(self, offset: int, view: memoryview) -> int:
        self.reads += 1
        part = self.data[offset : offset + len(view)]
        view[: len(part)] = part
        return len(part)

    async def read(self, offset: int, size: int) -> bytes:
        self.reads += 1
        await asyncio.sleep(0)
        return self.data[offset : offset + size]


@pytest.fixture(params=[True, False], ids=["in threads", "on the loop"])
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


STEPS = ("feed", "skip", "feed, then let it follow", "skip, then let it follow")


@pytest.mark.parametrize("follow_at", [None, 0, 1, 2, 3, 4])
async def test_any_order_gives_the_digest_of_the_whole(fast: bool, follow_at: int | None) -> None:
    """Each piece passes the hasher or does not, and the task beside it runs between or does not."""
    for steps in itertools.product(STEPS, repeat=len(PIECES)):
        digest = RunningDigest(Content(WHOLE, fast=fast))
        offset = 0
        for number, (step, piece) in enumerate(zip(steps, PIECES, strict=True)):
            if number == follow_at:
                digest.follow()
            if step.startswith("feed"):
                digest.feed(offset, piece)
            offset += len(piece)
            digest.allow(offset)
            if step.endswith("follow"):
                await asyncio.sleep(0)
        if follow_at == len(PIECES):
            digest.follow()
        assert await digest.finish(len(WHOLE)) == digest_of(WHOLE), steps
        assert digest.position == len(WHOLE)
        await digest.close()


@pytest.mark.parametrize("start", [0, 1, 3, len(WHOLE)])
async def test_digest_from_the_middle(fast: bool, start: int) -> None:
    digest = RunningDigest(Content(WHOLE, fast=fast), start)
    assert digest.position == start
    digest.follow()
    assert await digest.finish(len(WHOLE)) == digest_of(WHOLE[start:])
    await digest.close()


async def test_what_passes_in_order_is_not_read_back(fast: bool) -> None:
    content = Content(WHOLE, fast=fast)
    digest = RunningDigest(content)
    digest.follow()
    offset = 0
    for piece in PIECES:
        digest.feed(offset, piece)
        offset += len(piece)
        digest.allow(offset)
        await asyncio.sleep(0)
    assert await digest.finish(offset) == digest_of(WHOLE)
    assert content.reads == 0
    await digest.close()


async def test_task_waits_for_content_to_come(fast: bool) -> None:
    content = Content(WHOLE, fast=fast)
    digest = RunningDigest(content)
    digest.allow(3)
    digest.follow()
    finishing = asyncio.create_task(digest.finish(len(WHOLE)))
    assert await finishing == digest_of(WHOLE)
    await digest.close()


async def test_nothing_is_hashed_before_it_is_in_place(fast: bool) -> None:
    content = Content(WHOLE, fast=fast)
    digest = RunningDigest(content)
    digest.follow()
    for _ in range(10):
        await asyncio.sleep(0)
    assert (digest.position, content.reads) == (0, 0)
    await digest.close()


async def test_content_that_ends_early_is_reported(fast: bool) -> None:
    for follows in (True, False):
        digest = RunningDigest(Content(WHOLE, fast=fast))
        if follows:
            digest.follow()
        with pytest.raises(SourceChanged):
            await digest.finish(len(WHOLE) + 1)
        await digest.close()


async def test_failure_of_the_task_beside_comes_out_at_the_end() -> None:
    class Broken(Content):
        def read_blocking(self, offset: int, view: memoryview) -> int:
            raise StoreFailed("the disk reports an error")

    digest = RunningDigest(Broken(WHOLE, fast=True))
    digest.allow(3)
    digest.follow()
    with pytest.raises(StoreFailed):
        await digest.finish(len(WHOLE))
    await digest.close()


class Held(Content):
    """Content whose reading back waits to be let go."""

    def __init__(self) -> None:
        super().__init__(WHOLE, fast=True)
        self.begun = threading.Event()
        self.go = threading.Event()
        self.is_reading = False

    def read_blocking(self, offset: int, view: memoryview) -> int:
        self.is_reading = True
        self.begun.set()
        assert self.go.wait(10)
        self.is_reading = False
        return super().read_blocking(offset, view[:1])


async def test_bytes_that_pass_while_it_reads_back_are_neither_lost_nor_waited_for() -> None:
    content = Held()
    digest = RunningDigest(content)
    digest.allow(3)
    digest.follow()
    await asyncio.to_thread(content.begun.wait)
    digest.feed(0, WHOLE)  # the hasher is in use: it is read back instead
    digest.allow(len(WHOLE))
    content.go.set()
    assert await digest.finish(len(WHOLE)) == digest_of(WHOLE)
    await digest.close()


async def test_nothing_is_read_any_more_after_it_was_closed() -> None:
    content = Held()
    digest = RunningDigest(content)
    digest.allow(len(WHOLE))
    digest.follow()
    await asyncio.to_thread(content.begun.wait)
    closing = asyncio.create_task(digest.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert content.is_reading and not closing.done()  # a descriptor that is read must not be closed
    content.go.set()
    await closing
    assert not content.is_reading and content.reads == 1
    await digest.close()


async def test_finish_that_is_cancelled_leaves_nothing_running() -> None:
    content = Held()
    digest = RunningDigest(content)
    digest.follow()
    finishing = asyncio.create_task(digest.finish(len(WHOLE)))
    await asyncio.to_thread(content.begun.wait)
    finishing.cancel()
    content.go.set()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    await digest.close()
    assert not content.is_reading


async def test_close_of_what_never_began(fast: bool) -> None:
    content = Content(WHOLE, fast=fast)
    digest = RunningDigest(content)
    await digest.close()
    await digest.close()
    assert content.reads == 0
