"""Many changes at once do not flood the prompt."""

from __future__ import annotations

import asyncio

from ftransfer.protocol.live import CREATED, REMOVED, Change
from ftransfer.shell.change_lines import ChangeLines
from ftransfer.storage.base import FILE


class Shown:
    """What was shown; can be waited for."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    def so_far(self) -> list[str]:
        return [self.lines.get_nowait() for _ in range(self.lines.qsize())]


async def test_few_changes_are_shown_one_by_one() -> None:
    shown = Shown()
    lines = ChangeLines(shown.lines.put_nowait)
    for number in range(10):
        lines.add(Change(CREATED, f"f{number}", FILE, 1))
    lines.close()
    assert shown.so_far() == [f"created  f{number}, 1 B" for number in range(10)]


async def test_many_changes_are_summed_up_when_it_is_quiet() -> None:
    shown = Shown()
    lines = ChangeLines(shown.lines.put_nowait, quiet_s=0.01)
    for number in range(303):
        lines.add(Change(CREATED if number == 50 else REMOVED, f"f{number}", FILE))
    assert len(shown.so_far()) == 10
    assert await shown.lines.get() == "...      and 293 more: 1 created, 292 removed"
    lines.add(Change(REMOVED, "next", FILE))
    assert await shown.lines.get() == "removed  next"
    lines.close()


async def test_changes_without_end_are_summed_up_in_time() -> None:
    shown = Shown()
    lines = ChangeLines(shown.lines.put_nowait, quiet_s=60, longest_s=0)
    for _ in range(11):
        lines.add(Change(REMOVED, "f", FILE))
    shown.so_far()
    assert await shown.lines.get() == "...      and 1 more: 1 removed"


async def test_what_is_left_is_summed_up_at_the_end() -> None:
    shown = Shown()
    lines = ChangeLines(shown.lines.put_nowait)
    for _ in range(12):
        lines.add(Change(REMOVED, "f", FILE))
    lines.close()
    assert shown.so_far()[-1] == "...      and 2 more: 2 removed"
    lines.close()
    assert shown.so_far() == []
