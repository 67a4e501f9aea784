"""The next item is made while the present one is used, or after it, as its users choose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from ftransfer.storage.base import FILE, SmallFile
from ftransfer.transfer.packs import should_prefetch
from ftransfer.transfer.pipeline import read_ahead


@pytest.mark.parametrize(("pays", "made_meanwhile"), [(True, [1, 2, 2]), (False, [0, 1, 2])])
async def test_item_is_made_ahead_if_it_pays(pays: bool, made_meanwhile: list[int]) -> None:
    made: list[int] = []

    async def source() -> AsyncGenerator[int, None]:
        for number in range(3):
            made.append(number)
            yield number

    seen: list[int] = []
    last_made: list[int] = []
    async for item in read_ahead(source(), lambda _: pays):
        await asyncio.sleep(0)
        seen.append(item)
        last_made.append(made[-1])
    assert (seen, last_made) == ([0, 1, 2], made_meanwhile)


def test_small_files_for_this_machine_are_not_read_ahead() -> None:
    small, large = (SmallFile("a", FILE, 0, 0o644, bytes(size)) for size in (4096, 1 << 20))
    assert not should_prefetch([small] * 9, is_local=True)
    assert should_prefetch([small] * 9, is_local=False)
    assert should_prefetch([small, large], is_local=True)
