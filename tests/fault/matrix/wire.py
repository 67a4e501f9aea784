"""The bytes of a session, parsed by hand: where frames end, and which bytes are content."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ftransfer.client.client import connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.limits import Limits
from tests.fault.matrix.actions import Action, attempt
from tests.fault.matrix.lab import serving
from tests.support.proxy import Proxy

_HEADER = struct.Struct(">cI")
_OPENS_BODY = (b"put", b"part", b"mput", b"mget")


@dataclass(frozen=True, slots=True)
class Stream:
    """One direction of a session.

    `ends`: where frames, their headers and lines end; `content`: ranges of file content.
    """

    data: bytes
    ends: tuple[int, ...]
    content: tuple[range, ...]

    @property
    def control(self) -> list[int]:
        """The positions of all bytes that are not content of files."""
        inside = {position for part in self.content for position in part}
        return [position for position in range(len(self.data)) if position not in inside]


@dataclass(frozen=True, slots=True)
class Recording:
    up: Stream
    down: Stream


async def record(action: Action, limits: Limits, *, direct: bool = True) -> Recording:
    """Do it once with nothing going wrong, and give all that passed."""
    stage = action.stage(limits)
    async with serving(stage, direct=direct), Proxy(stage.address, records=True) as proxy:
        async with connect(*proxy.address, retry=NO_RETRY, limits=limits, direct=direct) as client:
            error = await attempt(action, client, stage)
            assert error is None, f"{action.label} fails by itself: {error}"
        passage = proxy.passages[action.faulty]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await passage.ended.wait()
        up, down = bytes(passage.up.seen), bytes(passage.down.seen)
    stage.clear()
    return Recording(parse_client(up), parse_server(down))


def parse_server(data: bytes) -> Stream:
    ends: list[int] = []
    content: list[range] = []
    position = 0
    for kind, start, end in _frames(data, position):
        ends += [start, end]
        content += _content_of(data, kind, start, end)
    return Stream(data, tuple(sorted(set(ends))), tuple(content))


def parse_client(data: bytes) -> Stream:
    ends: list[int] = []
    content: list[range] = []
    position = 0
    while (line_end := data.find(b"\n", position)) >= 0:
        verb = data[position:line_end].split(b" ", 1)[0]
        position = line_end + 1
        ends.append(position)
        if verb in _OPENS_BODY:
            for kind, start, end in _frames(data, position):
                ends += [start, end]
                content += _content_of(data, kind, start, end)
                position = end
                if kind in b"EFX":
                    break
    return Stream(data, tuple(sorted(set(ends))), tuple(content))


def _frames(data: bytes, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, where the payload begins, where it ends)."""
    while position + _HEADER.size <= len(data):
        kind, length = _HEADER.unpack_from(data, position)
        start = position + _HEADER.size
        position = start + length
        yield kind, start, position


def _content_of(data: bytes, kind: bytes, start: int, end: int) -> list[range]:
    if kind == b"D":
        return [range(start, end)]
    if kind == b"P":
        (index,) = struct.unpack_from(">I", data, start)
        return [range(start + 4 + index, end)]
    return []
